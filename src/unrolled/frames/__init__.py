"""Deep frames: structures, their dictionaries, the frame potential, its bounds and its minimum."""
