"""Frozen features of images, and the closed-form classifier on them."""
