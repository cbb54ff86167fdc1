"""How messages count and list things."""

from __future__ import annotations

from collections.abc import Sequence


def counted(number: int, thing: str, things: str = "") -> str:
    """Return "1 image", "3 images", "12,000 images"."""
    return f"{number:,} {thing if number == 1 else things or thing + 's'}"


def listed(names: Sequence[str], limit: int = 3) -> str:
    """Return the first few names, and how many more there are."""
    shown = ", ".join(names[:limit])
    return shown if len(names) <= limit else f"{shown} and {len(names) - limit:,} more"


def left_out(bad: Sequence[str]) -> str:
    """Say which images cannot be read."""
    are = "is" if len(bad) == 1 else "are"
    return f"{counted(len(bad), 'image')} cannot be read and {are} left out: {listed(bad)}"
