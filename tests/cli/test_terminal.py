"""The listener that shows events: bars on a terminal, lines in a pipe, notes, what the data are."""

from __future__ import annotations

import contextlib
import io
import threading

import pytest
from rich.console import Console

from sit2.cli import terminal as module
from sit2.cli.progress import Screen
from sit2.cli.terminal import Terminal
from sit2.events import DataPrepared, EpochEnded, Note, Progress, StageBegan, TrainingEnded

PREPARED = DataPrepared("[a]", 1234, 3, (16, 24), colour=False, splits=(("train", 1000), ("test", 234)))
EPOCH = EpochEnded("a", "plain", "train", 1, 1, 2, 64, 0.5, 0.1, None, None, 0.1)


def on_terminal(*, quiet: bool = False) -> tuple[Screen, io.StringIO]:
    """Return a screen that is a terminal, and what it shows."""
    shown = io.StringIO()
    console = Console(file=shown, force_terminal=True, width=100, highlight=False, soft_wrap=True)
    return Screen(quiet=quiet, out=console, err=console), shown


def test_a_bar_with_the_part_that_is_done() -> None:
    screen, shown = on_terminal()
    with Terminal(screen) as terminal:
        terminal(StageBegan("training", 3, 5))
        terminal(Progress("Training [a]", 0.5, "1 of 2 done"))
    text = shown.getvalue()
    for words in ("3/5 ", "Training [a]", "50%", "1 of 2 done"):
        assert words in text


@pytest.mark.parametrize("how", ["finished", "another stage", "an error", "the data"])
def test_no_bar_is_left_behind(how: str) -> None:
    screen, shown = on_terminal()

    def cursor_is_back() -> bool:
        hidden, back = (shown.getvalue().rfind(f"\x1b[?25{letter}") for letter in "lh")
        return hidden < back

    with contextlib.suppress(ZeroDivisionError), Terminal(screen) as terminal:
        terminal(Progress("Training", 0.5))
        assert not cursor_is_back()
        if how == "finished":
            terminal(Progress("Training", 1.0))
        elif how == "another stage":
            terminal(StageBegan("report", 5, 5))
        elif how == "the data":
            terminal(PREPARED)
        assert cursor_is_back() == (how != "an error")
        _ = 1 / 0
    assert cursor_is_back()


def test_a_bar_for_each_title() -> None:
    screen, shown = on_terminal()
    with Terminal(screen) as terminal:
        for title in ("Reading", "Training"):
            terminal(Progress(title, 0.25))
    assert "Reading" in shown.getvalue()
    assert "Training" in shown.getvalue()


def test_in_a_pipe_a_line_now_and_then(
    monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    monkeypatch.setattr(module, "SECONDS", 0.0)
    with Terminal(Screen()) as terminal:
        terminal(StageBegan("training", 3, 5))
        terminal(Progress("Training\x1b", 0.25, "loss 0.5"))
        terminal(Progress("Training", 0.5))
        terminal(Progress("Training", 1.0))
    assert capsys.readouterr() == (
        "",
        "3/5 Training\\x1b: 25%, loss 0.5\n3/5 Training: 50%\n",
    )
    monkeypatch.setattr(module, "SECONDS", 10.0)
    with Terminal(Screen()) as terminal:
        for step in range(100):
            terminal(Progress("Training", step / 100))
    assert capsys.readouterr() == ("", "")  # less than ten seconds


def test_notes_and_what_the_data_are(capsys: pytest.CaptureFixture[str]) -> None:
    with Terminal(Screen()) as terminal:
        terminal(PREPARED)
        terminal(Note("a [bold]note[/bold]"))
        for event in (EPOCH, TrainingEnded("a", found=False)):
            terminal(event)  # others have use for these
    out, err = capsys.readouterr()
    assert out == (
        "[a]: 1,234 images of 3 classes, 24 × 16 pixels, gray\n1,000 for training, 234 for the test\n"
    )
    assert err == "note: a [bold]note[/bold]\n"


def test_quiet_shows_nothing(capsys: pytest.CaptureFixture[str]) -> None:
    screen, shown = on_terminal(quiet=True)
    for one in (screen, Screen(quiet=True)):
        with Terminal(one) as terminal:
            for event in (StageBegan("a", 1, 1), Progress("x", 0.5), PREPARED, Note("x")):
                terminal(event)
    assert shown.getvalue() == ""
    assert capsys.readouterr() == ("", "")


def test_events_may_come_from_several_threads() -> None:
    screen, _ = on_terminal()
    failed: list[BaseException] = []

    def send(number: int) -> None:
        try:
            for step in range(40):
                terminal(Progress(f"Training {number}", step / 40))
        except BaseException as error:
            failed.append(error)

    with Terminal(screen) as terminal:
        threads = [threading.Thread(target=send, args=(n,)) for n in range(4)]
        for thread in threads:
            thread.start()
        for thread in threads:
            thread.join()
    assert failed == []
