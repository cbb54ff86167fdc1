"""``history.csv``: a row for every epoch of every training of a run, and its reader."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING

from sit2.events import EpochEnded
from sit2.storage.escaping import read_neutral

if TYPE_CHECKING:
    import pandas as pd

COLUMNS = (
    *("method", "member", "phase", "epoch", "samples_seen", "loss", "lr"),
    *("val_accuracy", "val_log_loss", "seconds"),
)


@dataclass(frozen=True)
class Epoch:
    """One row."""

    method: str  # a recipe without its predictors
    member: int  # from 1
    phase: str
    samples_seen: int
    loss: float
    val_accuracy: float | None
    val_log_loss: float | None


def history_table(trainings: Sequence[tuple[str, Sequence[Sequence[EpochEnded]]]]) -> pd.DataFrame:
    """Return the table of (method, the histories of its members); recipes that share networks have one."""
    import pandas as pd

    rows = []
    for method, members in dict(trainings).items():
        for member, history in enumerate(members, 1):
            for row in history:
                values = {**vars(row), "method": method, "member": member}
                rows.append([values[name] for name in COLUMNS])
    return pd.DataFrame(rows, columns=pd.Index(COLUMNS))


def read_history(path: Path) -> tuple[Epoch, ...]:
    """Read history.csv; nothing where there is none.

    Raises:
        OSError, ValueError, KeyError: when it is damaged.
    """
    if not path.exists():
        return ()
    return tuple(
        Epoch(
            row["method"],
            int(row["member"]),
            row["phase"],
            int(row["samples_seen"]),
            float(row["loss"]),
            _optional(row["val_accuracy"]),
            _optional(row["val_log_loss"]),
        )
        for row in read_neutral(path).to_dict("records")
    )


def _optional(text: str) -> float | None:
    return float(text) if text else None
