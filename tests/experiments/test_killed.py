"""A run that is killed, or interrupted with Ctrl-C, and goes on to the identical result."""

from __future__ import annotations

import json
import multiprocessing
import os
import shlex
import shutil
import signal
from pathlib import Path
from typing import Any

import pytest
from synthetic import RESULTS, TINY, Finished, command, contents, finished

import sit2.execution.pool
import sit2.training.loop
from sit2.execution.job import Job, Outcome
from sit2.storage.run_folder import unfinished


@pytest.fixture(name="done")
def _done() -> Finished:
    return finished()


KILLS = {  # when: once this file was written so often; what then remains to be trained
    "after the images": ("samples.csv", 1, ["fold", "fold", "plain", "multi-label"]),
    "in the first fold": ("fold-0.pt", 1, ["fold", "fold", "plain", "multi-label"]),
    "in the control": ("plain.pt", 2, ["plain", "multi-label"]),
    "between the two methods": ("plain.json", 1, ["multi-label"]),
    "in fine-tuning": ("multi-label.pt", 3, ["multi-label"]),
    "in the evaluation": ("metrics.json", 1, []),
}


def at(place: str, times: int, then: Any) -> Any:
    """Return a Path.replace that calls ``then`` when the file ``place`` has been put in place so often."""
    replace, seen = Path.replace, []

    def replace_and_see(self: Path, target: Path) -> Path:
        moved = replace(self, target)
        seen.extend([1] if Path(target).name == place else [])
        if Path(target).name == place and len(seen) == times:
            then()
        return moved

    return replace_and_see


def train_until_killed(words: list[str], place: str, times: int) -> None:
    """Run in a process of its own: die as by `kill -9` once the file ``place`` has been written so often."""
    sit2.training.loop.CHECKPOINT_SECONDS = 0.0  # a checkpoint after every epoch
    Path.replace = at(place, times, lambda: os.kill(os.getpid(), signal.SIGKILL))  # type: ignore[method-assign]
    command(words)


@pytest.fixture(scope="module")
def processes() -> Any:
    """Start processes that have torch loaded already."""
    context = multiprocessing.get_context("forkserver")
    context.set_forkserver_preload(["sit2.experiments.run"])
    return context


class TestKilled:
    @pytest.mark.parametrize("moment", KILLS)
    def test_goes_on_to_the_identical_result(
        self,
        done: Finished,
        tmp_path: Path,
        processes: Any,
        monkeypatch: pytest.MonkeyPatch,
        moment: str,
    ) -> None:
        out, (place, times, remaining) = tmp_path / "run", KILLS[moment]
        words = ["train", str(done.data), "-o", str(out), *TINY, "--quiet"]
        child = processes.Process(target=train_until_killed, args=(words, place, times))
        child.start()
        child.join(timeout=120)
        assert child.exitcode == -signal.SIGKILL
        assert unfinished(out)
        assert not (out / "comparison.json").exists()

        trained = []
        run_job = sit2.execution.pool.run_job

        def record(job: Job, report: Any) -> Outcome:
            trained.append(job.method if job.save_to else "fold")
            return run_job(job, report)

        monkeypatch.setattr("sit2.execution.pool.run_job", record)
        assert command([*words, "--resume"]) == 0
        assert trained == remaining
        assert contents(out, *RESULTS) == contents(done.run, *RESULTS)
        resumed, whole = (json.loads((run / "run.json").read_text()) for run in (out, done.run))
        assert resumed["status"] == "complete"
        assert resumed["samples_seen"] == whole["samples_seen"]
        assert not list(out.rglob("*.tmp"))
        assert not (out / "state").exists()


class TestInterrupted:
    @pytest.fixture(autouse=True)
    def _elsewhere(self, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
        monkeypatch.chdir(tmp_path)

    def interrupt(self, monkeypatch: pytest.MonkeyPatch, words: list[str], place: str) -> int:
        """Run the command, with Ctrl-C pressed when the file ``place`` has been written."""
        with monkeypatch.context() as patch:
            patch.setattr(Path, "replace", at(place, 1, lambda: signal.raise_signal(signal.SIGINT)))
            return command(words)

    @pytest.mark.parametrize("where", ["-o", "default"])
    def test_says_how_to_go_on_and_that_works(
        self,
        done: Finished,
        monkeypatch: pytest.MonkeyPatch,
        capsys: pytest.CaptureFixture[str],
        where: str,
    ) -> None:
        given = ["-o", "a run"] if where == "-o" else []
        out = Path("a run" if given else "runs/shapes-multi-label")
        code = self.interrupt(monkeypatch, ["train", str(done.data), *given, *TINY, "--quiet"], "fold-1.json")
        assert code == 130
        printed = capsys.readouterr()
        assert printed.out == ""
        start, _, words = printed.err.partition("to go on: ")
        assert start == "\nsit2: interrupted; "
        again = shlex.split(words)
        assert again[:2] == ["sit2", "train"]
        assert again[-1] == "--resume"
        assert unfinished(out)
        assert command(again[1:]) == 0
        assert contents(out, *RESULTS) == contents(done.run, *RESULTS)

    def test_with_overwrite_the_cure_keeps_what_is_done(
        self, done: Finished, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
    ) -> None:
        shutil.copytree(done.run, "run")
        words = ["train", str(done.data), "-o", "run", "--overwrite", *TINY, "--quiet"]
        assert self.interrupt(monkeypatch, words, "samples.csv") == 130
        again = shlex.split(capsys.readouterr().err)
        assert "--overwrite" not in again
        assert again[-1] == "--resume"

    def test_before_anything_is_written_nothing_can_be_resumed(
        self, done: Finished, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
    ) -> None:
        shutil.copytree(done.run, "run")
        before = contents(Path("run"), "**/*")

        def press(*_: object) -> None:
            signal.raise_signal(signal.SIGINT)

        monkeypatch.setattr("sit2.experiments.run.prepare", press)
        assert command(["train", str(done.data), "-o", "run", "--overwrite", *TINY]) == 130
        assert capsys.readouterr().err == "\nsit2: interrupted; nothing is lost but the time\n"
        assert contents(Path("run"), "**/*") == before
