"""How a run was made: what a reader needs to judge it and to make it again."""

from __future__ import annotations

import shlex
from collections.abc import Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Any


@dataclass(frozen=True)
class About:
    """What stands under "Method"."""

    settings: tuple[tuple[str, str], ...]
    machine: tuple[tuple[str, str], ...]  # versions and hardware
    fingerprint: str
    command: str  # as it was given
    again: str  # what makes the run again, with every setting; "" where that cannot be said


def about(info: Mapping[str, Any], settings: Mapping[str, Any], folder: Path) -> About:
    """Return how the run of this run.json and config.yaml was made."""
    versions = {name: str(value) for name, value in info.get("versions", {}).items()}
    machine = {name: str(value) for name, value in info.get("machine", {}).items()}
    data = info.get("data")
    command, again = str(info.get("command", "")), ""
    if isinstance(data, str) and Path(data).is_absolute() and info.get("methods"):
        again = shlex.join(
            ["sit2", "train", data, "--config", str(folder / "config.yaml"), "-o", f"{folder}-again"]
        )
    return About(
        tuple((name, _shown(value)) for name, value in settings.items()),
        tuple({**versions, **machine}.items()),
        str(info.get("dataset", {}).get("fingerprint", "")),
        "" if command == "sit2" else command,  # which is all that a call from Python leaves
        again,
    )


def _shown(value: Any) -> str:
    if value is None:
        return "–"
    return ", ".join(map(str, value)) if isinstance(value, list) else str(value)
