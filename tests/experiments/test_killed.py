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
from killing import at
from synthetic import RESULTS, TINY, Finished, command, contents, finished

import sit2.training.loop
from sit2.storage.output_folder import unfinished
from sit2.training.loop import Training


@pytest.fixture(name="done")
def _done() -> Finished:
    return finished()


KILLS = {  # when: once such a file of the n-th training was written so often; what then remains to be trained
    "after the images": ("samples.csv", 0, 1, ["fold 1", "fold 2", "plain", "multi-label"]),
    "in the first fold": (".pt", 0, 1, ["fold 1", "fold 2", "plain", "multi-label"]),
    "after the first fold": (".network", 0, 1, ["fold 2", "plain", "multi-label"]),
    "in the control": (".pt", 2, 2, ["plain", "multi-label"]),
    "between the two methods": (".json", 2, 1, ["multi-label"]),
    "in fine-tuning": (".pt", 3, 3, ["multi-label"]),
    "in the evaluation": ("metrics.json", 0, 1, []),
}


def train_until_killed(words: list[str], place: str, which: int, times: int) -> None:
    """Run in a process of its own: die as by `kill -9` once a file has been written so often, see `at`."""
    sit2.training.loop.CHECKPOINT_SECONDS = 0.0  # a checkpoint after every epoch
    die = at(place, which, times, lambda: os.kill(os.getpid(), signal.SIGKILL))
    Path.replace = die  # type: ignore[method-assign]
    command(words)


@pytest.fixture(scope="module")
def processes() -> Any:
    """Start processes that have torch loaded already."""
    context = multiprocessing.get_context("forkserver")
    context.set_forkserver_preload(["sit2.experiments.run"])
    return context


class TestKilled:
    @pytest.mark.slow
    @pytest.mark.parametrize("moment", KILLS)
    def test_goes_on_to_the_identical_result(
        self,
        done: Finished,
        tmp_path: Path,
        processes: Any,
        monkeypatch: pytest.MonkeyPatch,
        moment: str,
    ) -> None:
        out, (*when, remaining) = tmp_path / "run", KILLS[moment]
        words = ["train", str(done.data), "-o", str(out), *TINY, "--quiet"]
        child = processes.Process(target=train_until_killed, args=(words, *when))
        child.start()
        child.join(timeout=120)
        assert child.exitcode == -signal.SIGKILL
        assert unfinished(out)
        assert not (out / "comparison.json").exists()

        trained = []
        run = Training.run

        def record(training: Training) -> Any:
            trained.append(training.name.removeprefix("shapes, ").removesuffix(": plain"))
            return run(training)

        monkeypatch.setattr(Training, "run", record)
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

    def interrupt(self, monkeypatch: pytest.MonkeyPatch, words: list[str], place: str, which: int = 0) -> int:
        """Run the command, with Ctrl-C pressed when a file has been written, see `at`."""
        with monkeypatch.context() as patch:
            patch.setattr(Path, "replace", at(place, which, 1, lambda: signal.raise_signal(signal.SIGINT)))
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
        words = ["train", str(done.data), *given, *TINY, "--quiet"]
        code = self.interrupt(monkeypatch, words, ".json", which=1)  # the predictions of the second fold
        assert code == 130
        printed = capsys.readouterr()
        assert printed.out == ""
        start, _, hint = printed.err.partition("to go on: ")
        assert start == "\nsit2: interrupted; "
        again = shlex.split(hint)
        assert again[:2] == ["sit2", "train"]
        assert again[-1] == "--resume"
        assert unfinished(out)
        assert command(again[1:]) == 0
        assert contents(out, *RESULTS) == contents(done.run, *RESULTS)

    def test_with_overwrite_the_hint_keeps_what_is_done(
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

        monkeypatch.setattr("sit2.experiments.grid.load_images", press)
        assert command(["train", str(done.data), "-o", "run", "--overwrite", *TINY]) == 130
        assert capsys.readouterr().err == "\nsit2: interrupted; nothing is lost but the time\n"
        assert contents(Path("run"), "**/*") == before
