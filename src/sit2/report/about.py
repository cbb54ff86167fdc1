"""How a run was made: what a reader needs to judge it and to make it again."""

from __future__ import annotations

import shlex
from collections.abc import Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from sit2.storage.run_info import RunInfo


@dataclass(frozen=True)
class About:
    """What stands under "Method"."""

    settings: tuple[tuple[str, str], ...]
    machine: tuple[tuple[str, str], ...]  # versions and hardware
    fingerprint: str
    command: str  # as it was given
    again: str  # what makes the run again, with every setting; "" where that cannot be said


def about(info: RunInfo, settings: Mapping[str, Any], folder: Path) -> About:
    """Return how the run of this run.json and config.yaml was made."""
    again = ""
    if can_be_repeated(info):
        again = train_command(info, folder, f"{folder}-again")
    return About(
        tuple((name, _shown(value)) for name, value in settings.items()),
        tuple({**info.versions, **info.machine}.items()),
        info.dataset.fingerprint,
        "" if info.command == "sit2" else info.command,  # which is all that a call from Python leaves
        again,
    )


def can_be_repeated(info: RunInfo) -> bool:
    """Whether a run's images are in a place that a command can name, and something was to be trained on them."""
    return isinstance(info.data, str) and Path(info.data).is_absolute() and bool(info.methods)


def train_command(info: RunInfo, folder: Path, out: str, *more: str) -> str:
    """Return the command that trains on a run's images with its settings."""
    words = ["sit2", "train", str(info.data), "--config", str(folder / "config.yaml"), "-o", out, *more]
    return shlex.join(words)


def _shown(value: Any) -> str:
    if value is None:
        return "–"
    return ", ".join(map(str, value)) if isinstance(value, list) else str(value)
