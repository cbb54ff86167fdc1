"""What long work tells whoever listens: plain records, which the loop and the stages send and never read.

A listener is a function of one event. The terminal, a log, ``history.csv`` and trackers are listeners; whoever
sends an event knows none of them.
"""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import asdict, dataclass
from typing import Any


@dataclass(frozen=True)
class Event:
    """Something that happened."""


Listener = Callable[[Event], None]


def nobody(_event: Event) -> None:
    """Listen to nothing."""


@dataclass(frozen=True)
class Note(Event):
    """Something that the user should know but that stops nothing."""

    text: str


@dataclass(frozen=True)
class RunBegan(Event):
    """The folder of a run or comparison is there, with its settings; results will follow."""

    folder: str


@dataclass(frozen=True)
class RunEnded(Event):
    """A run or comparison is complete: its folder holds everything."""

    folder: str


@dataclass(frozen=True)
class StageBegan(Event):
    """A stage of a run began, the ``number``-th of ``count``."""

    name: str
    number: int
    count: int


@dataclass(frozen=True)
class Progress(Event):
    """How far one piece of work is; ``fraction`` 1 ends it."""

    title: str
    fraction: float  # done, in [0, 1]
    words: str = ""
    left: float | None = None  # seconds, where the sender knows better than its fraction and a clock tell


@dataclass(frozen=True)
class Cost:
    """What a stage is expected to cost, before anything of it is measured."""

    stage: str  # its name
    samples: float = 0.0  # that are trained on, or what takes as long
    seconds: float = 0.0  # beside them


@dataclass(frozen=True)
class Planned(Event):
    """What the stages of a run are expected to cost, in their order; those that are left out cost nothing."""

    costs: tuple[Cost, ...]


@dataclass(frozen=True)
class DataPrepared(Event):
    """The images are decoded and split."""

    name: str
    images: int
    classes: int
    size: tuple[int, int]  # height and width that are trained at
    colour: bool
    splits: tuple[tuple[str, int], ...]  # ("train", images), …
    original: tuple[int, int] | None = None  # median height and width of the images as they are
    folds: int = 0  # of cross-validation, where ``splits`` are those of one of them


@dataclass(frozen=True)
class TrainingBegan(Event):
    """One training begins, or goes on."""

    name: str  # that no other training of this run has
    method: str
    steps: int
    batch_size: int


@dataclass(frozen=True)
class StepsDone(Event):
    """How far a training is within an epoch; told every few seconds, since an epoch may take minutes."""

    name: str  # of the training
    samples_seen: int  # by the network so far
    seconds: float  # since the training began


@dataclass(frozen=True)
class EpochEnded(Event):
    """An epoch of a training is over: a row of ``history.csv``."""

    name: str  # of the training
    method: str
    phase: str
    epoch: int  # of the whole training, from 1
    step: int  # done, over all phases
    steps: int  # of all phases
    samples_seen: int  # by the network so far, composites and originals alike
    loss: float  # mean over the epoch
    lr: float
    val_accuracy: float | None  # in [0, 1]; None where it was not measured
    val_log_loss: float | None
    seconds: float  # since the training began


@dataclass(frozen=True)
class TrainingEnded(Event):
    """A training is finished, or was found finished."""

    name: str
    found: bool  # it had been trained before


@dataclass(frozen=True)
class CellEnded(Event):
    """A cell of a comparison is finished, the ``number``-th of ``count`` of all rounds."""

    name: str  # data set, split, seed and recipe
    number: int
    count: int
    accuracy: float  # on the test images, in [0, 1]


KINDS: dict[str, type[Event]] = {
    kind.__name__: kind
    for kind in (
        *(
            Note,
            RunBegan,
            RunEnded,
            StageBegan,
            Progress,
            Planned,
            DataPrepared,
            TrainingBegan,
            StepsDone,
            EpochEnded,
        ),
        *(TrainingEnded, CellEnded),
    )
}


def to_dict(event: Event) -> dict[str, Any]:
    """Return an event as plain values, for a file between two processes."""
    return {"kind": type(event).__name__, **asdict(event)}


def from_dict(content: dict[str, Any]) -> Event:
    """Return the event that :func:`to_dict` was given."""
    rest = dict(content)
    return KINDS[rest.pop("kind")](**rest)
