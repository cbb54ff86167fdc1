"""Mixing: not-sure images from pairs of classes."""
