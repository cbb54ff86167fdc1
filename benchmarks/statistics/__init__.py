"""Which test of repeated splits keeps its promise, and which finds most: a simulation."""
