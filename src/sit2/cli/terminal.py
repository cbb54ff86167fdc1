"""A listener that shows what happens: bars with the time left on a terminal, a line now and then in a pipe."""

from __future__ import annotations

import threading
import time
from types import TracebackType
from typing import Self

from rich.progress import BarColumn, TaskID, TaskProgressColumn, TextColumn, TimeRemainingColumn
from rich.progress import Progress as Bar

from sit2.cli.progress import Screen, cell
from sit2.data.words import counted
from sit2.events import DataPrepared, Event, Note, Progress, StageBegan

SECONDS = 10.0  # between two lines of a log
_SPLITS = {"train": "for training", "val": "for validation", "test": "for the test"}


class Terminal:
    """Shows events on a screen. A context: whatever ends it, no bar is left behind.

    Events may come from several threads.
    """

    def __init__(self, screen: Screen) -> None:
        self.screen = screen
        self._bar: Bar | None = None
        self._task = TaskID(0)
        self._title = ""
        self._place = ""
        self._spoke = time.monotonic()
        self._lock = threading.Lock()

    def __enter__(self) -> Self:
        return self

    def __exit__(
        self, _kind: type[BaseException] | None, _error: BaseException | None, _trace: TracebackType | None
    ) -> None:
        with self._lock:
            self._stop()

    def __call__(self, event: Event) -> None:
        """Show one event."""
        with self._lock:
            if isinstance(event, Note):
                self.screen.warn(event.text)
            elif isinstance(event, StageBegan):
                self._stop()
                self._place = f"{event.number}/{event.count} "
            elif isinstance(event, Progress):
                self._show(event)
            elif isinstance(event, DataPrepared):
                self._stop()
                self._describe(event)

    def _describe(self, data: DataPrepared) -> None:
        height, width = data.size
        of = "" if data.original is None else f" of about {data.original[1]} × {data.original[0]} pixels"
        self.screen.say(f"{data.name}: {counted(data.images, 'image')} in {data.classes} classes")
        kind = "colour" if data.colour else "gray"
        self.screen.say(f"Images{of} are used at {width} × {height}, in {kind}")
        self.screen.say(", ".join(f"{count:,} {_SPLITS[name]}" for name, count in data.splits))

    def _show(self, event: Progress) -> None:
        if self.screen.quiet:
            return
        if not self.screen.err.is_terminal:
            self._log(event)
        elif event.fraction >= 1:
            self._stop()
        else:
            if self._bar is None or event.title != self._title:
                self._start(event.title)
            assert self._bar is not None
            self._bar.update(self._task, total=1.0, completed=event.fraction, words=cell(event.words))

    def _log(self, event: Progress) -> None:
        if time.monotonic() - self._spoke < SECONDS or event.fraction >= 1:
            return
        self._spoke = time.monotonic()
        words = f", {event.words}" if event.words else ""
        line = f"{self._place}{event.title}: {event.fraction:.0%}{words}"
        self.screen.err.print(cell(line), soft_wrap=True)

    def _start(self, title: str) -> None:
        self._stop()
        columns = (
            TextColumn("{task.description}"),
            BarColumn(bar_width=12),
            TaskProgressColumn(),
            TimeRemainingColumn(),
            TextColumn("{task.fields[words]}"),
        )
        self._bar = Bar(*columns, console=self.screen.err, transient=True)
        self._bar.start()
        self._title = title
        # It moves until a fraction is known.
        self._task = self._bar.add_task(cell(self._place + title), total=None, words="")

    def _stop(self) -> None:
        if self._bar is not None:
            self._bar.stop()
            self._bar = None
