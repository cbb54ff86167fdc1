"""What goes to which stream, and in which letters."""

from __future__ import annotations

import io
import json
import os
import re
import subprocess
import sys
from pathlib import Path

import pytest
from rich.console import Console
from synthetic import MEASURED, TINY, Finished, command, finished, write_folder

from sit2.cli.progress import Screen
from sit2.cli.terminal import Terminal
from sit2.events import EpochEnded, Progress, StageBegan, TrainingBegan

Printed = pytest.CaptureFixture[str]


@pytest.fixture(name="done")
def _done() -> Finished:
    return finished()


def test_a_pipe_gets_no_control_codes(done: Finished, tmp_path: Path, capsys: Printed) -> None:
    out = tmp_path / "run"
    words = ("train", done.data, "-o", out, *TINY, "--method", "not-sure@all", "--epochs", 1)
    assert command(words) == 0
    printed = capsys.readouterr()
    assert printed.err == ""  # unless it takes ten seconds
    assert not re.search(r"[\x00-\x09\x0b-\x1f\x7f]", printed.out)
    lines = printed.out.splitlines()
    assert lines[:3] == [
        "shapes: 36 images in 3 classes",
        "Images of about 16 × 16 pixels are used at 16 × 16, in colour",
        "23 for training, 6 for validation, 7 for the test",
    ]
    assert any(line.startswith("not-sure@all ") for line in lines)  # whole, in one line
    assert lines[-2].split(maxsplit=2) == ["The", "model:", str(out / "model")]
    assert lines[-1] == f"The report, for a browser: {out / 'report.html'}"


def unequal_folder(root: Path) -> Path:
    """Write 26 images of one class, 12 of another, two of a third."""
    for name, count in (("cross", 26), ("disc", 12), ("oval", 2)):
        write_folder(root, count, classes=(name,))
    return root


def test_a_log_tells_epochs_and_what_is_wrong_with_the_classes(
    tmp_path: Path, capsys: Printed, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr("sit2.cli.terminal.SECONDS", 0.0)
    out = tmp_path / "run"
    words = (
        "train",
        unequal_folder(tmp_path / "set"),
        "-o",
        out,
        *MEASURED,
        "--method",
        "plain",
        "--epochs",
        3,
    )
    assert command(words) == 0
    told = capsys.readouterr().err.splitlines()
    notes = [line for line in told if line.startswith("note: ")]
    small, large = notes[-2:]
    assert small.startswith(
        "note: 1 class with fewer training images than 5: oval (2). Add images: of so few "
    )
    assert large.startswith("note: Class cross has 13 times as many images as oval (26 to 2). Read macro-F1 ")
    assert len(set(notes)) == len(notes)
    epochs = [line for line in told if line.startswith("plain  epoch ")]
    assert [line.split("  ")[1] for line in epochs] == [f"epoch {n} of 4" for n in (1, 2, 3, 4)]
    assert all(
        re.search(r"  loss \d\.\d{3}(  val .* %  val log-loss .*)?  [\d,.]+ images/s$", e) for e in epochs
    )
    assert max(map(len, epochs)) <= 80
    assert told.index(large) < told.index(epochs[0])
    assert notes == ["note: " + note for note in json.loads((out / "run.json").read_text())["notes"]]


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


def test_a_terminal_without_the_letters() -> None:
    shown = io.BytesIO()
    stream = io.TextIOWrapper(shown, encoding="ascii", errors="backslashreplace", write_through=True)
    screen = Screen(err=Console(file=stream, force_terminal=True, width=80, highlight=False))
    with Terminal(screen) as terminal:
        terminal(StageBegan("training", 3, 5))
        terminal(TrainingBegan("plain", "plain", 200, 34))
        terminal(EpochEnded("plain", "plain", "train", 1, 10, 200, 340, 0.4, 0.1, 0.7, 0.8, 4.0))
        terminal(Progress("Training", 0.05, "loss 0.400", left=76.0))
    assert (
        b"plain  epoch  1 of 20  loss 0.400  val 70.0 %  val log-loss 0.800  85 images/s" in shown.getvalue()
    )
    assert b"3/5 training" in shown.getvalue()


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
