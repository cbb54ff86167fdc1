"""Something happens when a file is put in place: a kill, Ctrl-C, a full disk."""

from __future__ import annotations

import re
from collections.abc import Callable
from pathlib import Path
from typing import Any

KEY = re.compile(r"[0-9a-f]{40}")  # what files of trainings and their predictions are called


def at(place: str, which: int, times: int, then: Callable[[], object]) -> Any:
    """Return a Path.replace that calls ``then`` when a file has been put in place so often.

    ``place`` is a file's name; or a suffix, such as ".pt" of checkpoints: then it is the ``which``-th of all
    trainings, from 0, that counts.
    """
    replace, keys, seen = Path.replace, list[str](), list[Path]()

    def number(target: Path) -> int | None:
        if not place.startswith("."):
            return 0 if target.name == place else None
        if target.suffix != place or not KEY.fullmatch(target.stem):
            return None
        if target.stem not in keys:
            keys.append(target.stem)
        return keys.index(target.stem)

    def replace_and_see(self: Path, target: Path) -> Path:
        moved = replace(self, target)
        if number(Path(target)) == which:
            seen.append(moved)
            if len(seen) == times:
                then()
        return moved

    return replace_and_see
