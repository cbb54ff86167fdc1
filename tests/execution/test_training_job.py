"""One training from images to a network: what it leaves behind, what it may see, and how it goes on."""

import dataclasses

import numpy as np
import pytest
import torch
from jobs import (
    CLASSES,
    LABELS,
    PREDICT,
    REST,
    TRAIN,
    VAL,
    make_job,
    part_of,
    pixels,
    run_one,
    timeless,
    training_of,
)
from safetensors.torch import save_file
from sklearn.metrics import log_loss

from sit2.config.schema import make_config
from sit2.errors import TrainingError
from sit2.events import EpochEnded, TrainingBegan, TrainingEnded
from sit2.execution.trained import Trained, load_trained
from sit2.execution.training_job import RETRY_LR, load_finished
from sit2.inference.model import Model
from sit2.training import loop
from sit2.training.backbones import SmallCNN, build_network
from sit2.training.loop import Training

PEAK = make_config({"backbone": "small-cnn"}).peak_lr


def weights_of(training):
    """The weights of its network, trained if it is not there."""
    training.run()
    return load_finished(training)[1].state_dict()


def same(one, other):
    return one.keys() == other.keys() and all(torch.equal(one[name], other[name]) for name in one)


class TestLeftBehind:
    def test_what_one_training_leaves_behind(self, tmp_path):
        heard = []
        training = training_of("multi-label", tmp_path)
        trained = training.run(heard.append)
        assert heard[0] == TrainingBegan("multi-label", "multi-label", 10, 7)
        assert heard[1:-1] == list(trained.history)
        assert heard[-1] == TrainingEnded("multi-label", found=False)
        assert [(row.phase, row.step) for row in trained.history] == [
            *[("pretrain", 3), ("pretrain", 5)],
            *[("fine-tune", 8), ("fine-tune", 10)],
        ]
        assert trained.budget == 70
        assert trained.seconds >= trained.history[-1].seconds > 0
        assert (trained.chosen, list(trained.notes)) == ({}, [])
        assert load_trained(training.network) == trained
        assert [path.name for path in tmp_path.iterdir()] == ["one.network"]

    def test_its_validation_is_of_the_network_that_it_leaves(self, tmp_path):
        training = training_of("multi-label", tmp_path)
        last = training.run().history[-1]
        network = load_finished(training)[1]
        given = Model(training.spec, network).probabilities(training.store.images, VAL)
        assert last.val_log_loss == pytest.approx(log_loss(LABELS[VAL], given, labels=range(3)), abs=1e-5)
        assert last.val_accuracy == (given.argmax(axis=1) == LABELS[VAL]).mean()

    def test_the_model_is_normalised_by_its_training_images(self, tmp_path):
        training = training_of("multi-label@all", tmp_path, augment="no-flip", layout="split/class")
        spec, values = training.spec, training.store.images[TRAIN] / 255
        np.testing.assert_allclose(spec.mean, values.mean(axis=(0, 2, 3)))
        np.testing.assert_allclose(spec.std, values.std(axis=(0, 2, 3)))
        assert (spec.recipe, spec.classes, spec.channels, spec.image_size) == (
            *("multi-label@all", CLASSES),
            *(3, 16),
        )
        assert (spec.augment, spec.layout, spec.predictors) == ("no-flip", "split/class", ())

    def test_without_validation_images_nothing_is_measured(self, tmp_path):
        trained = training_of("plain", tmp_path, val=part_of(VAL[:0]), epochs=1).run()
        assert {(row.val_accuracy, row.val_log_loss) for row in trained.history} == {(None, None)}

    def test_it_learns_what_there_is_to_learn(self, tmp_path):
        outcome = run_one(make_job("not-sure", epochs=25, augment="none"), tmp_path)
        assert (outcome.probabilities.argmax(axis=1) == LABELS[PREDICT]).mean() > 0.8

    def test_gray_images(self, tmp_path):
        training = training_of("plain", tmp_path, channels=1, epochs=1)
        training.run()
        assert training.spec.channels == 1
        assert load_finished(training)[1].encoder.stages[0].in_channels == 1


