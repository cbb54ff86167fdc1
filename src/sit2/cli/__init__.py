"""The command: parsing, calling and printing."""

from sit2.cli.command import main

__all__ = ["main"]
