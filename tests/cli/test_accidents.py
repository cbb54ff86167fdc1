"""A full disk, a read-only folder, no memory, signals, two processes: a sentence, and nothing lost."""

from __future__ import annotations

import errno
import json
import os
import signal
import subprocess
import sys
import threading
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest
import torch
from synthetic import MEASURED, RESULTS, TINY, Finished, command, contents, finished, write_folder

from sit2.cli.accidents import explain, interruptible
from sit2.errors import RunFolderError, Sit2Error
from sit2.storage.files import atomic, sweep
from sit2.storage.lock import NAME, Lock
from sit2.storage.run_folder import BEGINNING, RunFolder
from sit2.training.device import telling_of_memory

Printed = pytest.CaptureFixture[str]


@pytest.fixture(name="done")
def _done() -> Finished:
    return finished()


def full(after: int) -> Callable[..., None]:
    """Return an os.fsync on a disk that is full after so many files."""
    seen = []

    def fsync(_handle: int) -> None:
        seen.append(1)
        if len(seen) > after:
            raise OSError(errno.ENOSPC, os.strerror(errno.ENOSPC))

    return fsync


class TestFullDisk:
    @pytest.mark.parametrize("after", [1, 12, 25])
    def test_a_sentence_and_what_is_finished_stays(
        self, after: int, done: Finished, tmp_path: Path, monkeypatch: pytest.MonkeyPatch, capsys: Printed
    ) -> None:
        words = ["train", done.data, "-o", tmp_path / "run", *TINY, "--quiet"]
        with monkeypatch.context() as patch:
            patch.setattr("sit2.storage.files.os.fsync", full(after))
            assert command(words) == 2
        said = capsys.readouterr().err
        assert said.startswith(f"sit2: cannot write {tmp_path / 'run'}")
        assert said.endswith(
            ": No space left on device\n"
            "free some space and run again: what is finished is kept (train: with --resume)\n"
        )
        assert command([*words, "--resume"]) == 0
        assert contents(tmp_path / "run", *RESULTS) == contents(done.run, *RESULTS)

    @pytest.mark.skipif(sys.platform != "linux" or os.geteuid() != 0, reason="mounts a tiny file system")
    @pytest.mark.parametrize(
        ("options", "word"), [("size=64k", "No space left"), ("ro", "Read-only file system")]
    )
    def test_a_real_one(
        self, options: str, word: str, done: Finished, tmp_path: Path, capsys: Printed
    ) -> None:
        place = tmp_path / "tiny"
        place.mkdir()
        mounted = subprocess.run(
            ["mount", "-t", "tmpfs", "-o", options, "tmpfs", str(place)], check=False, capture_output=True
        )
        if mounted.returncode:
            pytest.skip("this machine does not let root mount")
        try:
            assert command(["train", done.data, "-o", place / "run", *TINY, "--quiet"]) == 2
            said = capsys.readouterr().err
            assert word in said
            assert "Traceback" not in said
        finally:
            subprocess.run(["umount", str(place)], check=True)


@pytest.mark.parametrize(
    ("error", "words"),
    [
        (PermissionError(13, "Permission denied", "/x"), "/x: Permission denied\n"),
        (OSError("odd"), "odd\n"),
        (MemoryError(), "out of memory\nlower"),
        (RuntimeError("DefaultCPUAllocator: can't allocate memory"), "out of memory\nlower"),
        (RuntimeError("something else"), None),
        (RunFolderError("ours"), "ours"),
        (ZeroDivisionError(), None),
    ],
)
def test_errors_in_words(error: Exception, words: str | None) -> None:
    told = explain(error)
    assert told is None if words is None else (told or "").startswith(words)


@pytest.mark.parametrize(
    "error",
    [
        MemoryError("12 GB"),
        torch.OutOfMemoryError("CUDA out of memory"),
        RuntimeError(
            "[enforce fail at alloc_cpu.cpp:117] DefaultCPUAllocator: can't allocate memory: you tried"
        ),
    ],
)
def test_no_memory_for_training(error: Exception) -> None:
    with (
        pytest.raises(Sit2Error, match=r"^out of memory while training\nlower --batch-size"),
        telling_of_memory("training"),
    ):
        raise error


