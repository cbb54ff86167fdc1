"""A listener that shows what happens: one bar with the time left on a terminal, a line now and then in a pipe.

Of a run the bar is one, from the first stage to the last, and each epoch is a line above it. Elsewhere (many cells,
folds) a training is a line when it has ended.
"""

from __future__ import annotations

import math
import threading
import time
from collections.abc import Callable, Iterable
from types import TracebackType
from typing import Self

from rich.console import RenderableType
from rich.progress import BarColumn, TextColumn
from rich.progress import Progress as Bars

from sit2.cli.progress import Outlook, Screen, cell, duration
from sit2.data.words import counted
from sit2.events import (
    CellEnded,
    DataPrepared,
    EpochEnded,
    Event,
    Note,
    Planned,
    Progress,
    StageBegan,
    TrainingBegan,
    TrainingEnded,
)

SECONDS = 10.0  # between two lines of a log
WIDTH = 80  # columns of a line at most
TRAINING = ("training", "refit")  # the stages whose epochs are lines
_SPLITS = {
    "train": "for training",
    "val": "for validation",
    "calibration": "for calibration",
    "test": "for the test",
}

Clock = Callable[[], float]


class Terminal:
    """Shows events on a screen. A context: whatever ends it, no bar is left behind.

    Events may come from several threads.
    """

    def __init__(self, screen: Screen, clock: Clock = time.monotonic) -> None:
        self.screen, self._clock = screen, clock
        self._bar: _Bar | None = None
        self._outlook = Outlook(clock())
        self._stage, self._place, self._title = "", "", ""
        self._epochs: dict[str, EpochEnded] = {}  # the last of each training
        self._begun: set[str] = set()  # trainings that are not only told of
        self._spoke, self._said, self._waiting = clock(), False, ""  # of a log
        self._lock = threading.Lock()

    def __enter__(self) -> Self:
        return self

    def __exit__(
        self, _kind: type[BaseException] | None, _error: BaseException | None, _trace: TracebackType | None
    ) -> None:
        with self._lock:
            self._stop()
            self._flush()

    def __call__(self, event: Event) -> None:
        """Show one event."""
        with self._lock:
            if isinstance(event, Note):
                self.screen.warn(event.text)
            elif isinstance(event, StageBegan):
                self._begin(event)
            elif isinstance(event, Planned):
                self._outlook.plan(event.costs)
            elif isinstance(event, Progress):
                self._show(event)
            elif isinstance(event, DataPrepared):
                self._describe(event)
            elif isinstance(event, TrainingBegan):
                self._begun.add(event.name)
            elif isinstance(event, EpochEnded):
                self._epoch(event)
            elif isinstance(event, TrainingEnded):
                self._ended(event)
            elif isinstance(event, CellEnded):
                self._tell(cell_line(event, self._width))

    def _begin(self, stage: StageBegan) -> None:
        self._flush()
        self._outlook.stage(stage.name, self._clock())
        self._stage, self._place = stage.name, f"{stage.number}/{stage.count} " if stage.count else ""
        self._draw(stage.name, "")

    def _describe(self, data: DataPrepared) -> None:
        self._stop()  # the results have a stream of their own
        height, width = data.size
        of = "" if data.original is None else f" of about {data.original[1]} × {data.original[0]} pixels"
        self.screen.say(f"{data.name}: {counted(data.images, 'image')} in {data.classes} classes")
        kind = "colour" if data.colour else "gray"
        self.screen.say(f"Images{of} are used at {width} × {height}, in {kind}")
        if data.folds:
            self.screen.say(f"{data.folds} folds, each with about the following images:")
        self.screen.say(", ".join(f"{count:,} {_SPLITS[name]}" for name, count in data.splits))

    def _epoch(self, row: EpochEnded) -> None:
        last, self._epochs[row.name] = self._epochs.get(row.name), row
        if self._stage in TRAINING and row.name in self._begun:  # not one of a network that was found
            self._tell(epoch_line(row, last, self._width))

    def _ended(self, training: TrainingEnded) -> None:
        row = self._epochs.get(training.name)
        if row is not None and (training.found or self._stage not in TRAINING):
            self._tell(training_line(row, self._width, found=training.found))

    @property
    def _width(self) -> int:
        return min(WIDTH, self.screen.err.width)

    def _show(self, event: Progress) -> None:
        now = self._clock()
        if not self._stage and event.title != self._title:
            self._title, self._outlook = event.title, Outlook(now)
        self._outlook.heard(event.fraction, event.left, now)
        if not self.screen.err.is_terminal:
            if event.fraction < 1:
                self._log(event, now)
        elif event.fraction >= 1 and not self._stage:
            self._stop()
        else:
            of_stage = self._stage and self._outlook.left(now) is None and event.fraction < 1
            share = f"{event.fraction:.0%} " if of_stage else ""
            self._draw(self._stage or event.title, share + event.words)

    def _log(self, event: Progress, now: float) -> None:
        if now - self._spoke < SECONDS:
            return
        left = self._outlook.left(now)
        words = [f"{event.fraction:.0%}", event.words, "" if left is None else f"{duration(left)} left"]
        self._tell(f"{self._place}{event.title}: {', '.join(word for word in words if word)}")

    def _tell(self, line: str) -> None:
        """Print a line of progress; in a log only now and then, and the last that there was."""
        if self.screen.err.is_terminal or self._clock() - self._spoke >= SECONDS:
            self._spoke, self._said, self._waiting = self._clock(), True, ""
            self.screen.tell(line)
        else:
            self._waiting = line

    def _flush(self) -> None:
        """Print the last line of a log that was begun; what takes no time needs none."""
        if self._waiting and self._said:
            self.screen.tell(self._waiting)
        self._waiting = ""

    def _draw(self, title: str, words: str) -> None:
        if self.screen.quiet or not self.screen.err.is_terminal:
            return
        bar = self._bar or _Bar(self.screen, self._clock)
        bar.show(self._outlook, self._place + title, words)
        if self._bar is None:
            self._bar = bar
            bar.start()

    def _stop(self) -> None:
        if self._bar is not None:
            self._bar.stop()
            self._bar = None


