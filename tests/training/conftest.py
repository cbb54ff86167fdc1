"""The toy training set, for the tests of this folder."""

from toy import make_training_set, make_training, same_weights, toy

__all__ = ["make_training_set", "make_training", "same_weights", "toy"]
