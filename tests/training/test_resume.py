"""A killed training goes on to the identical result."""

import contextlib
import dataclasses

import pytest
import torch
from torch import nn

from sit2.storage.files import atomic, load_state, save_state
from sit2.training import loop
from sit2.training.backbones import Network, build_network


class KilledError(Exception):
    """What a kill looks like from inside."""


def kill_after(reports):
    """Return a watcher that raises at the end of its n-th epoch."""
    seen = []

    def watch(epoch):
        seen.append(epoch)
        if len(seen) == reports:
            raise KilledError

    return watch


def timeless(history):
    """Return the epochs without how long they took, which no two trainings have in common."""
    return [dataclasses.replace(row, seconds=0.0) for row in history]


def with_dropout():
    torch.manual_seed(0)
    encoder = nn.Sequential(
        nn.Conv2d(3, 5, 3, stride=2),
        nn.BatchNorm2d(5),
        nn.ReLU(),
        nn.Flatten(),
        nn.Dropout(0.5),
        nn.Linear(245, 7),
    )
    return Network(encoder, 7, 3)


def tiny_timm():
    return build_network("test_resnet", channels=3, image_size=16, outputs=3, seed=3)


@pytest.fixture(autouse=True)
def checkpoint_always(monkeypatch):
    monkeypatch.setattr(loop, "CHECKPOINT_SECONDS", -1.0)


# Six epochs of 29 images are 25 batches of 7: pretraining has three epochs of four, fine-tuning four.
SETTINGS = {"epochs": 6, "pretrain_fraction": 0.5}
CASES = {
    "small-cnn": {"method": "multi-label", "network": None},
    "not-sure": {"method": "not-sure"},
    "sure-or-not, sgd": {"method": "sure-or-not", "optimizer": "sgd"},
    "one phase": {"method": "mixup"},
    "balanced": {"method": "plain-restart", "balance": "sampling"},
    "timm": {"method": "multi-label", "network": tiny_timm},
    "bf16": {"method": "multi-label", "precision": "bf16-mixed"},
}


class TestResume:
    def training(self, make_training, case, **more):
        """Make a training of a small network with dropout, where the case names no other."""
        settings = {**SETTINGS, "network": with_dropout, **CASES[case], **more}
        build = settings.pop("network")
        return make_training(network=build() if build else None, **settings)

    @pytest.mark.parametrize(
        ("case", "reports"),  # goes on in pretraining, from its end, in fine-tuning
        [(c, n) for c in CASES for n in (2, 4, 6) if n == 6 or c not in {"small-cnn", "timm"}],
    )
    def test_killed_once(self, case, reports, make_training, same_weights, tmp_path):
        whole = self.training(make_training, case)
        expected = whole.run()
        file = tmp_path / "state.pt"
        with pytest.raises(KilledError):
            self.training(make_training, case, checkpoint=file, watch=kill_after(reports)).run()
        assert file.exists()
        told = []
        resumed = self.training(make_training, case, checkpoint=file, watch=told.append)
        assert same_weights(resumed.run(), expected)
        assert timeless(resumed.history) == timeless(whole.history)
        assert (
            told == resumed.history
        )  # those before the kill are told again, the one not saved is done again

    def test_killed_again_and_again(self, make_training, same_weights, tmp_path):
        whole = self.training(make_training, "not-sure")
        expected = whole.run()
        file, kills = tmp_path / "state.pt", 0
        while True:
            resumed = self.training(make_training, "not-sure", checkpoint=file, watch=kill_after(kills + 2))
            try:
                resumed.run()
                break
            except KilledError:
                kills += 1
        assert kills == len(whole.history) - 1
        assert same_weights(resumed.network, expected)

    @pytest.mark.parametrize("reports", [1, 3, 5, 6, 7])
    @pytest.mark.parametrize("optimizer", ["adamw", "sgd"])
    def test_early_stopping(self, reports, optimizer, make_training, same_weights, tmp_path):
        """Five epochs of pretraining; the third of fine-tuning is the best, the fifth is the last."""

        def make(**more):
            losses = iter([0.9, 0.8, 0.3, 0.5, 0.4, 0.1][max(0, more.pop("validated", 0)) :])
            return self.training(
                make_training,
                "not-sure",
                epochs=12,
                pretrain_fraction=1 / 3,
                early_stop=2,
                optimizer=optimizer,
                validate=lambda _: (0.5, next(losses)),
                **more,
            )

        whole = make()
        expected = whole.run()
        assert len(whole.history) == 10
        file = tmp_path / "state.pt"
        with pytest.raises(KilledError):
            make(checkpoint=file, watch=kill_after(reports + 2)).run()
        resumed = make(checkpoint=file, validated=reports + 1 - 5)
        assert same_weights(resumed.run(), expected)
        assert timeless(resumed.history) == timeless(whole.history)

    def test_without_a_checkpoint_file_training_starts_from_the_beginning(self, make_training, tmp_path):
        training = self.training(make_training, "not-sure", checkpoint=tmp_path / "state.pt")
        training.run()
        assert training.history[0].step == 4

    def test_checkpoints_wait_their_time(self, make_training, tmp_path, monkeypatch):
        monkeypatch.setattr(loop, "CHECKPOINT_SECONDS", 1000.0)
        self.training(make_training, "not-sure", checkpoint=tmp_path / "state.pt").run()
        assert not (tmp_path / "state.pt").exists()


class TestFiles:
    def test_state_comes_back(self, tmp_path):
        state = {"a": torch.arange(3), "b": [{"c": 1.5, "d": None}], "e": "text"}
        save_state(tmp_path / "deep" / "state.pt", state)
        loaded = load_state(tmp_path / "deep" / "state.pt")
        assert torch.equal(loaded.pop("a"), state.pop("a"))
        assert loaded == state

    def test_no_state(self, tmp_path):
        assert load_state(tmp_path / "state.pt") is None

    def test_a_file_is_whole_or_absent(self, tmp_path):
        target = tmp_path / "file.txt"
        target.write_text("old")
        with contextlib.suppress(KilledError), atomic(target) as path:
            path.write_text("half")
            raise KilledError
        assert target.read_text() == "old"
        assert [p.name for p in tmp_path.iterdir()] == ["file.txt"]
        with atomic(target) as path:
            path.write_text("new")
            assert target.read_text() == "old"
        assert target.read_text() == "new"
        assert [p.name for p in tmp_path.iterdir()] == ["file.txt"]