def test_other_errors_are_not_about_memory() -> None:
    with pytest.raises(RuntimeError, match=r"^shapes$"), telling_of_memory("training"):
        raise RuntimeError("shapes")


def test_an_output_folder_on_another_file_system(done: Finished, tmp_path: Path) -> None:
    """Files are renamed within their folder, so it does not matter where that lies."""
    if not Path("/dev/shm").is_dir() or Path("/dev/shm").stat().st_dev == tmp_path.stat().st_dev:
        pytest.skip("there is no other file system here")
    out = Path("/dev/shm") / f"sit2-test-{os.getpid()}"
    try:
        assert command(["confusion", done.data, "-o", out, *MEASURED, "--quiet"]) == 0
        for name in ("matrix.csv", "pairs.csv"):
            assert (out / name).read_bytes() == (done.run / "confusion" / name).read_bytes()
    finally:
        subprocess.run(["rm", "-r", str(out)], check=True)


class TestSignals:
    @pytest.mark.parametrize("name", ["SIGTERM", "SIGHUP", "SIGINT"])
    def test_ends_as_ctrl_c_does(self, name: str) -> None:
        number = getattr(signal, name)
        before = signal.getsignal(number)
        with pytest.raises(KeyboardInterrupt), interruptible():
            signal.raise_signal(number)
        assert signal.getsignal(number) == before

    def test_a_second_one_ends_at_once(self) -> None:
        code = (
            "import os, signal\nfrom sit2.cli.accidents import interruptible\n"
            "with interruptible():\n    try:\n        signal.raise_signal(signal.SIGTERM)\n"
            "    except KeyboardInterrupt:\n        signal.raise_signal(signal.SIGTERM)\n"
        )
        assert subprocess.run([sys.executable, "-c", code], check=False).returncode == -signal.SIGTERM

    def test_what_is_ignored_stays_ignored(self) -> None:
        before = signal.signal(signal.SIGHUP, signal.SIG_IGN)  # as nohup does
        try:
            with interruptible():
                signal.raise_signal(signal.SIGHUP)
                assert signal.getsignal(signal.SIGHUP) == signal.SIG_IGN
        finally:
            signal.signal(signal.SIGHUP, before)

    def test_not_in_the_main_thread(self) -> None:
        said: list[bool] = []

        def work() -> None:
            with interruptible():
                said.append(True)

        thread = threading.Thread(target=work)
        thread.start()
        thread.join()
        assert said == [True]


HOLD = """
import sys, time
from pathlib import Path
from sit2.storage.lock import Lock
lock = Lock(Path(sys.argv[1]))
print("held", flush=True)
time.sleep(60)
"""


class TestTwoProcesses:
    @pytest.fixture
    def held(self, done: Finished, tmp_path: Path) -> Any:
        """A run folder that another process writes to."""
        with RunFolder.open(tmp_path, settings={}, identity={}, command="") as run:
            run.begin()
        other = subprocess.Popen(
            [sys.executable, "-c", HOLD, str(tmp_path)], stdout=subprocess.PIPE, text=True
        )
        assert other.stdout is not None
        assert other.stdout.readline() == "held\n"
        yield other
        other.kill()
        other.wait()
        other.stdout.close()

    @pytest.mark.parametrize("verb", ["train", "compare", "synthesize", "confusion"])
    def test_the_second_is_refused(
        self, verb: str, held: Any, done: Finished, tmp_path: Path, capsys: Printed
    ) -> None:
        assert command([verb, done.data, "-o", tmp_path, "--overwrite", *MEASURED]) == 2
        assert capsys.readouterr().err == (
            f"sit2: process {held.pid} is writing to {tmp_path}\n"
            "wait until it is finished, or give another -o\n"
        )

    def test_a_killed_one_leaves_no_lock(self, held: Any, tmp_path: Path) -> None:
        held.kill()
        held.wait()
        assert (tmp_path / NAME).exists()  # the file, which locks nothing
        Lock(tmp_path).release()
        assert not (tmp_path / NAME).exists()

    def test_one_that_begins_while_another_reads_its_images(self, tmp_path: Path) -> None:
        """Both saw an empty folder; the first to begin has it, also when it is finished meanwhile."""
        first, second = (RunFolder.open(tmp_path, settings={}, identity={}, command="") for _ in range(2))
        with first:
            first.begin()
            with pytest.raises(RunFolderError, match=f"^process {os.getpid()} is writing"):
                second.begin()
            first.finish()
        with pytest.raises(RunFolderError, match=r"^another process has just written"):
            second.begin()
        assert json.loads((tmp_path / "run.json").read_text())["status"] == "complete"


