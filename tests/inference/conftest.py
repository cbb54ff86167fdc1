"""The toy training set, for the tests of this folder."""

from toy import make_feed, make_training, same_weights, toy

__all__ = ["make_feed", "make_training", "same_weights", "toy"]