class TestFound:
    def test_a_network_that_is_there_is_not_trained_again_but_told_of(self, tmp_path, monkeypatch):
        first = training_of("multi-label", tmp_path)
        trained = first.run()
        monkeypatch.setattr(Training, "run", lambda _: pytest.fail("it was trained again"))
        heard = []
        again = training_of("multi-label", tmp_path, name="elsewhere: ")
        assert again.run(heard.append) == trained
        assert heard[-1] == TrainingEnded("elsewhere: multi-label", found=True)
        expected = [dataclasses.replace(row, name="elsewhere: multi-label") for row in trained.history]
        assert heard[:-1] == expected

    @pytest.mark.parametrize("damage", ["cut", "empty", "other"])
    def test_a_damaged_network_is_trained_again(self, damage, tmp_path):
        training = training_of("plain", tmp_path, epochs=0.6)
        expected = weights_of(training)
        whole = training.network.read_bytes()
        content = {"cut": whole[:-1], "empty": b"", "other": whole[::-1]}[damage]
        training.network.write_bytes(content)
        assert load_trained(training.network) is None
        assert same(weights_of(training), expected)

    def test_nothing_there_is_nothing(self, tmp_path):
        assert load_trained(None) is None
        assert load_trained(tmp_path / "none.network") is None


class TestBudget:
    def seen(self, monkeypatch, training):
        """Count the images that go through the encoder in training."""
        count, forward = [], SmallCNN.forward

        def spy(self, images):
            if self.training:
                count.append(len(images))
            return forward(self, images)

        monkeypatch.setattr(SmallCNN, "forward", spy)
        trained = training.run()
        assert sum(count) == trained.budget
        return sum(count)

    @pytest.mark.parametrize("method", ["plain", "multi-label", "not-sure@all", "mixup-finetune"])
    def test_methods_see_exactly_as_many_images(self, method, monkeypatch, tmp_path):
        assert self.seen(monkeypatch, training_of(method, tmp_path, pretrain_fraction=0.31)) == 70

    def test_a_validation_counts_nothing(self, monkeypatch, tmp_path):
        assert self.seen(monkeypatch, training_of("plain", tmp_path, early_stop=50)) == 70

    def test_what_tuning_has_seen_counts_more_than_the_history(self):
        row = EpochEnded("a", "plain", "train", 1, 10, 10, 70, 0.5, 0.1, None, None, 1.0)
        assert Trained([row], 1.0).budget == 70
        assert Trained([row], 1.0, samples_seen=210).budget == 210


class TestKey:
    """What it changes with, and what not, is tested with the grid, see tests/experiments/test_grid.py."""

    def test_changes_with_the_content_of_a_weights_file_and_not_with_its_place(self, tmp_path):
        keys = []
        for name, value in (("a", 0.0), ("b", 0.0), ("c", 1.0)):
            file = tmp_path / f"{name}.safetensors"
            network = build_network("small-cnn", channels=3, image_size=16, outputs=2, seed=1)
            network.encoder.stages[0].weight.data.fill_(value)
            save_file({k: v.contiguous() for k, v in network.encoder.state_dict().items()}, file)
            keys.append(make_job("plain", weights=file).trainings[0].key)
        assert keys[0] == keys[1] != keys[2]
        assert make_job("plain").trainings[0].key not in keys

    def test_holds_no_predictors(self):
        recipes = (
            "plain",
            "plain+tta",
            "plain+tta+ensemble+temperature",
            "plain+pairwise",
            "plain@random+pairwise",
        )
        assert len({make_job(recipe).trainings[0].key for recipe in recipes}) == 1

    def test_holds_what_is_trained_on_in_its_order(self):
        one, other = (make_job("plain", train=part_of(rows)) for rows in (TRAIN, TRAIN[::-1].copy()))
        assert one.trainings[0].key != other.trainings[0].key

    def test_is_of_the_images_wherever_they_lie_in_the_store(self):
        order = np.random.default_rng(0).permutation(47)
        place = np.argsort(order)
        moved = make_job(
            "plain",
            images=pixels()[order],
            **{
                name: dataclasses.replace(part_of(rows), rows=place[rows])
                for name, rows in (("train", TRAIN), ("val", VAL), ("predict", PREDICT))
            },
        )
        assert moved.trainings[0].key == make_job("plain").trainings[0].key
        assert moved.key == make_job("plain").key


