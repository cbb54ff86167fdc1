"""What goes to which stream, and in which letters."""

from __future__ import annotations

import os
import re
import subprocess
import sys
from pathlib import Path

import pytest
from synthetic import MEASURED, TINY, Finished, command, finished, write_folder

Printed = pytest.CaptureFixture[str]


@pytest.fixture(name="done")
def _done() -> Finished:
    return finished()


def test_a_pipe_gets_no_control_codes(done: Finished, tmp_path: Path, capsys: Printed) -> None:
    out = tmp_path / "run"
    words = ("train", done.data, "-o", out, *TINY, "--method", "not-sure@all", "--epochs", 1)
    assert command(words) == 0
    printed = capsys.readouterr()
    assert printed.err == ""
    assert not re.search(r"[\x00-\x09\x0b-\x1f\x7f]", printed.out)
    lines = printed.out.splitlines()
    assert lines[:2] == [
        "shapes: 36 images of 3 classes, 16 × 16 pixels, colour",
        "23 for training, 6 for validation, 7 for the test",
    ]
    assert any(line.startswith("not-sure@all ") for line in lines)  # whole, in one line
    assert lines[-2].split(maxsplit=2) == ["The", "model:", str(out / "model")]
    assert lines[-1] == f"The report, for a browser: {out / 'report.html'}"


@pytest.mark.parametrize("flag", ["--foo", "--debug", "--quiet"])
def test_a_flag_before_the_verb(flag: str, capsys: Printed) -> None:
    for words in ((flag,), (flag, "check", "DATA")):
        assert command(words) == 2
        assert "sit2: " in capsys.readouterr().err


def test_a_stream_without_the_letters(done: Finished) -> None:
    words = (sys.executable, "-m", "sit2", "evaluate", done.data, "--model", done.run)
    environment = {**os.environ, "PYTHONIOENCODING": "ascii"}
    told = subprocess.run(words, env=environment, capture_output=True, check=True)
    assert b"\\u2013" in told.stdout


def test_a_class_is_no_emoji(tmp_path: Path, capsys: Printed) -> None:
    write_folder(tmp_path / "set", 3, classes=("a:x:b", "disc"))
    assert command(("check", tmp_path / "set")) in (0, 1)
    assert "a:x:b" in capsys.readouterr().out


def test_a_table_of_pairs_without_scores(done: Finished, tmp_path: Path, capsys: Printed) -> None:
    pairs = tmp_path / "pairs.csv"
    pairs.write_text("class_a,class_b\ndisc,oval\n")
    words = ("synthesize", done.data, "-o", tmp_path / "made", "--pairs", pairs, "--count", 2, *MEASURED)
    assert command(words) == 0
    assert "Confused pairs: 1 of 3 chosen\n" in capsys.readouterr().out


@pytest.mark.parametrize("size", ["nan", "inf", "0", "-1"])
def test_a_page_of_no_size(size: str, done: Finished, capsys: Printed) -> None:
    assert command(("report", done.run, "--megabytes", size)) == 2
    assert "expected a number above 0" in capsys.readouterr().err


def test_quiet_prints_nothing(done: Finished, tmp_path: Path, capsys: Printed) -> None:
    short = (*MEASURED, "--epochs", 1, "--quiet")
    for words in (
        ("check", done.data, "--quiet"),
        ("train", done.data, "-o", tmp_path / "run", "--method", "multi-label", *short),
        ("confusion", done.data, "-o", tmp_path / "confusion", *short),
        ("synthesize", done.data, "-o", tmp_path / "made", *short),
        ("evaluate", done.data, "--model", done.run, "--quiet"),
    ):
        assert command(words) == 0
        assert capsys.readouterr() == ("", "")


def test_the_default_folder_is_the_next_that_is_free(
    done: Finished, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.chdir(tmp_path)
    words = ("train", done.data, *TINY, "--method", "mixup", "--epochs", 0.5, "--quiet")
    for _ in range(2):
        assert command(words) == 0
    assert sorted(p.name for p in Path("runs").iterdir()) == ["shapes-mixup", "shapes-mixup-2"]


def test_head_may_close_the_pipe(done: Finished, monkeypatch: pytest.MonkeyPatch) -> None:
    class Closed:
        def write(self, _: str) -> int:
            raise BrokenPipeError

        def flush(self) -> None: ...
        def close(self) -> None: ...

    monkeypatch.setattr(sys, "stdout", Closed())
    monkeypatch.setattr(sys, "stderr", Closed())
    assert command(("predict", done.data, "--model", done.run)) == 0
