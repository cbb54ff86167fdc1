"""A damaged checkpoint and a loss that is not finite: the training begins again, and says so."""

from __future__ import annotations

import json
from dataclasses import replace
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import torch
from jobs import make_job, training_of
from synthetic import TINY, Finished, command, finished

import sit2.training.loop
from sit2.events import EpochEnded, Event, Note, TrainingBegan, nobody
from sit2.execution.outcomes import load_outcome
from sit2.execution.runner import run_recipes
from sit2.execution.training_job import TrainingJob
from sit2.storage.files import DamagedStateError, load_state, save_state
from sit2.training.loop import Training
from sit2.training.phase import cross_entropy

Printed = pytest.CaptureFixture[str]


def make_training(folder: Path, recipe: str = "multi-label", *, lr: float = 0.01) -> TrainingJob:
    """A training of 10 steps, whose network and checkpoint lie in a folder."""
    job: TrainingJob = training_of(recipe, folder, checkpoint=folder / "state.pt", lr=lr)
    return job


def weights(job: TrainingJob) -> dict[str, bytes]:
    assert job.network is not None
    state = load_state(job.network)
    assert state is not None
    return {name: value.numpy().tobytes() for name, value in state["network"].items()}


def without_seconds(rows: Any) -> list[EpochEnded]:
    return [replace(row, seconds=0.0) for row in rows]


@pytest.fixture(name="done")
def _done() -> Finished:
    return finished()


