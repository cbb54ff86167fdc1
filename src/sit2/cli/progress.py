"""What a person sees: sentences, tables and paths, on a terminal or in a pipe."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from pathlib import Path

from rich.console import Console, JustifyMethod
from rich.markup import escape
from rich.padding import Padding
from rich.table import Table
from rich.text import Text

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
