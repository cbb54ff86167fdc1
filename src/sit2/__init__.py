"""sit2: better image classifiers from few labels, by training on the classifier's own confusion."""
