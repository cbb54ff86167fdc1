"""How messages count and list things."""

from __future__ import annotations

from collections.abc import Sequence

from sit2.storage.escaping import visible


def counted(number: int, thing: str, things: str = "") -> str:
    """Return "1 image", "3 images", "12,000 images"."""
    return f"{number:,} {thing if number == 1 else things or thing + 's'}"


LEFT_OUT = " and {are} left out"
_FEW = 3  # images that are named one by one
_REASONS = 8  # that are named
_LONGEST = 120  # characters of a name in a message


def _shown(name: str) -> str:
    name = visible(name, newlines=False)
    return name if len(name) <= _LONGEST else f"{name[:40]}…{name[41 - _LONGEST :]}"


def listed(names: Sequence[str], limit: int = 3) -> str:
    """Return the first few names, printable and not too long, and how many more there are."""
    shown = ", ".join(map(_shown, names[:limit]))
    return shown if len(names) <= limit else f"{shown} and {len(names) - limit:,} more"


def unread(paths: Sequence[str], problems: Sequence[str], then: str = LEFT_OUT) -> str:
    """Say which images cannot be read, by reason if there are many, and what becomes of them; "" where all can."""
    bad = [(path, why) for path, why in zip(paths, problems, strict=True) if why]
    if not bad:
        return ""
    what = f"{counted(len(bad), 'image')} cannot be read{then.format(are='is' if len(bad) == 1 else 'are')}"
    if len(bad) <= _FEW:
        return f"{what}: {', '.join(f'{_shown(path)} ({why})' for path, why in bad)}"
    reasons: dict[str, list[str]] = {}
    for path, why in bad:
        reasons.setdefault(why, []).append(path)
    often = sorted(reasons.items(), key=lambda item: -len(item[1]))
    lines = [f"{why}: {listed(which)}" for why, which in often[:_REASONS]]
    rest = sum(len(which) for _, which in often[_REASONS:])
    return "\n  ".join([f"{what}:", *lines, *([f"{counted(rest, 'other')}"] if rest else [])])
