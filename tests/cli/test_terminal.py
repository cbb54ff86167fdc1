"""The listener that shows events: one bar on a terminal, lines in a pipe, notes, what the data are."""

from __future__ import annotations

import contextlib
import dataclasses
import io
import re
import threading
import time

import pytest
from rich.console import Console

from sit2.cli.progress import Screen
from sit2.cli.terminal import Terminal, cell_line, epoch_line
from sit2.events import (
    CellEnded,
    Cost,
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

PREPARED = DataPrepared("[a]", 1234, 3, (16, 24), colour=False, splits=(("train", 1000), ("test", 234)))


def on_terminal(*, quiet: bool = False) -> tuple[Screen, io.StringIO]:
    """Return a screen that is a terminal, and what it shows."""
    shown = io.StringIO()
    console = Console(file=shown, force_terminal=True, width=100, highlight=False, soft_wrap=True)
    return Screen(quiet=quiet, out=console, err=console), shown


class Clock:
    """A clock that is told what time it is."""

    def __init__(self) -> None:
        self.now = 100.0

    def __call__(self) -> float:
        return self.now


def row(
    epoch: int, *, of: int = 20, name: str = "plain", seconds: float = 4.0, val: bool = True
) -> EpochEnded:
    """Return an epoch of 340 images that took so many seconds, like all before it."""
    measured = (0.713, 0.801) if val else (None, None)
    times = (epoch * 10, of * 10, epoch * 340, 0.412, 0.001, *measured, epoch * seconds)
    return EpochEnded(name, name.partition(" ")[0], "train", epoch, *times)


def lines_of(shown: io.StringIO) -> list[str]:
    """Return what was printed, without control codes and without the bar."""
    text = re.sub(r"\x1b\[[0-9;?]*[A-Za-z]", "", shown.getvalue()).replace("\r", "\n")
    return [line.rstrip() for line in text.split("\n") if line.strip() and "━" not in line]


def test_a_bar_of_one_piece_of_work() -> None:
    screen, shown = on_terminal()
    with Terminal(screen) as terminal:
        terminal(Progress("Reading [a]", 0.5, "1 of 2 done"))
    text = shown.getvalue()
    for words in ("Reading [a]", "50%", "1 of 2 done"):
        assert words in text


COSTS = Planned((Cost("confusion"), Cost("training", 1000), Cost("evaluation", 100, 3), Cost("report", 0, 7)))


def test_one_bar_for_the_whole_run() -> None:
    screen, shown = on_terminal()
    clock = Clock()

    def drawn() -> str:
        assert terminal._bar is not None
        return "".join(part.text for part in screen.err.render(terminal._bar.get_renderable()))

    with Terminal(screen, clock) as terminal:
        terminal(StageBegan("images", 1, 5))
        terminal(Progress("Reading images", 0.5, "5 of 10"))
        assert "1/5 images" in drawn()
        assert "50% 5 of 10" in drawn()  # of the stage: what the rest costs is not known yet
        assert "left" not in drawn()
        bar = terminal._bar
        clock.now += 10
        terminal(COSTS)
        terminal(StageBegan("training", 3, 5))
        clock.now += 10
        terminal(Progress("Training", 0.1, "loss 0.412", left=180.0))
        assert "3/5 training" in drawn()
        assert "loss 0.412" in drawn()
        assert "4 min left" in drawn()  # 180 s, 100 samples at 0.2 s, and 10 s
        assert "9%" in drawn()  # 20 s of 230
        clock.now += 100  # no news, but time goes on
        assert "2 min left" in drawn()
        assert "52%" in drawn()
        clock.now += 80
        terminal(Progress("Training", 1.0))
        terminal(StageBegan("evaluation", 4, 5))
        terminal(StageBegan("report", 5, 5))
        assert "5/5 report" in drawn()
        assert terminal._bar is bar
    assert shown.getvalue().count("\x1b[?25l") == 1


@pytest.mark.parametrize("how", ["finished", "an error", "the data"])
def test_no_bar_is_left_behind(how: str) -> None:
    screen, shown = on_terminal()

    def cursor_is_back() -> bool:
        hidden, back = (shown.getvalue().rfind(f"\x1b[?25{letter}") for letter in "lh")
        return hidden < back

    with contextlib.suppress(ZeroDivisionError), Terminal(screen) as terminal:
        if how == "an error":
            terminal(StageBegan("training", 3, 5))
        terminal(Progress("Training", 0.5))
        assert not cursor_is_back()
        if how == "finished":
            terminal(Progress("Training", 1.0))
        elif how == "the data":
            terminal(PREPARED)
        assert cursor_is_back() == (how != "an error")
        _ = 1 / 0
    assert cursor_is_back()


def test_a_bar_for_each_title_where_there_are_no_stages() -> None:
    screen, shown = on_terminal()
    with Terminal(screen) as terminal:
        for title in ("Reading", "Training"):
            terminal(Progress(title, 0.25))
            time.sleep(0.15)  # it is drawn ten times a second
    assert "Reading" in shown.getvalue()
    assert "Training" in shown.getvalue()


def test_each_epoch_is_a_line_above_the_bar() -> None:
    screen, shown = on_terminal()
    with Terminal(screen) as terminal:
        terminal(StageBegan("training", 3, 5))
        terminal(TrainingBegan("plain", "plain", 200, 34))
        for epoch in (1, 2):
            terminal(row(epoch))
        terminal(TrainingEnded("plain", found=False))
    assert lines_of(shown) == [
        f"plain  epoch  {epoch} of 20  loss 0.412  val 71.3 %  val log-loss 0.801  85 images/s"
        for epoch in (1, 2)
    ]


def test_what_is_kept_is_trained_in_lines_too() -> None:
    screen, shown = on_terminal()
    with Terminal(screen, Clock()) as terminal:
        for event in (StageBegan("refit", 5, 6), TrainingBegan("all images: plain", "plain", 200, 32)):
            terminal(event)
        terminal(row(1, name="all images: plain", val=False))
    assert any(line.startswith("all images: plain  epoch  1 of 20") for line in lines_of(shown))


def test_a_network_that_was_found_is_one_line() -> None:
    screen, shown = on_terminal()
    with Terminal(screen) as terminal:
        terminal(StageBegan("training", 3, 5))
        for epoch in range(1, 21):
            terminal(row(epoch))
        terminal(TrainingEnded("plain", found=True))
    assert lines_of(shown) == ["plain  was trained before  loss 0.412  val 71.3 %  val log-loss 0.801"]


def test_of_many_cells_each_is_a_line_when_it_has_ended() -> None:
    screen, shown = on_terminal()
    name = "shapes, split 0, seed 3: plain"
    with Terminal(screen) as terminal:
        terminal(TrainingBegan(name, "plain", 200, 34))
        for epoch in (1, 2):
            terminal(row(epoch, of=2, name=name))
        terminal(TrainingEnded(name, found=False))
    assert lines_of(shown) == [f"{name}  in 10 s  loss 0.412  val 71.3 %  log-loss 0.801"]


def test_a_comparison_has_one_bar_for_all_rounds_and_a_line_for_each_cell() -> None:
    screen, shown = on_terminal()
    clock, rounds = Clock(), ("Round 1 of 2: 2 cells", "Round 2 of 2: 2 cells")
    with Terminal(screen, clock) as terminal:
        terminal(Planned((*(Cost(name, 1000) for name in rounds), Cost("statistics", 0, 5))))
        terminal(StageBegan(rounds[0], 0, 0))
        clock.now += 10
        terminal(Progress(rounds[0], 0.5, "loss 0.4", left=10.0))
        bar = terminal._bar
        assert bar is not None
        drawn = "".join(part.text for part in screen.err.render(bar.get_renderable()))
        assert rounds[0] in drawn
        assert "35 s left" in drawn  # 10 of this round, 20 of the next, 5 of the statistics
        terminal(CellEnded("one, split 0: plain", 1, 4, 0.8125))
        terminal(Progress(rounds[0], 1.0))
        terminal(StageBegan(rounds[1], 0, 0))
        assert terminal._bar is bar
    assert lines_of(shown) == ["1 of 4  one, split 0: plain  test accuracy 81.2 %"]


def test_a_cell_keeps_to_its_columns() -> None:
    line = cell_line(CellEnded("x" * 90 + "mixup", 12, 400, 1.0), 80)
    assert len(line) == 80
    assert line.startswith(" 12 of 400  ..x")
    assert line.endswith("mixup  test accuracy 100.0 %")


class TestEpochLine:
    def test_what_was_not_measured_is_not_said(self) -> None:
        assert epoch_line(row(3, val=False), row(2)) == "plain  epoch  3 of 20  loss 0.412  85 images/s"
        assert epoch_line(row(3, val=False, seconds=0.0), row(2, seconds=0.0)).endswith("of 20  loss 0.412")

    def test_the_speed_is_of_this_epoch(self) -> None:
        slow = dataclasses.replace(row(2, val=False), seconds=104.0)
        assert epoch_line(slow, row(1)).endswith("  3.4 images/s")

    @pytest.mark.parametrize("ends", [[3, 6, 9, 10], [3, 5, 8, 10]], ids=["one phase", "two phases"])
    def test_how_many_epochs_there_are(self, ends: list[int]) -> None:
        rows = [dataclasses.replace(row(n), step=end, steps=10) for n, end in enumerate(ends, 1)]
        assert [epoch_line(one, None).split("  ")[1] for one in rows] == [
            f"epoch {n} of 4" for n in (1, 2, 3, 4)
        ]

    def test_a_training_that_begins_anew(self) -> None:
        assert epoch_line(row(1, val=False), row(20)).endswith("  85 images/s")

    def test_what_was_solved_has_no_epochs(self) -> None:
        solved = EpochEnded("linear", "linear", "closed form", 1, 1, 1, 64, 0.5, 0.0, None, None, 0.1)
        assert epoch_line(solved, None) == "linear  closed form  loss 0.500"

    @pytest.mark.parametrize("name", ["plain", "not-sure", "sure-or-not@random (2 of 3)", "x" * 200])
    def test_keeps_to_its_columns(self, name: str) -> None:
        for width in (80, 72):
            line = epoch_line(row(3, of=1000, name=name), None, width)
            assert len(line) <= width
            assert line.partition("  ")[0].endswith(name[-10:])
            for figure in ("3 of 1000", "loss 0.412", "val 71.3 %", "log-loss 0.801", "85"):
                assert figure in line
            assert line.isascii()


def in_a_pipe(*events: Event | float, capsys: pytest.CaptureFixture[str]) -> list[str]:
    """Return the lines that events make in a pipe; numbers are seconds that pass."""
    clock = Clock()
    with Terminal(Screen(), clock) as terminal:
        for event in events:
            if isinstance(event, float):
                clock.now += event
            else:
                terminal(event)
    out, err = capsys.readouterr()
    assert out == ""
    return str(err).splitlines()


def test_in_a_pipe_a_line_every_ten_seconds(capsys: pytest.CaptureFixture[str]) -> None:
    stage = StageBegan("confusion", 2, 5)
    assert in_a_pipe(
        stage,
        20.0,
        Progress("Measuring\x1b", 0.25, "loss 0.5"),
        5.0,
        Progress("Measuring", 0.5),
        capsys=capsys,
    ) == ["2/5 Measuring\\x1b: 25%, loss 0.5"]
    assert in_a_pipe(
        20.0, Progress("Reading", 0.25, "1 of 4"), 30.0, Progress("Reading", 0.5), capsys=capsys
    ) == [
        "Reading: 25%, 1 of 4",
        "Reading: 50%, 30 s left",
    ]
    assert in_a_pipe(*(Progress("Reading", step / 100) for step in range(100)), capsys=capsys) == []


def test_in_a_pipe_an_epoch_every_ten_seconds_and_the_last(capsys: pytest.CaptureFixture[str]) -> None:
    stages = StageBegan("training", 3, 5), TrainingBegan("plain", "plain", 200, 34)

    def told(seconds: float) -> list[int]:
        """Return which of twenty epochs of so many seconds are told."""
        events: list[Event | float] = [*stages]
        for epoch in range(1, 21):
            events += [seconds, row(epoch), Progress("Training", epoch / 20, "loss 0.412", left=1.0)]
        lines = in_a_pipe(*events, StageBegan("evaluation", 4, 5), capsys=capsys)
        return [int(line.split()[2]) for line in lines]

    assert told(4.0) == [3, 6, 9, 12, 15, 18, 20]
    assert told(30.0) == list(range(1, 21))
    assert told(0.1) == []  # what takes no time needs none


def test_notes_and_what_the_data_are(capsys: pytest.CaptureFixture[str]) -> None:
    with Terminal(Screen()) as terminal:
        terminal(PREPARED)
        terminal(Note("a [bold]note[/bold]"))
    out, err = capsys.readouterr()
    assert out.splitlines() == [
        "[a]: 1,234 images in 3 classes",
        "Images are used at 24 × 16, in gray",
        "1,000 for training, 234 for the test",
    ]
    assert err == "note: a [bold]note[/bold]\n"


def test_quiet_shows_nothing(capsys: pytest.CaptureFixture[str]) -> None:
    screen, shown = on_terminal(quiet=True)
    for one in (screen, Screen(quiet=True)):
        clock = Clock()
        with Terminal(one, clock) as terminal:
            for event in (
                *(PREPARED, COSTS, StageBegan("training", 3, 5), TrainingBegan("plain", "plain", 200, 34)),
                *(
                    row(1),
                    Progress("x", 0.5, left=3.0),
                    Note("x"),
                    row(2),
                    TrainingEnded("plain", found=True),
                ),
            ):
                clock.now += 20
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
