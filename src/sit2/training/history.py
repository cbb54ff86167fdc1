"""``history.csv``: a row for every epoch of every training of a run, and its reader."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING

from sit2.events import EpochEnded
from sit2.storage.reading import number, read_table, reading

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
    epoch: int  # of the whole training, from 1
    samples_seen: int  # so far
    loss: float  # mean over the epoch
    lr: float
    val_accuracy: float | None  # None where it was not measured
    val_log_loss: float | None
    seconds: float  # since the training began


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
        RunFolderError: when it is damaged.
    """
    table = read_table(path, *COLUMNS)
    if table is None:
        return ()
    with reading(path):
        return tuple(
            Epoch(
                method=row["method"],
                member=int(row["member"]),
                phase=row["phase"],
                epoch=int(row["epoch"]),
                samples_seen=int(row["samples_seen"]),
                loss=number(row["loss"]),
                lr=number(row["lr"]),
                val_accuracy=_optional(row["val_accuracy"]),
                val_log_loss=_optional(row["val_log_loss"]),
                seconds=number(row["seconds"]),
            )
            for row in table.to_dict("records")
        )


def _optional(text: str) -> float | None:
    return float(text) if text else None
