"""What a person sees: sentences, tables and paths, on a terminal or in a pipe; and how long it will take."""

from __future__ import annotations

import math
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from pathlib import Path

from rich.console import Console, JustifyMethod
from rich.markup import escape
from rich.padding import Padding
from rich.table import Table
from rich.text import Text

from sit2.events import Cost
from sit2.storage.escaping import visible


def _console(*, stderr: bool) -> Console:
    console = Console(stderr=stderr, highlight=False, soft_wrap=True, emoji=False)
    if not console.is_terminal:
        console.width = 10_000  # a pipe or a file has no edge: every row of a table is one line
    return console


@dataclass
class Screen:
    """Results go to standard output; progress and warnings to standard error.

    Whatever stands in a file or class name: no control character reaches the terminal.
    """

    quiet: bool = False
    out: Console = field(default_factory=lambda: _console(stderr=False))
    err: Console = field(default_factory=lambda: _console(stderr=True))

    def say(self, text: str, *, style: str | None = None) -> None:
        """Print a line of the result; on a terminal it wraps between words, and keeps its indent."""
        if self.quiet:
            return
        text = visible(text)
        if self.out.is_terminal:
            words = text.lstrip(" ")
            self.out.print(
                Padding(Text(words, style or ""), (0, 0, 0, len(text) - len(words))), soft_wrap=False
            )
        else:
            self.out.print(text, style=style, markup=False)

    def paths(self, written: Mapping[str, Path]) -> None:
        """Print what was written, a line each; a path is never broken."""
        width = max(map(len, written)) + 1
        for what, path in written.items():
            if not self.quiet:
                self.out.print(f"{what + ':':{width}} {visible(str(path))}", markup=False, soft_wrap=True)

    def warn(self, text: str) -> None:
        """Print something that the user should know but that stops nothing."""
        if not self.quiet:
            self.err.print(
                "note: " + visible(text),
                style="yellow",
                markup=False,
                soft_wrap=not self.err.is_terminal,
            )

    def tell(self, text: str) -> None:
        """Print a line of progress; on a terminal above the bar."""
        if not self.quiet:
            self.err.print(visible(text, newlines=False), markup=False, soft_wrap=True)

    def table(self, title: str, columns: Sequence[str], rows: Sequence[Sequence[str]]) -> None:
        """Print a table; the first column is words, the others are numbers."""
        if self.quiet:
            return
        if title:
            self.out.print(visible(title), style="bold", markup=False)
        table = Table(box=None, pad_edge=False, header_style="dim")
        for number, column in enumerate(columns):
            justify: JustifyMethod = "left" if number == 0 else "right"
            table.add_column(cell(column), justify=justify, no_wrap=number > 0, overflow="fold")
        for row in rows:
            table.add_row(*(cell(one) for one in row))
        self.out.print(table, soft_wrap=False)


def cell(text: str) -> str:
    """Return a text for one cell or bar: nothing in it is taken for markup or obeyed by the terminal."""
    return escape(visible(text, newlines=False))


class Outlook:
    """How long it will still take: as measured where something was measured, as planned elsewhere.

    What is told never jumps: every new estimate moves the end that was told before, the more the longer ago
    that was. All times are seconds of the clock that the caller reads.
    """

    def __init__(self, now: float) -> None:
        self._began = self._told = now
        self._piece = now  # when what goes on now began
        self._fraction = 0.0  # of it
        self._stage: str | None = None  # None: there are none, and the piece is all there is
        self._costs: dict[str, Cost] | None = None
        self._pace: float | None = None  # seconds a sample of a training, of all that run at once
        self._end: float | None = None
        self._shown = 0.0

    def plan(self, costs: Sequence[Cost]) -> None:
        """Take in what the stages are expected to cost, in their order."""
        self._costs = {cost.stage: cost for cost in costs}

    def stage(self, name: str, now: float) -> None:
        """Begin a stage."""
        self._stage, self._piece, self._fraction = name, now, 0.0
        if self._costs is not None and (cost := self._costs.get(name)) is not None:
            self._estimate(self._seconds(cost), now)

    def heard(self, fraction: float, left: float | None, now: float) -> None:
        """Take in how far what goes on now is, and the seconds that it takes, where its sender knows them."""
        if fraction < self._fraction:  # another piece
            self._piece, self._end = now, self._end if self._stage else None
        if left is None and fraction > 0 and now > self._piece:
            left = (now - self._piece) * (1 - fraction) / fraction
        elif left is not None and (cost := self._cost()) is not None and fraction < 1:
            self._pace = left / ((1 - fraction) * cost.samples) if cost.samples else self._pace
        self._fraction = fraction
        self._estimate(left, now)

    def left(self, now: float) -> float | None:
        """Return the seconds until everything is done; None while nobody knows."""
        return None if self._end is None else max(0.0, self._end - now)

    def fraction(self, now: float) -> float | None:
        """Return what part is done, of the time that all of it takes; None while nobody knows."""
        if self._stage is None:
            return self._fraction
        left = self.left(now)
        if left is None:
            return None
        self._shown = max(self._shown, min(0.99, (now - self._began) / max(now - self._began + left, 1e-9)))
        return self._shown

    def _estimate(self, own: float | None, now: float) -> None:
        """Move the end to where it is, if what goes on takes ``own`` seconds and the rest as planned."""
        later = self._later()
        if own is None or later is None:
            return
        left = own + later
        weight = 1.0 if self._end is None else (now - self._told) / (now - self._told + max(3.0, 0.1 * left))
        end = now + left
        self._end = end if self._end is None else self._end + weight * (end - self._end)
        self._told = now

    def _later(self) -> float | None:
        """Return the seconds of the stages that are still to come."""
        if self._stage is None:
            return 0.0
        if self._costs is None:
            return None
        names = list(self._costs)
        first = names.index(self._stage) + 1 if self._stage in names else 0
        seconds = [self._seconds(self._costs[name]) for name in names[first:]]
        known = [one for one in seconds if one is not None]
        return sum(known) if len(known) == len(seconds) else None

    def _seconds(self, cost: Cost) -> float | None:
        if not cost.samples:
            return cost.seconds
        return None if self._pace is None else cost.seconds + cost.samples * self._pace

    def _cost(self) -> Cost | None:
        return None if self._costs is None or self._stage is None else self._costs.get(self._stage)


def duration(seconds: float) -> str:
    """Return a time as one says it of what is not certain: "5 s", "40 s", "3 min", "1 h 20 min"."""
    if seconds <= 55:
        return f"{max(5, 5 * math.ceil(seconds / 5))} s"
    minutes = math.ceil(seconds / 60)
    if minutes < 60:
        return f"{minutes} min"
    minutes = 5 * math.ceil(minutes / 5)
    return f"{minutes // 60} h" + (f" {minutes % 60} min" if minutes % 60 else "")
