"""``history.csv``: a row for every epoch of every training of a run; how it grows, and its reader."""

from __future__ import annotations

import threading
import time
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING

from sit2.events import EpochEnded, Event
from sit2.storage.reading import number, read_table, reading

if TYPE_CHECKING:
    import pandas as pd

SECONDS = 1.0  # at least, between two times that a growing history is written
COLUMNS = (
    *("method", "member", "phase", "epoch", "samples_seen", "loss", "lr"),
    *("val_accuracy", "val_log_loss", "seconds"),
)
FOLD = "fold"  # a column more, where one method is trained on several parts of the images
ALL = "all"  # in this column: what is kept, on all images
Training = str | tuple[str, str]  # a method; or (method, fold), of cross-validation from "1"


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
    fold: str = ""  # "" where there are none


def history_table(trainings: Sequence[tuple[Training, Sequence[Sequence[EpochEnded]]]]) -> pd.DataFrame:
    """Return the table of (training, the histories of its members); recipes that share networks have one."""
    import pandas as pd

    folds = any(isinstance(training, tuple) for training, _ in trainings)
    columns = (*COLUMNS, FOLD) if folds else COLUMNS
    rows = []
    for training, members in dict(trainings).items():
        method, fold = training if isinstance(training, tuple) else (training, "")
        for member, history in enumerate(members, 1):
            for row in history:
                values = {**vars(row), "method": method, "member": member, FOLD: fold}
                rows.append([values[name] for name in columns])
    return pd.DataFrame(rows, columns=pd.Index(columns))


class GrowingHistory:
    """A listener that writes the table while trainings run: all of it each time, as it would be at the end.

    A training that begins anew, or tells again what it did before it was killed, replaces its rows. Events may
    come from several threads, and late.
    """

    def __init__(
        self,
        write: Callable[[pd.DataFrame], object],
        trainings: Mapping[Training, Sequence[str]],
        *,
        clock: Callable[[], float] = time.monotonic,
    ) -> None:
        """Begin empty.

        Args:
            write: puts the table where it belongs.
            trainings: what the events of each training's members are called, in the table's order.
            clock: in seconds.
        """
        self._write, self._clock = write, clock
        self._rows: dict[Training, list[list[EpochEnded]]] = {
            training: [[] for _ in members] for training, members in trainings.items()
        }
        self._rows_of = {
            name: self._rows[training][n]
            for training, members in trainings.items()
            for n, name in enumerate(members)
        }
        self._finished: set[Training] = set()
        self._written: float | None = None
        self._lock = threading.Lock()

    def __call__(self, event: Event) -> None:
        """Add a row."""
        with self._lock:
            if isinstance(event, EpochEnded) and (rows := self._rows_of.get(event.name)) is not None:
                del rows[event.epoch - 1 :]
                rows.append(event)
                if self._written is None or self._clock() - self._written >= SECONDS:
                    self._save()

    def finish(self, training: Training, histories: Sequence[Sequence[EpochEnded]]) -> None:
        """Put what a training's members left behind in place of what was heard of them; once."""
        with self._lock:
            if training not in self._finished:
                self._finished.add(training)
                self._rows[training] = [
                    list(history) for history in histories
                ]  # what comes late is not of these
                self._save()

    def _save(self) -> None:
        self._write(history_table(list(self._rows.items())))
        self._written = self._clock()


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
                fold=row.get(FOLD, ""),
            )
            for row in table.to_dict("records")
        )


def _optional(text: str) -> float | None:
    return float(text) if text else None
