"""Performance measured as ratios in one run."""
