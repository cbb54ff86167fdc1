"""How messages count and list things."""

from __future__ import annotations

from collections.abc import Sequence

from sit2.escaping import visible


def counted(number: int, thing: str, things: str = "") -> str:
    """Return "1 image", "3 images", "12,000 images"."""
    return f"{number:,} {thing if number == 1 else things or thing + 's'}"


def listed(names: Sequence[str], limit: int = 3) -> str:
    """Return the first few names, each within one line, and how many more there are."""
    shown = ", ".join(visible(name, newlines=False) for name in names[:limit])
    return shown if len(names) <= limit else f"{shown} and {len(names) - limit:,} more"
