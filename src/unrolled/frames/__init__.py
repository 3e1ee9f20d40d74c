"""Deep frames: networks as inference in one structured dictionary, and the potential of that dictionary."""
