"""Speed as ratios: ours over a limit or a rival, measured in one run on one machine."""
