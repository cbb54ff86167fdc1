"""The stages of a run, and many runs compared."""
