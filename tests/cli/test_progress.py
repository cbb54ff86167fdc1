"""What a person sees: plain lines in a pipe, bars on a terminal, nothing when it is to be quiet."""

from __future__ import annotations

import io
from pathlib import Path

import pytest
from rich.console import Console

from sit2.cli.progress import Screen

ROWS = [("actinic keratosis – melanocytic nevus of the skin", "0.5", "12"), ("[red]", "0.25", "3")]


def terminal(width: int = 80) -> tuple[Screen, io.StringIO]:
    """Return a screen that is a terminal, and what it shows."""
    shown = io.StringIO()
    console = Console(file=shown, force_terminal=True, width=width, highlight=False, soft_wrap=True)
    return Screen(out=console, err=console), shown


def test_in_a_pipe_every_row_is_one_plain_line(capsys: pytest.CaptureFixture[str]) -> None:
    screen = Screen()
    screen.table("Pairs", ("pair", "score", "images confused"), [(*row[:2], row[2] * 30) for row in ROWS])
    lines = capsys.readouterr().out.splitlines()
    assert [line.split() for line in lines] == [
        ["Pairs"],
        ["pair", "score", "images", "confused"],
        [*ROWS[0][0].split(), "0.5", "12" * 30],
        ["[red]", "0.25", "3" * 30],
    ]
    assert len({len(line) for line in lines[1:]}) == 1  # numbers end in one column


def test_on_a_terminal_a_long_name_is_folded_and_no_letter_is_lost() -> None:
    screen, shown = terminal(width=40)
    screen.table("", ("pair", "score", "n"), [("sure-or-not@random-and-longer-than-that", "0.25", "3")])
    lines = [line.split() for line in shown.getvalue().splitlines()[1:]]
    assert lines == [["sure-or-not@random-and-longer-", "0.25", "3"], ["than-that"]]


def test_results_and_warnings_go_their_own_ways(capsys: pytest.CaptureFixture[str]) -> None:
    screen = Screen()
    screen.say("a [bold]result[/bold]", style="bold")
    screen.warn("a [bold]warning[/bold]")
    assert capsys.readouterr() == ("a [bold]result[/bold]\n", "note: a [bold]warning[/bold]\n")


def test_a_long_line_is_not_broken(capsys: pytest.CaptureFixture[str]) -> None:
    Screen().say("word " * 100)
    assert capsys.readouterr().out.count("\n") == 1


def test_on_a_terminal_lines_break_between_words_and_keep_their_indent() -> None:
    screen, shown = terminal(width=20)
    screen.say("  " + "word " * 6)
    lines = [line.rstrip() for line in shown.getvalue().splitlines()]
    assert lines == ["  word word word", "  word word word"]


def test_quiet(capsys: pytest.CaptureFixture[str]) -> None:
    screen = Screen(quiet=True)
    screen.say("x")
    screen.warn("x")
    screen.table("x", ("x",), [("x",)])
    screen.paths({"x": Path("x")})
    assert capsys.readouterr() == ("", "")