class TestDamagedState:
    @pytest.mark.parametrize("damage", ["empty", "cut", "flipped", "another's"])
    def test_the_training_begins_again_and_says_so(
        self, damage: str, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
    ) -> None:
        monkeypatch.setattr(sit2.training.loop, "CHECKPOINT_SECONDS", -1.0)
        whole, again = make_training(tmp_path / "whole"), make_training(tmp_path / "again")
        expected = whole.run()
        file = tmp_path / "again" / "state.pt"

        def stop(event: Event) -> None:
            if isinstance(event, EpochEnded) and event.step > event.steps / 2:
                raise KeyboardInterrupt

        with pytest.raises(KeyboardInterrupt):
            again.run(stop)
        data = bytearray(file.read_bytes())
        data[len(data) // 2] ^= 1
        file.write_bytes({"empty": b"", "cut": data[:-9], "flipped": data}.get(damage, b""))
        if damage == "another's":
            save_state(file, {"phase": 0, "history": [], "network": {"x": torch.zeros(1)}})
        trained = again.run()
        assert trained.notes == [f"{file} was damaged, so the training of multi-label began again"]
        assert weights(again) == weights(whole)
        assert without_seconds(trained.history) == without_seconds(expected.history)
        assert not file.exists()

    def test_a_state_is_what_was_written_or_nothing(self, tmp_path: Path) -> None:
        save_state(tmp_path / "a.pt", {"a": torch.arange(3)})
        for n in range(0, (tmp_path / "a.pt").stat().st_size, 37):
            data = bytearray((tmp_path / "a.pt").read_bytes())
            data[n] ^= 4
            (tmp_path / "b.pt").write_bytes(data)
            with pytest.raises(DamagedStateError):
                load_state(tmp_path / "b.pt")

    def test_damaged_predictions_are_made_again_and_a_damaged_network_is_trained_again(
        self, tmp_path: Path
    ) -> None:
        heard: list[Event] = []
        job = make_job("plain+tta")
        places = {"networks": tmp_path / "networks", "keep": tmp_path / "kept"}

        def run() -> np.ndarray:
            heard.clear()
            (outcome,) = run_recipes([job], config=job.config, listener=heard.append, title="", **places)
            return outcome.probabilities

        first, kept = run(), tmp_path / "kept" / job.key
        assert any(isinstance(event, EpochEnded) for event in heard)
        assert np.array_equal(run(), first)
        assert heard == []  # nothing was to be done

        kept.with_suffix(".npz").write_bytes(b"PK\x93NUMPY")
        assert np.array_equal(run(), first)
        assert Note(f"what was kept as {kept} is damaged: it is made again") in heard
        assert not any(isinstance(event, TrainingBegan) for event in heard)
        assert load_outcome(tmp_path / "kept", job.key) is not None

        (network,) = (tmp_path / "networks").iterdir()
        network.write_bytes(network.read_bytes()[:-5])
        kept.with_suffix(".json").unlink()
        assert np.array_equal(run(), first)
        assert any(isinstance(event, TrainingBegan) for event in heard)


def poisoned(monkeypatch: pytest.MonkeyPatch, *, above: float) -> list[float]:
    """Make the loss of every eighth step infinite where the rate is above a limit; return the rates seen."""
    rates: list[float] = []
    steps: list[int] = []
    lr = Training._lr

    def see(self: Training, peak: float, step: int, length: int) -> float:
        rates.append(lr(self, peak, step, length))
        steps.append(step)
        return rates[-1]

    def loss(*args: Any) -> Any:
        return cross_entropy(*args) * (float("inf") if steps[-1] == 7 and rates[-1] > above else 1.0)

    monkeypatch.setattr(Training, "_lr", see)
    monkeypatch.setattr("sit2.training.phase.cross_entropy", loss)
    return rates


class TestRetry:
    NOTE = (
        "plain: the loss became inf in phase 'train' at step 8 of 10, at learning rate 0.0025; trained once "
        "more from the start, at 0.1 of the learning rate"
    )

    def test_once_more_at_a_tenth_of_the_rate(self, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
        low = make_training(tmp_path / "low", "plain", lr=0.01 * 0.1)
        expected = low.run()
        rates = poisoned(monkeypatch, above=0.001)
        job = make_training(tmp_path / "retried", "plain")
        trained = job.run()
        assert trained.notes == [self.NOTE]
        assert rates[-10:-2] == pytest.approx([0.1 * rate for rate in rates[:8]])
        assert weights(job) == weights(low)  # as if it had been the rate at first
        assert without_seconds(trained.history) == without_seconds(expected.history)
        assert trained.budget == expected.budget

    def test_a_killed_retry_goes_on_as_one(self, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
        monkeypatch.setattr(sit2.training.loop, "CHECKPOINT_SECONDS", -1.0)
        rates = poisoned(monkeypatch, above=0.001)
        whole, job = (make_training(tmp_path / name, "plain") for name in ("whole", "killed"))
        expected = whole.run()
        rates.clear()
        heard: list[Event] = []

        def stop(event: Event) -> None:
            heard.append(event)
            attempts = [n for n, one in enumerate(heard) if isinstance(one, TrainingBegan)]
            if len(attempts) == 2 and len(heard) == attempts[1] + 4:  # the third epoch of the second attempt
                raise KeyboardInterrupt

        with pytest.raises(KeyboardInterrupt):
            job.run(stop)
        assert (tmp_path / "killed" / "state.retry").exists()
        rates.clear()
        resumed = job.run(nobody)
        assert max(rates) < 0.0011  # the first attempt is not made again
        assert 0 < len(rates) < 10  # nor all of the second
        assert resumed.notes == expected.notes
        assert weights(job) == weights(whole)
        for folder in ("killed", "whole"):
            assert sorted(p.name for p in (tmp_path / folder).iterdir()) == ["one.network"]

    def test_a_run_says_and_records_it(
        self, done: Finished, tmp_path: Path, monkeypatch: pytest.MonkeyPatch, capsys: Printed
    ) -> None:
        poisoned(monkeypatch, above=0.0003)
        words = ["train", done.data, "-o", tmp_path / "run", *TINY, "--method", "mixup"]
        assert command(words) == 0
        notes = json.loads((tmp_path / "run" / "run.json").read_text())["notes"]
        assert any(note.startswith("plain: the loss became inf in phase 'train' at step ") for note in notes)
        assert all(f"note: {note}\n" in capsys.readouterr().err for note in notes[:1])