class TestDeterminism:
    @pytest.mark.parametrize("method", ["multi-label@random", "plain"])
    def test_twice_the_same_bits(self, method, tmp_path):
        found = []
        for name in ("a", "b"):
            torch.manual_seed(len(found))
            np.random.seed(len(found))
            training = training_of(method, tmp_path / name)
            trained = training.run()
            found.append((trained, load_finished(training)[1].state_dict()))
        assert timeless(found[0][0].history) == timeless(found[1][0].history)
        assert same(found[0][1], found[1][1])

    def test_another_seed_differs(self, tmp_path):
        one, other = (weights_of(training_of("plain", tmp_path / str(s), seed=s)) for s in (0, 1))
        assert not torch.equal(one["head.weight"], other["head.weight"])


class TestIsolation:
    """What a training must not look at may be anything."""

    def poisoned(self, rows):
        images, labels = pixels(), LABELS.copy()
        draw = np.random.default_rng(9)
        images[rows] = draw.integers(0, 256, images[rows].shape)
        labels[rows] = draw.permutation(labels[rows][::-1])
        labels[rows[0]] = (labels[rows[0]] + 1) % 3
        assert not np.array_equal(labels, LABELS)
        return {"images": images, "labels": labels}

    @pytest.mark.parametrize("early_stop", [0, 9])
    @pytest.mark.parametrize("balance", ["none", "weights", "sampling"])
    def test_images_of_the_test_and_the_unused_ones(self, early_stop, balance, tmp_path):
        poison, histories, states = self.poisoned(np.concatenate([PREDICT, REST])), [], []
        for name, inputs in (("clean", {}), ("poisoned", poison)):
            training = training_of(
                "multi-label", tmp_path / name, early_stop=early_stop, balance=balance, **inputs
            )
            histories.append(timeless(training.run().history))
            states.append(weights_of(training))
        assert same(*states)
        assert histories[0] == histories[1]  # with the validation log-losses
        assert histories[0][-1].val_log_loss is not None

    def test_validation_images_without_early_stopping(self, tmp_path):
        clean, poisoned = (
            training_of("multi-label", tmp_path / name, **inputs)
            for name, inputs in (("clean", {}), ("poisoned", self.poisoned(VAL)))
        )
        assert same(weights_of(clean), weights_of(poisoned))

    def test_training_images_do_matter(self, tmp_path):
        clean, poisoned = (
            training_of("multi-label", tmp_path / name, **inputs)
            for name, inputs in (("clean", {}), ("poisoned", self.poisoned(TRAIN[:1])))
        )
        assert not same(weights_of(clean), weights_of(poisoned))

    @pytest.mark.parametrize("early_stop", [0, 9])
    def test_validation_images_matter_to_what_is_measured(self, early_stop, tmp_path):
        def measured(name, **inputs):
            history = training_of("plain", tmp_path / name, early_stop=early_stop, **inputs).run().history
            return [row.val_log_loss for row in history if row.val_log_loss is not None]

        clean, poisoned = measured("clean"), measured("poisoned", **self.poisoned(VAL))
        assert len(clean) == len(poisoned) > 0
        assert all(a != b for a, b in zip(clean, poisoned, strict=True))


