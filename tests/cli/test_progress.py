"""What a person sees: plain lines in a pipe, nothing when it is to be quiet; and how long it will take."""

from __future__ import annotations

import io
import math
import time
from itertools import pairwise
from pathlib import Path
from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st
from jobs import make_job, run
from rich.console import Console

from sit2.cli.progress import Outlook, Screen, duration
from sit2.events import Cost, Event, Progress
from sit2.execution import runner
from sit2.training import loop
from sit2.training.loop import EarlyStop, Training
from sit2.training.phase import Phase

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
    screen.tell("x")
    screen.table("x", ("x",), [("x",)])
    screen.paths({"x": Path("x")})
    assert capsys.readouterr() == ("", "")


COSTS = (Cost("confusion", 500), Cost("training", 1000), Cost("evaluation", 100, 3), Cost("report", 0, 7))


def outlook(*, planned: bool = True, stage: str = "training") -> Outlook:
    """Return one at the beginning of a stage, at 0 s."""
    made = Outlook(0.0)
    if planned:
        made.plan(COSTS)
    made.stage(stage, 0.0)
    return made


class TestOutlook:
    def test_of_one_piece_of_work_the_clock_tells(self) -> None:
        one = Outlook(0.0)
        assert one.left(0.0) is None
        one.heard(0.25, None, 10.0)
        assert one.left(10.0) == pytest.approx(30)
        assert one.left(20.0) == pytest.approx(20)  # it counts down without news
        assert one.fraction(20.0) == 0.25
        assert one.left(90.0) == 0

    def test_before_anything_is_measured_nobody_knows(self) -> None:
        for one in (outlook(planned=False), outlook()):
            one.heard(0.0, None, 10.0)
            assert one.left(10.0) is None
            assert one.fraction(10.0) is None
        one = outlook(stage="confusion")
        one.heard(0.5, None, 10.0)  # in closed form: it says nothing of the trainings to come
        assert one.left(10.0) is None

    def test_the_whole_run_from_what_trainings_take(self) -> None:
        one = outlook()
        one.heard(0.1, 90.0, 10.0)  # 900 samples at 0.1 s
        assert one.left(10.0) == pytest.approx(90 + 3 + 100 * 0.1 + 7)
        assert one.fraction(10.0) == pytest.approx(10 / 120)

    def test_folds_tell_what_the_training_will_take(self) -> None:
        one = outlook(stage="confusion")
        one.heard(0.5, 50.0, 50.0)  # 250 samples at 0.2 s
        assert one.left(50.0) == pytest.approx(50 + 1000 * 0.2 + 3 + 100 * 0.2 + 7)

    def test_it_does_not_jump_and_comes_right(self) -> None:
        """The first epoch took ten times as long as the others, which nobody could know."""
        one, told = outlook(), [0.0]
        one.heard(0.01, 99 * 10.0, 10.0)
        shown, now = [one.left(10.0) or 0.0], 10.0
        for epoch in range(2, 101):
            now += 1.0
            one.heard(epoch / 100, 100.0 - epoch, now)
            shown.append(one.left(now) or 0.0)
            told.append(one.fraction(now) or 0.0)
        steps = [after - before for before, after in pairwise(shown)]
        assert max(steps) <= 0
        assert min(steps) > -0.1 * shown[0]
        assert told == sorted(told)
        assert shown[50] == pytest.approx(49 + 3 + 10 + 7, rel=0.2)
        assert shown[-1] == pytest.approx(3 + 10 + 7, rel=0.1)

    def test_epochs_that_are_told_again_change_nothing(self) -> None:
        """A resumed training is at once where it was: its sender says what it takes, not the clock."""
        one = outlook()
        for epoch in range(1, 51):
            one.heard(epoch / 100, 100.0 - epoch, 0.1)
        assert one.left(0.1) == pytest.approx(99 + 3 + 10 + 7, rel=0.1)

    def test_later_pieces_of_a_stage_do_not_turn_it_back(self) -> None:
        one = outlook(stage="report")
        one.heard(0.9, 1.0, 9.0)
        before = one.fraction(9.0)
        one.heard(0.1, 100.0, 9.5)
        assert one.fraction(9.5) == pytest.approx(before, abs=0.1)
        assert (one.fraction(9.5) or 0) >= (before or 0)

    @given(
        st.lists(st.tuples(st.floats(0, 100), st.floats(0, 1), st.none() | st.floats(0, 1e6)), max_size=30)
    )
    def test_the_bar_never_goes_back(self, events: list[tuple[float, float, float | None]]) -> None:
        one, now, before = outlook(), 0.0, 0.0
        for seconds, fraction, left in events:
            now += seconds
            one.heard(fraction, left, now)
            done = one.fraction(now)
            assert (one.left(now) is None) == (done is None)
            assert before <= (before if done is None else done) <= 1
            before = before if done is None else done