class _Bar(Bars):
    """One bar: what goes on, the part of all that is done, the time left, words. It moves with the clock."""

    def __init__(self, screen: Screen, clock: Clock) -> None:
        self._clock, self._outlook = clock, Outlook(clock())
        super().__init__(
            TextColumn("{task.description}"),
            BarColumn(bar_width=16),
            TextColumn("{task.fields[done]}"),
            TextColumn("{task.fields[left]}"),
            TextColumn("{task.fields[words]}"),
            console=screen.err,
            transient=True,
            redirect_stdout=False,  # which may be a file
        )
        self._only = self.add_task("", total=None, done="", left="", words="")

    def show(self, outlook: Outlook, title: str, words: str) -> None:
        """Show what goes on now."""
        self._outlook = outlook
        self.update(self._only, description=cell(title), words=cell(words))

    def get_renderables(self) -> Iterable[RenderableType]:
        """Return what is drawn, as of now. While nobody knows how much is done, the bar only moves."""
        now = self._clock()
        done, left = self._outlook.fraction(now), self._outlook.left(now)
        for task in self.tasks:
            task.total, task.completed = (None, 0.0) if done is None else (1.0, done)
            task.fields["done"] = "" if done is None else f"{done:.0%}"
            task.fields["left"] = "" if left is None else f"{duration(left)} left"
        yield from super().get_renderables()


def epoch_line(row: EpochEnded, last: EpochEnded | None, width: int = WIDTH) -> str:
    """Return what an epoch says: its number, loss, what validation measured, and the speed.

    Args:
        row: of the epoch.
        last: that of the epoch before; None for the first of a training.
        width: columns at most. Where the name needs many, words are left out, then its beginning.
    """
    measured, loss = _measured(row), f"loss {row.loss:.3f}"
    if row.lr == 0:  # nothing was trained: it was solved
        return _fitting(("  ".join([row.name, row.phase, loss, *measured]),), row.name, width)
    epochs = max(row.epoch, math.ceil(row.epoch * row.steps / row.step))  # the last may be a short one
    number, speed = f"{row.epoch:{len(str(epochs))}} of {epochs}", _speed(row, last)
    long = [row.name, f"epoch {number}", loss, *measured, f"{speed} images/s"]
    short = [row.name, number, loss, *_short(measured), f"{speed}/s"]
    if not speed:
        long, short = long[:-1], short[:-1]
    return _fitting(("  ".join(long), "  ".join(short)), row.name, width)


def training_line(row: EpochEnded, width: int = WIDTH, *, found: bool = False) -> str:
    """Return what a training says when it has ended, by its last epoch."""
    loss, measured = f"loss {row.loss:.3f}", _measured(row)
    long = "was trained before" if found else f"trained in {duration(row.seconds)}"
    short = "found" if found else f"in {duration(row.seconds)}"
    forms = (
        "  ".join([row.name, long, loss, *measured]),
        "  ".join([row.name, short, loss, *_short(measured)]),
    )
    return _fitting(forms, row.name, width)


def cell_line(cell: CellEnded, width: int = WIDTH) -> str:
    """Return what a finished cell of a comparison says: which of how many, its name, its test accuracy."""
    number = f"{cell.number:{len(str(cell.count))}} of {cell.count}  "
    result = f"  test accuracy {100 * cell.accuracy:.1f} %"
    room = max(width - len(number) - len(result), 1)
    name = cell.name if len(cell.name) <= room else ".." + cell.name[len(cell.name) - room + 2 :]
    return f"{number}{name}{result}"


def _measured(row: EpochEnded) -> list[str]:
    accuracy, log_loss = row.val_accuracy, row.val_log_loss
    return [
        *([] if accuracy is None else [f"val {100 * accuracy:.1f} %"]),
        *([] if log_loss is None else [f"val log-loss {log_loss:.3f}"]),
    ]


def _short(measured: list[str]) -> list[str]:
    return [word.replace("val log", "log") for word in measured]


def _speed(row: EpochEnded, last: EpochEnded | None) -> str:
    """Return the images a second of an epoch; nothing where it took no time."""
    if last is None or last.samples_seen >= row.samples_seen:
        images, seconds = row.samples_seen, row.seconds
    else:
        images, seconds = row.samples_seen - last.samples_seen, row.seconds - last.seconds
    return "" if seconds <= 0 else f"{images / seconds:,.{0 if images >= 10 * seconds else 1}f}"


def _fitting(forms: tuple[str, ...], name: str, width: int) -> str:
    """Return the first form that fits; if none does, the last one with the end of the name, which tells most."""
    for form in forms:
        if len(form) <= width:
            return form
    last = forms[-1]
    return f"..{name[len(last) - width + 2 :]}{last[len(name) :]}"