class TestResume:
    @pytest.mark.parametrize("reports", [2, 3, 4])  # in pretraining, in fine-tuning, in its last epoch
    @pytest.mark.parametrize("early_stop", [0, 3])
    def test_a_killed_job_goes_on_to_the_same_bits(self, reports, early_stop, tmp_path, monkeypatch):
        monkeypatch.setattr(loop, "CHECKPOINT_SECONDS", -1.0)
        whole = training_of("multi-label", tmp_path / "whole", early_stop=early_stop)
        expected = whole.run()
        told = []

        def kill(event):
            told.append(event)
            if sum(isinstance(one, EpochEnded) for one in told) == reports:
                raise KeyboardInterrupt

        checkpoint = tmp_path / "kept" / "state.pt"
        training = training_of(
            "multi-label", tmp_path / "resumed", early_stop=early_stop, checkpoint=checkpoint
        )
        with pytest.raises(KeyboardInterrupt):
            training.run(kill)
        assert checkpoint.exists()
        assert not training.network.exists()
        resumed = training.run()
        assert timeless(resumed.history) == timeless(expected.history)
        assert same(weights_of(training), weights_of(whole))
        assert list(checkpoint.parent.iterdir()) == []


SECOND = "this was the second attempt, at 0.1 of the learning rate; expected a finite loss; lower --lr"


class TestDivergence:
    def test_the_sentence(self, tmp_path):
        with pytest.raises(TrainingError) as error:
            training_of("plain", tmp_path, lr=1e30, epochs=6).run()
        first, second = str(error.value).split("\n")
        assert first.startswith(
            "plain: the loss became nan in phase 'train' at step 2 of 20, at learning rate "
        )
        assert second == SECOND
        assert list(tmp_path.iterdir()) == []

    def test_in_the_only_step(self, tmp_path):
        training = training_of("plain", tmp_path, lr=1e38, epochs=0.01, warmup=0.0)
        with pytest.raises(
            TrainingError, match="the validation loss became nan in phase 'train' at step 1 of 1"
        ):
            training.run()
        assert list(tmp_path.iterdir()) == []

    def test_weights_that_the_last_step_has_spoilt(self, tmp_path, monkeypatch):
        factors, run = [], Training.run

        def spoilt(training):
            network = run(training)
            factors.append(training.lr_factor)
            with torch.no_grad():
                network.head.bias[1] = torch.nan
            return network

        monkeypatch.setattr(Training, "run", spoilt)
        with pytest.raises(TrainingError) as error:
            training_of("plain", tmp_path, epochs=0.6).run()
        assert str(error.value) == f"plain: the trained network's probabilities are not finite\n{SECOND}"
        assert factors == [1.0, RETRY_LR]
        assert list(tmp_path.iterdir()) == []

    def test_seen_in_the_validation(self, tmp_path):
        training = training_of("plain", tmp_path, lr=1e38, warmup=0.0, early_stop=2, train=part_of(TRAIN[:7]))
        with pytest.raises(
            TrainingError, match="the validation loss became nan in phase 'train' at step 1 of 3, at learning"
        ):
            training.run()

    def test_a_second_attempt_is_at_a_tenth_and_is_told(self, tmp_path, monkeypatch):
        """The first one fails at its third step; the second is a training at a tenth of the rate."""
        finite, attempts = loop._finite_mean, []

        def failing(losses, phase, first, steps, lr_of):
            attempts.append(lr_of(0))
            if len(attempts) == 2:
                raise TrainingError("the loss became nan in phase 'train'\nexpected a finite loss")
            return finite(losses, phase, first, steps, lr_of)

        monkeypatch.setattr(loop, "_finite_mean", failing)
        training = training_of("plain", tmp_path / "a", warmup=0.0, lr=None)
        trained = training.run()
        assert attempts[0] == attempts[1] == PEAK
        assert attempts[2] == pytest.approx(RETRY_LR * PEAK)
        (note,) = trained.notes
        assert note == (
            "plain: the loss became nan in phase 'train'; trained once more from the start, at 0.1 of the "
            "learning rate"
        )
        monkeypatch.setattr(loop, "_finite_mean", finite)
        lower = training_of("plain", tmp_path / "b", warmup=0.0, lr=RETRY_LR * PEAK)
        assert same(weights_of(lower), weights_of(training))