class TestBegin:
    def begun(self, path: Path, **flags: bool) -> RunFolder:
        return RunFolder.open(path, settings={"a": 1}, identity={}, command="", **flags)

    def test_killed_while_an_old_run_is_removed(
        self, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
    ) -> None:
        """Neither the old run nor the new one: it begins again, with either flag, and never goes on."""
        with self.begun(tmp_path) as run:
            run.begin()
            run.write_json("metrics.json", {})
            run.finish()
        monkeypatch.setattr(RunFolder, "write_yaml", lambda *_: 1 / 0)
        with pytest.raises(ZeroDivisionError), self.begun(tmp_path, overwrite=True) as run:
            run.begin()
        monkeypatch.undo()
        assert json.loads((tmp_path / "run.json").read_text())["status"] == BEGINNING
        with self.begun(tmp_path, resume=True) as run:
            assert not run.resumed
            run.begin()
        assert sorted(p.name for p in tmp_path.iterdir()) == ["config.yaml", "run.json"]

    def test_killed_before_the_first_file_was_whole(self, tmp_path: Path) -> None:
        (tmp_path / ".run.json.x1y2.tmp").write_text("{")
        (tmp_path / NAME).touch()
        with self.begun(tmp_path) as run:  # as if the folder were empty
            run.begin()
        assert sorted(p.name for p in tmp_path.iterdir()) == ["config.yaml", "run.json"]

    def test_nothing_to_resume_is_said(self, done: Finished, tmp_path: Path, capsys: Printed) -> None:
        out = tmp_path / "run"
        words = ["train", done.data, "-o", out, *TINY, "--resume"]
        assert command(words) == 0
        assert f"note: there is nothing to resume in {out}: the run begins\n" in capsys.readouterr().err
        assert (
            f"there is nothing to resume in {out}: the run begins"
            in json.loads((out / "run.json").read_text())["notes"]
        )


class TestCompareIsTakenUp:
    """`make torture` kills at random moments; here it is at some that are known."""

    @pytest.mark.parametrize("when", ["run.json", "config.yaml", "pairs", "results.csv"])
    def test_run_again(
        self, when: str, tmp_path: Path, monkeypatch: pytest.MonkeyPatch, capsys: Printed
    ) -> None:
        data = write_folder(tmp_path / "shapes")
        words = ("compare", data, *MEASURED, "--methods", "mixup", "--splits", 1, "--epochs", 1)
        words = (*words, "--confusion", "closed-form", "--quiet", "-o")
        assert command((*words, tmp_path / "whole")) == 0
        replace = Path.replace

        def killed(self: Path, target: Path) -> Path:
            moved = replace(self, target)
            if when in str(target):
                raise KeyboardInterrupt
            return moved

        with monkeypatch.context() as patch:
            patch.setattr(Path, "replace", killed)
            assert command((*words, tmp_path / "out")) == 130
        assert "to go on: sit2 compare" in capsys.readouterr().err
        assert command((*words, tmp_path / "out")) == 0
        for file in ("pairs/*.csv", "cells/*.npz", "comparison.json"):
            assert contents(tmp_path / "out", file) == contents(tmp_path / "whole", file)


def test_sweep_removes_what_is_half_written_only(tmp_path: Path) -> None:
    (tmp_path / "a").mkdir()
    for name in (".x.csv.ab12.tmp", "a/.y.tmp", "mine.tmp", ".hidden"):
        (tmp_path / name).touch()
    sweep(tmp_path, older=3600)
    assert len(list(tmp_path.rglob("*"))) == 5
    sweep(tmp_path)
    assert sorted(p.name for p in tmp_path.rglob("*")) == [".hidden", "a", "mine.tmp"]


def test_atomic_says_what_cannot_be_written(tmp_path: Path) -> None:
    (tmp_path / "file").touch()
    with (
        pytest.raises(RunFolderError, match=r"^cannot write .*file/x: .*\nexpected a folder to write to"),
        atomic(tmp_path / "file" / "x"),
    ):
        pass
