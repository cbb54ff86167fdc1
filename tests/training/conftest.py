"""The toy training set, for the tests of this folder."""

from toy import make_training, make_training_set, same_weights, toy

__all__ = ["make_training", "make_training_set", "same_weights", "toy"]
