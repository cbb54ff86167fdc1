"""history.csv is read as it was written."""

from __future__ import annotations

import math
from pathlib import Path

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from made_run import epochs

from sit2.errors import RunFolderError
from sit2.storage.run_folder import RunFolder
from sit2.training.history import COLUMNS, history_table, read_history

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
