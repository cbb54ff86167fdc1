"""What to train: each method a list of phases."""
