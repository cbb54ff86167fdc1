"""A damaged checkpoint and a loss that is not finite: the training begins again, and says so."""

from __future__ import annotations

import json
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import torch
from synthetic import TINY, Finished, command, finished
from test_job import make_job, weights

import sit2.training.loop
from sit2.cli.screen import Screen
from sit2.execution.job import run_job
from sit2.execution.pool import load_outcome, run_all
from sit2.storage.files import DamagedStateError, load_state, save_state
from sit2.training.loop import Training
from sit2.training.phase import cross_entropy

Printed = pytest.CaptureFixture[str]


@pytest.fixture(name="done")
def _done() -> Finished:
    return finished()


class TestDamagedState:
    @pytest.mark.parametrize("damage", ["empty", "cut", "flipped", "another's"])
    def test_the_training_begins_again_and_says_so(
        self, damage: str, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
    ) -> None:
        monkeypatch.setattr(sit2.training.loop, "CHECKPOINT_SECONDS", -1.0)
        whole = run_job(make_job(save_to=tmp_path / "whole"))
        file = tmp_path / "state.pt"

        def stop(share: float, _words: str) -> None:
            if share > 0.5:
                raise KeyboardInterrupt

        with pytest.raises(KeyboardInterrupt):
            run_job(make_job(checkpoint=file), stop)
        data = bytearray(file.read_bytes())
        data[len(data) // 2] ^= 1
        file.write_bytes({"empty": b"", "cut": data[:-9], "flipped": data}.get(damage, b""))
        if damage == "another's":
            save_state(file, {"phase": 0, "history": [], "network": {"x": torch.zeros(1)}})
        again = run_job(make_job(checkpoint=file, save_to=tmp_path / "again"))
        assert again.notes == [f"{file} was damaged, so the training of multi-label began again"]
        assert weights(tmp_path / "again") == weights(tmp_path / "whole")
        assert np.array_equal(again.probabilities, whole.probabilities)
        assert not file.exists()

    def test_a_state_is_what_was_written_or_nothing(self, tmp_path: Path) -> None:
        save_state(tmp_path / "a.pt", {"a": torch.arange(3)})
        for n in range(0, (tmp_path / "a.pt").stat().st_size, 37):
            data = bytearray((tmp_path / "a.pt").read_bytes())
            data[n] ^= 4
            (tmp_path / "b.pt").write_bytes(data)
            with pytest.raises(DamagedStateError):
                load_state(tmp_path / "b.pt")

    def test_a_damaged_outcome_is_trained_again(self, tmp_path: Path) -> None:
        screen = Screen(quiet=True)
        jobs = [("a", make_job())]
        first = run_all(jobs, workers=1, screen=screen, title="", keep=tmp_path)
        (tmp_path / "a.npy").write_bytes(b"\x93NUMPY")
        again = run_all(jobs, workers=1, screen=screen, title="", keep=tmp_path)
        assert np.array_equal(again[0].probabilities, first[0].probabilities)
        assert screen.notes == [f"what was kept as {tmp_path / 'a'} is damaged: that training begins again"]
        assert load_outcome(tmp_path, "a") is not None


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
    monkeypatch.setattr("sit2.methods.method.cross_entropy", loss)
    return rates


class TestRetry:
    NOTE = (
        "plain: the loss became inf in phase 'train' at step 8 of 10, at learning rate 0.0025; trained once "
        "more from the start, at 0.1 of the learning rate"
    )

    def test_once_more_at_a_tenth_of_the_rate(self, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
        low = run_job(make_job("plain", lr=0.01 * 0.1, save_to=tmp_path / "low"))
        rates = poisoned(monkeypatch, above=0.001)
        outcome = run_job(make_job("plain", lr=0.01, save_to=tmp_path / "retried"))
        assert outcome.notes == [self.NOTE]
        assert rates[-10:-2] == pytest.approx([0.1 * rate for rate in rates[:8]])
        assert weights(tmp_path / "retried") == weights(
            tmp_path / "low"
        )  # as if it had been the rate at first
        assert np.array_equal(outcome.probabilities, low.probabilities)
        assert outcome.samples_seen == low.samples_seen

    def test_a_killed_retry_goes_on_as_one(self, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
        monkeypatch.setattr(sit2.training.loop, "CHECKPOINT_SECONDS", -1.0)
        rates = poisoned(monkeypatch, above=0.001)
        whole = run_job(make_job("plain", lr=0.01, save_to=tmp_path / "whole"))
        rates.clear()
        shares: list[float] = []

        def stop(share: float, _words: str) -> None:
            shares.append(share)
            if shares[:-1] and share < max(shares):  # the first report of the second attempt was there
                shares.clear()
            elif len(shares) == 2 and rates[-1] < 0.001:
                raise KeyboardInterrupt

        file = tmp_path / "state.pt"
        with pytest.raises(KeyboardInterrupt):
            run_job(make_job("plain", lr=0.01, checkpoint=file), stop)
        assert (tmp_path / "state.retry").exists()
        rates.clear()
        resumed = run_job(make_job("plain", lr=0.01, checkpoint=file, save_to=tmp_path / "resumed"))
        assert max(rates) < 0.0011  # the first attempt is not made again
        assert 0 < len(rates) < 10  # nor all of the second
        assert resumed.notes == whole.notes
        assert weights(tmp_path / "resumed") == weights(tmp_path / "whole")
        assert sorted(p.name for p in tmp_path.iterdir()) == ["resumed", "whole"]

    def test_a_run_says_and_records_it(
        self, done: Finished, tmp_path: Path, monkeypatch: pytest.MonkeyPatch, capsys: Printed
    ) -> None:
        poisoned(monkeypatch, above=0.0003)
        words = ["train", done.data, "-o", tmp_path / "run", *TINY, "--method", "mixup"]
        assert command(words) == 0
        notes = json.loads((tmp_path / "run" / "run.json").read_text())["notes"]
        assert any(note.startswith("plain: the loss became inf in phase 'train' at step ") for note in notes)
        assert all(f"note: {note}\n" in capsys.readouterr().err for note in notes[:1])