@pytest.mark.parametrize(
    ("seconds", "words"),
    [
        *((0, "5 s"), (5.1, "10 s"), (55, "55 s"), (56, "1 min"), (61, "2 min"), (3540, "59 min")),
        *((3541, "1 h"), (3601, "1 h 5 min"), (4800, "1 h 20 min"), (7200, "2 h")),
    ],
)
def test_a_time_in_words(seconds: float, words: str) -> None:
    assert duration(seconds) == words


class TestLeft:
    """What trainings tell of the time that they will take."""

    @pytest.fixture(autouse=True)
    def _epochs_only(self, monkeypatch: pytest.MonkeyPatch) -> None:
        monkeypatch.setattr(loop, "NEWS_SECONDS", math.inf)  # how many words there are depends on no clock

    @staticmethod
    def told(folder: Path, *names: str, **more: Any) -> list[Progress]:
        """Train recipes of ten steps, and return the progress that was told."""
        heard: list[Event] = []
        run([make_job(name) for name in names], folder, listener=heard.append, **more)
        return [event for event in heard if isinstance(event, Progress)][:-1]

    def test_making_ready_is_no_part_of_the_speed(
        self, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
    ) -> None:
        report = Training._report

        def slow(training: Training, phase: Phase, done: int, *given: Any) -> None:
            training._began = time.monotonic() - (20.0 + 10.0 * done)
            report(training, phase, done, *given)

        monkeypatch.setattr(Training, "_report", slow)
        monkeypatch.setattr(runner, "_LONG", 60.0)  # 20 s, and 30 s of the first epoch's three steps
        told = self.told(tmp_path, "plain", "mixup")
        assert told[0].left is None
        assert [event.left for event in told[1:]] == pytest.approx(
            [10.0 * left for left in (14, 11, 10, 7, 4, 1, 0)], rel=0.01
        )

    def test_what_was_found_is_done_and_takes_no_time(self, tmp_path: Path) -> None:
        self.told(tmp_path, "plain")
        told = self.told(tmp_path, "plain", "mixup")
        assert [event.fraction for event in told] == pytest.approx([0.65, 0.8, 0.95, 1.0])
        assert told[-1].left == 0

    def test_within_an_epoch_it_is_told_how_far_it_is(
        self, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
    ) -> None:
        """Nobody waits for the end of the first epoch to learn how long it takes: the second word says it."""
        monkeypatch.setattr(loop, "NEWS_SECONDS", 0.0)
        told = self.told(tmp_path, "plain")
        fractions = [event.fraction for event in told]
        assert fractions == pytest.approx([n / 10 for n in range(1, 11)])
        assert told[0].left is None
        assert all(event.left is not None for event in told[1:])
        assert [event.words for event in told[:2]] == ["first epoch"] * 2

    def test_a_training_that_stops_early_is_done(
        self, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
    ) -> None:
        monkeypatch.setattr(EarlyStop, "update", lambda *_: True)
        heard: list[Event] = []
        run([make_job("plain", early_stop=1)], tmp_path, listener=heard.append)
        told = [event for event in heard if isinstance(event, Progress)]
        assert [event.fraction for event in told] == pytest.approx([0.3, 1.0, 1.0])
        assert told[1].left == 0
