"""What a person sees while sit2 works: progress with time left on a terminal, plain lines in a pipe."""

from __future__ import annotations

import contextlib
from collections.abc import Callable, Iterator, Mapping, Sequence
from dataclasses import dataclass, field
from pathlib import Path

from rich.console import Console, JustifyMethod
from rich.markup import escape
from rich.padding import Padding
from rich.progress import BarColumn, Progress, TaskProgressColumn, TextColumn, TimeRemainingColumn
from rich.table import Table
from rich.text import Text

from sit2.storage.escaping import visible

Show = Callable[[float, str], None]


def _show_nothing(_share: float, _words: str) -> None:
    """Stand in for a bar."""


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
    notes: list[str] = field(default_factory=list)  # every warning so far, for the record
    place: str = ""  # in the whole, such as "2/5"; stands before the title of every bar

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
        self.notes.append(text)
        if not self.quiet:
            self.err.print(
                "note: " + visible(text),
                style="yellow",
                markup=False,
                soft_wrap=not self.err.is_terminal,
            )

    def table(self, title: str, columns: Sequence[str], rows: Sequence[Sequence[str]]) -> None:
        """Print a table; the first column is words, the others are numbers."""
        if self.quiet:
            return
        if title:
            self.out.print(visible(title), style="bold", markup=False)
        table = Table(box=None, pad_edge=False, header_style="dim")
        for number, column in enumerate(columns):
            justify: JustifyMethod = "left" if number == 0 else "right"
            table.add_column(_cell(column), justify=justify, no_wrap=number > 0, overflow="fold")
        for row in rows:
            table.add_row(*(_cell(cell) for cell in row))
        self.out.print(table, soft_wrap=False)

    @contextlib.contextmanager
    def progress(self, title: str) -> Iterator[Show]:
        """Show a bar with the time left while the context lasts; nothing at all in a pipe."""
        if self.quiet or not self.err.is_terminal:
            yield _show_nothing
            return
        columns = (
            TextColumn("{task.description}"),
            BarColumn(bar_width=12),
            TaskProgressColumn(),
            TimeRemainingColumn(),
            TextColumn("{task.fields[words]}"),
        )
        with Progress(*columns, console=self.err, transient=True) as bar:
            title = f"{self.place} {title}".strip()
            task = bar.add_task(_cell(title), total=None, words="")  # moves until a share is known
            yield lambda share, words: bar.update(task, total=1.0, completed=share, words=_cell(words))


def _cell(text: str) -> str:
    return escape(visible(text, newlines=False))
