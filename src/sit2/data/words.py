"""How messages count and list things."""

from __future__ import annotations

from collections.abc import Sequence


def counted(number: int, thing: str, things: str = "") -> str:
    """Return "1 image", "3 images", "12,000 images"."""
    return f"{number:,} {thing if number == 1 else things or thing + 's'}"


def printable(name: str) -> str:
    """Return a name on one line: what would break it, or speak to the terminal, is escaped as in Python."""
    return name if name.isprintable() else "".join(c if c.isprintable() else ascii(c)[1:-1] for c in name)


_LONGEST = 120  # characters of a name in a message


def _shown(name: str) -> str:
    name = printable(name)
    return name if len(name) <= _LONGEST else f"{name[:40]}…{name[41 - _LONGEST :]}"


def listed(names: Sequence[str], limit: int = 3) -> str:
    """Return the first few names, printable and not too long, and how many more there are."""
    shown = ", ".join(map(_shown, names[:limit]))
    return shown if len(names) <= limit else f"{shown} and {len(names) - limit:,} more"
