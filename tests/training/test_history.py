"""history.csv is read as it was written, and grows as trainings go."""

from __future__ import annotations

import dataclasses
import math
from pathlib import Path

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from made_run import epochs
from synthetic import HISTORY, SETTINGS, contents, finished

import sit2
from sit2.errors import RunFolderError
from sit2.events import EpochEnded, Event, Note
from sit2.storage.run_folder import RunFolder
from sit2.training.history import COLUMNS, GrowingHistory, history_table, read_history

NUMBER = st.floats(0, 1e6)
ROW = st.tuples(
    st.text(max_size=6), st.integers(0, 10**9), NUMBER, st.none() | st.floats(0, 1), st.none() | NUMBER
)


@settings(deadline=None, max_examples=40)
@given(st.lists(st.lists(ROW, max_size=3), min_size=1, max_size=3))
def test_every_epoch_of_every_member_comes_back(tmp_path_factory: pytest.TempPathFactory, members):
    folder = RunFolder(tmp_path_factory.mktemp("run"))
    histories = [epochs("not-sure*3", *rows) for rows in members]
    folder.write_table("history.csv", history_table([("not-sure*3", histories), ("plain", [[]])]))
    written = [(number, row) for number, history in enumerate(histories, 1) for row in history]
    found = read_history(folder.path / "history.csv")
    assert [(e.method, e.member, e.phase, e.epoch, e.samples_seen) for e in found] == [
        ("not-sure*3", number, row.phase, row.epoch, row.samples_seen) for number, row in written
    ]
    for epoch, (_, row) in zip(found, written, strict=True):
        for name in ("loss", "lr", "val_accuracy", "val_log_loss", "seconds"):
            assert getattr(epoch, name) == pytest.approx(getattr(row, name), abs=1e-6)


def test_recipes_that_share_networks_have_one_history(tmp_path: Path):
    rows = [epochs("plain", ("train", 10, 0.5, None, None))]
    RunFolder(tmp_path).write_table("history.csv", history_table([("plain", rows), ("plain", rows)]))
    assert len(read_history(tmp_path / "history.csv")) == 1


def test_trainings_of_folds_are_told_apart(tmp_path: Path):
    rows = [epochs("plain", ("train", 10, 0.5, None, None))]
    table = history_table([(("plain", "1"), rows), (("plain", "2"), rows), ("linear", rows)])
    RunFolder(tmp_path).write_table("history.csv", table)
    found = read_history(tmp_path / "history.csv")
    assert [(row.method, row.fold) for row in found] == [("plain", "1"), ("plain", "2"), ("linear", "")]
    assert "fold" not in history_table([("plain", rows)])


def test_a_loss_that_is_no_number(tmp_path: Path):
    rows = epochs("plain", ("train", 1, math.nan, None, None), ("train", 2, math.inf, None, None))
    RunFolder(tmp_path).write_table("history.csv", history_table([("plain", [rows])]))
    first, second = read_history(tmp_path / "history.csv")
    assert math.isnan(first.loss)
    assert second.loss == math.inf


def test_absent_or_damaged(tmp_path: Path):
    path = tmp_path / "history.csv"
    assert read_history(path) == ()
    path.write_text("method,loss\nplain,1\n")
    with pytest.raises(RunFolderError, match=r"cannot read .*history\.csv: it has no column 'member'"):
        read_history(path)
    path.write_text(f"{','.join(COLUMNS)}\nplain,1,train,one,10,0.5,0.1,,,1\n")
    with pytest.raises(RunFolderError, match=r"cannot read .*history\.csv: .*'one'"):
        read_history(path)


class TestGrowing:
    @pytest.fixture(autouse=True)
    def _begin(self, tmp_path: Path):
        self.path, self.now, self.written = tmp_path / "history.csv", 0.0, 0
        self.folder = RunFolder(tmp_path)

    def growing(self, trainings):
        def write(table):
            self.written += 1
            self.folder.write_table("history.csv", table)

        return GrowingHistory(write, trainings, clock=lambda: self.now)

    def rows(self):
        return [(e.method, e.member, e.epoch, e.loss) for e in read_history(self.path)]

    def of(self, name, *losses):
        return [
            dataclasses.replace(row, name=name)
            for row in epochs(
                "any", *(("train", 10 * n, loss, None, None) for n, loss in enumerate(losses, 1))
            )
        ]

    def test_a_row_an_epoch_in_the_order_of_the_table(self):
        history = self.growing({"plain": ["plain"], "mixup*2": ["mixup*2 (1 of 2)", "mixup*2 (2 of 2)"]})
        for name, expected in (
            ("mixup*2 (2 of 2)", [("mixup*2", 2, 1, 0.5)]),
            ("plain", [("plain", 1, 1, 0.5), ("mixup*2", 2, 1, 0.5)]),
            ("mixup*2 (1 of 2)", [("plain", 1, 1, 0.5), ("mixup*2", 1, 1, 0.5), ("mixup*2", 2, 1, 0.5)]),
        ):
            self.now += 10
            history(self.of(name, 0.5)[0])
            history(self.of("fold 1: plain", 0.4)[0])
            history(Note("something"))
            assert self.rows() == expected

    def test_it_is_written_once_a_second_at_most(self):
        history = self.growing({"plain": ["plain"]})
        for row in self.of("plain", *(0.1 for _ in range(100))):
            self.now += 0.05
            history(row)
        assert self.written == 5
        history.finish("plain", [self.of("plain", 0.1)])
        assert self.written == 6

    def test_what_is_told_again_stands_once(self):
        """A training goes on from a checkpoint, or begins anew at another rate."""
        history = self.growing({"plain": ["plain"]})
        for losses in ((0.9, 0.8, 0.7), (0.6, 0.5)):
            for row in self.of("plain", *losses):
                self.now += 1
                history(row)
        assert self.rows() == [("plain", 1, 1, 0.6), ("plain", 1, 2, 0.5)]

    def test_at_the_end_it_is_what_was_left_behind(self):
        """Of trials the best one's; of what was found or shared, what nobody told."""
        history = self.growing({"plain": ["plain"], "mixup": ["mixup"]})
        history(self.of("mixup", 0.9)[0])
        found = {name: [self.of("elsewhere", 0.5, 0.4)] for name in ("plain", "mixup")}
        for name in ("plain", "mixup", "plain"):
            history.finish(name, found[name])
        history(self.of("mixup", 0.9)[0])  # late
        RunFolder(self.path.parent / "whole").write_table("history.csv", history_table(list(found.items())))
        assert self.path.read_bytes() == (self.path.parent / "whole" / "history.csv").read_bytes()
        assert self.written == 3


def test_a_run_that_is_interrupted_has_its_epochs_and_goes_on_to_the_whole(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
):
    def interrupt(event: Event) -> None:
        if isinstance(event, EpochEnded) and (event.name, event.epoch) == ("multi-label", 3):
            raise KeyboardInterrupt

    monkeypatch.setattr("sit2.training.history.SECONDS", 0.0)
    done = finished()
    with pytest.raises(KeyboardInterrupt):
        sit2.train(done.data, out=tmp_path / "run", listener=interrupt, **SETTINGS)
    whole, begun = (read_history(run / "history.csv") for run in (done.run, tmp_path / "run"))
    assert [(e.method, e.epoch, e.loss) for e in begun] == [(e.method, e.epoch, e.loss) for e in whole[:7]]
    sit2.train(done.data, out=tmp_path / "run", resume=True, **SETTINGS)
    assert contents(tmp_path / "run", HISTORY) == contents(done.run, HISTORY)
