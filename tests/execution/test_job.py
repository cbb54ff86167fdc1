"""One training from images to probabilities; the same bits in any process; many of them."""

import dataclasses
import json

import numpy as np
import pytest
import torch

from sit2.cli.screen import Screen
from sit2.config.schema import Config
from sit2.confusion.pairs import all_pairs
from sit2.errors import TrainingError
from sit2.execution import pool as parallel
from sit2.execution.job import Job, run_job, steps_in, train_classifier
from sit2.execution.pool import plan_workers, run_all, share_networks
from sit2.inference.model import Classifier
from sit2.seeds import Seeds
from sit2.training import loop
from sit2.training.backbones import Network, SmallCNN
from sit2.training.device import threads

CLASSES = ("ant", "bee", "cat")
LABELS = (np.arange(47) % 3).astype(np.int64)
ROWS = np.random.default_rng(1).permutation(47)
TRAIN, VAL, PREDICT, REST = ROWS[:23], ROWS[23:31], ROWS[31:42], ROWS[42:]


def pixels(channels=3):
    noise = np.random.default_rng(0).integers(0, 160, (47, channels, 16, 16))
    return (noise + 40 * LABELS[:, None, None, None]).astype(np.uint8)


def make_job(method="multi-label", *, seed=0, channels=3, **settings):
    parts = {k: settings.pop(k) for k in ("images", "labels", "save_to", "checkpoint") if k in settings}
    config = Config(
        **{
            "seed": seed,
            "image_size": 16,
            "batch_size": 7,
            "epochs": 3,
            "lr": 0.01,
            "precision": "32-true",
            "device": "cpu",
            **settings,
        }
    )
    return Job(
        method=method,
        config=config,
        seeds=Seeds(seed).child("train"),
        classes=CLASSES,
        **{
            "images": pixels(channels),
            "labels": LABELS,
            "train_rows": TRAIN,
            "val_rows": VAL,
            "predict_rows": PREDICT,
            "pairs": tuple(all_pairs(CLASSES)[:2]),
            **parts,
        },
    )


def weights(folder):
    return (folder / "model.safetensors").read_bytes()


class TestOutcome:
    def test_what_one_training_leaves_behind(self, tmp_path):
        told = []
        job = make_job(save_to=tmp_path / "model")
        outcome = run_job(job, lambda share, loss: told.append((share, loss)))
        assert outcome.probabilities.shape == (11, 3)
        np.testing.assert_allclose(outcome.probabilities.sum(axis=1), 1)
        assert steps_in(job) == 10
        assert outcome.samples_seen == 70
        assert outcome.seconds > 0
        assert [share for share, _ in told] == [0.3, 0.5, 0.8, 1.0]
        assert [row["step"] for row in outcome.history] == [3, 5, 8, 10]
        assert [row["loss"] for row in outcome.history] == [loss for _, loss in told]
        json.dumps(outcome.history)
        loaded = Classifier.load(tmp_path / "model")
        assert loaded.spec == outcome.spec
        assert np.array_equal(loaded.predict_proba(job.images[PREDICT]), outcome.probabilities)

    def test_the_model_is_normalised_by_its_training_images(self):
        job = make_job()
        spec = run_job(job).spec
        values = job.images[TRAIN] / 255
        np.testing.assert_allclose(spec.mean, values.mean(axis=(0, 2, 3)))
        np.testing.assert_allclose(spec.std, values.std(axis=(0, 2, 3)))
        assert (spec.method, spec.classes, spec.channels, spec.image_size) == ("multi-label", CLASSES, 3, 16)

    def test_it_learns_what_there_is_to_learn(self):
        outcome = run_job(make_job("not-sure", epochs=25, augment="none"))
        assert (outcome.probabilities.argmax(axis=1) == LABELS[PREDICT]).mean() > 0.8

    def test_gray_images(self):
        assert run_job(make_job(channels=1, epochs=1)).spec.channels == 1

    def test_a_job_may_predict_nothing(self):
        job = dataclasses.replace(make_job(epochs=1), predict_rows=PREDICT[:0])
        assert run_job(job).probabilities.shape == (0, 3)


class TestBudget:
    def seen(self, monkeypatch, job):
        """Count the images that go through the encoder in training."""
        count, forward = [], SmallCNN.forward

        def spy(self, images):
            if self.training:
                count.append(len(images))
            return forward(self, images)

        monkeypatch.setattr(SmallCNN, "forward", spy)
        outcome = run_job(job)
        assert sum(count) == outcome.samples_seen
        return sum(count)

    @pytest.mark.parametrize("method", ["plain", "multi-label", "not-sure@all", "mixup-finetune"])
    def test_methods_see_exactly_as_many_images(self, method, monkeypatch):
        assert self.seen(monkeypatch, make_job(method, pretrain_fraction=0.31)) == 70

    def test_a_validation_is_no_pass(self, monkeypatch):
        assert self.seen(monkeypatch, make_job("plain", early_stop=50)) == 70


class TestDeterminism:
    @pytest.mark.parametrize("method", ["multi-label@random", "plain"])
    def test_twice_the_same_bits(self, method, tmp_path):
        outcomes = []
        for name in ("a", "b"):
            torch.manual_seed(len(outcomes))
            np.random.seed(len(outcomes))
            outcomes.append(run_job(make_job(method, save_to=tmp_path / name)))
        assert np.array_equal(outcomes[0].probabilities, outcomes[1].probabilities)
        assert outcomes[0].history == outcomes[1].history
        assert weights(tmp_path / "a") == weights(tmp_path / "b")

    def test_another_seed_differs(self):
        one, other = (run_job(make_job(seed=seed)).probabilities for seed in (0, 1))
        assert not np.allclose(one, other)


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

    def weights_of(self, folder, **settings):
        run_job(make_job("multi-label", save_to=folder, **settings))
        return weights(folder)

    @pytest.mark.parametrize("early_stop", [0, 9])
    @pytest.mark.parametrize("balance", ["none", "weights", "sampling"])
    def test_images_of_the_test_and_the_unused_ones(self, early_stop, balance, tmp_path):
        poison, histories = self.poisoned(np.concatenate([PREDICT, REST])), []
        for name, inputs in (("clean", {}), ("poisoned", poison)):
            job = make_job(save_to=tmp_path / name, early_stop=early_stop, balance=balance, **inputs)
            histories.append(run_job(job).history)
        assert weights(tmp_path / "clean") == weights(tmp_path / "poisoned")
        assert histories[0] == histories[1]  # with the validation log-losses
        assert (histories[0][-1]["validation"] is None) == (early_stop == 0)

    def test_validation_images_without_early_stopping(self, tmp_path):
        clean = self.weights_of(tmp_path / "clean")
        assert self.weights_of(tmp_path / "poisoned", **self.poisoned(VAL)) == clean

    def test_training_images_do_matter(self, tmp_path):
        clean = self.weights_of(tmp_path / "clean")
        assert self.weights_of(tmp_path / "poisoned", **self.poisoned(TRAIN[:1])) != clean

    def test_validation_images_matter_to_early_stopping_alone(self):
        def validations(**settings):
            return [row["validation"] for row in run_job(make_job("plain", **settings)).history]

        poison = self.poisoned(VAL)
        clean, poisoned = validations(early_stop=9), validations(early_stop=9, **poison)
        assert all(a != b for a, b in zip(clean, poisoned, strict=True))
        assert validations(early_stop=0) == validations(early_stop=0, **poison) == [None] * 4

    def test_other_predictions_change_no_weights(self, tmp_path):
        job = make_job(save_to=tmp_path / "a")
        whole = run_job(job)
        less = run_job(dataclasses.replace(job, predict_rows=PREDICT[3:5], save_to=tmp_path / "b"))
        assert weights(tmp_path / "a") == weights(tmp_path / "b")
        assert np.array_equal(less.probabilities, whole.probabilities[3:5])


class TestResume:
    @pytest.mark.parametrize("reports", [2, 3, 4])  # in pretraining, in fine-tuning, in its last epoch
    @pytest.mark.parametrize("early_stop", [0, 3])
    def test_a_killed_job_goes_on_to_the_same_bits(self, reports, early_stop, tmp_path, monkeypatch):
        monkeypatch.setattr(loop, "CHECKPOINT_SECONDS", -1.0)
        settings = {"early_stop": early_stop, "checkpoint": tmp_path / "state.pt"}
        whole = run_job(make_job(save_to=tmp_path / "whole", early_stop=early_stop))
        told = []

        def kill(share, words):
            told.append(words)
            if len(told) == reports:
                raise KeyboardInterrupt

        job = make_job(save_to=tmp_path / "resumed", **settings)
        with pytest.raises(KeyboardInterrupt):
            run_job(job, kill)
        assert (tmp_path / "state.pt").exists()
        assert not (tmp_path / "resumed").exists()
        resumed = run_job(job)
        assert np.array_equal(resumed.probabilities, whole.probabilities)
        assert resumed.history == whole.history
        assert weights(tmp_path / "resumed") == weights(tmp_path / "whole")
        assert not (tmp_path / "state.pt").exists()


SECOND = "this was the second attempt, at 0.1 of the learning rate; expected a finite loss; lower --lr"


class TestDivergence:
    def test_the_sentence(self):
        with pytest.raises(TrainingError) as error:
            run_job(make_job("plain", lr=1e30, epochs=6))
        first, second = str(error.value).split("\n")
        assert first.startswith(
            "plain: the loss became nan in phase 'train' at step 2 of 20, at learning rate "
        )
        assert second == SECOND

    def test_in_the_only_step(self, tmp_path):
        job = make_job("plain", lr=1e38, epochs=0.01, warmup=0.0, save_to=tmp_path / "model")
        with pytest.raises(TrainingError) as error:
            run_job(job)
        assert str(error.value) == (f"plain: the trained network's probabilities are not finite\n{SECOND}")
        assert not (tmp_path / "model").exists()

    def test_seen_in_the_validation(self):
        job = dataclasses.replace(make_job("plain", lr=1e38, warmup=0.0, early_stop=2), train_rows=TRAIN[:7])
        with pytest.raises(
            TrainingError, match="the validation loss became nan in phase 'train' at step 1 of 3, at learning"
        ):
            run_job(job)


def test_train_classifier_keeps_the_network():
    job = make_job()
    with threads(1):
        classifier, outcome = train_classifier(job)
        assert np.array_equal(classifier.predict_proba(job.images[PREDICT]), outcome.probabilities)


class TestSecondWeight:
    def numbers(self, **changes):
        job = make_job("second-look@all", epochs=0.6, second_weight=changes.pop("second_weight", None))
        look = train_classifier(dataclasses.replace(job, **changes))[0].second_look
        return look.weight, look.sharpness

    def test_it_is_fitted_to_the_validation_images_alone(self):
        other = (LABELS + 1) % len(CLASSES)
        elsewhere = np.setdiff1d(PREDICT, VAL)
        fitted, rows = self.numbers(), np.arange(len(LABELS))
        assert self.numbers(labels=np.where(np.isin(rows, elsewhere), other, LABELS)) == fitted
        assert self.numbers(labels=np.where(np.isin(rows, VAL), other, LABELS)) != fitted

    @pytest.mark.parametrize("changes", [{"second_weight": 0.3}, {"val_rows": np.empty(0, np.int64)}])
    def test_it_is_as_usual_where_it_is_given_or_there_are_none(self, changes):
        assert self.numbers(**changes) == (0.3, 1.0)


class TestMany:
    def screen(self):
        return Screen(quiet=True)

    def jobs(self):
        return [(name, make_job(name, epochs=0.6)) for name in ("plain", "mixup", "multi-label@all")]

    def test_outcomes_in_order_and_kept(self, tmp_path):
        outcomes = run_all(self.jobs(), workers=1, screen=self.screen(), title="x", keep=tmp_path / "cells")
        assert [o.spec.method for o in outcomes] == ["plain", "mixup", "multi-label@all"]
        assert len(list((tmp_path / "cells").iterdir())) == 6
        for (_, job), outcome in zip(self.jobs(), outcomes, strict=True):
            assert np.array_equal(run_job(job).probabilities, outcome.probabilities)

    def test_a_finished_job_is_not_run_again(self, tmp_path, monkeypatch):
        first = run_all(self.jobs()[:2], workers=1, screen=self.screen(), title="x", keep=tmp_path)
        ran = []

        def spy(job, report):
            ran.append(job.method)
            return run_job(job, report)

        monkeypatch.setattr(parallel, "run_job", spy)
        again = run_all(self.jobs(), workers=1, screen=self.screen(), title="x", keep=tmp_path)
        assert ran == ["multi-label@all"]
        for before, after in zip(first, again, strict=False):
            assert np.array_equal(before.probabilities, after.probabilities)
            assert dataclasses.replace(before, probabilities=None) == dataclasses.replace(
                after, probabilities=None
            )

    @pytest.mark.parametrize(("workers", "trainer"), [(1, "plain"), (2, "plain"), (1, "label-smoothing")])
    def test_methods_that_train_alike_share_a_network(self, workers, trainer, tmp_path, monkeypatch):
        """The bits of each are those of a training of its own."""
        names = ("second-look", trainer, "second-look@all", "mixup")
        jobs = [(name, make_job(name, epochs=0.6, second_network=trainer)) for name in names]
        shared = share_networks(jobs, tmp_path)
        assert len({job.shared for _, job in shared[:3]}) == 1
        assert shared[3][1].shared is None
        steps = []
        if workers == 1:
            step = Network.forward
            monkeypatch.setattr(
                Network, "forward", lambda net, x: (net.training and steps.append(0), step(net, x))[1]
            )
        outcomes = run_all(shared, workers=workers, screen=self.screen(), title="x", keep=tmp_path)
        assert len(steps) == (2 * 2 if workers == 1 else 0)  # two trainings of two steps, of four methods
        for (_, job), outcome in zip(jobs, outcomes, strict=True):
            alone = run_job(job)
            assert np.array_equal(alone.probabilities, outcome.probabilities)
            assert (alone.history, alone.samples_seen, alone.spec) == (
                outcome.history,
                outcome.samples_seen,
                outcome.spec,
            )
        assert not np.array_equal(outcomes[1].probabilities, outcomes[2].probabilities)

    def test_what_differs_in_training_is_not_shared(self, tmp_path):
        jobs = [("a", make_job("plain")), ("b", make_job("second-look", lr=0.02)), ("c", make_job(seed=1))]
        assert [job.shared for _, job in share_networks(jobs, tmp_path)] == [None] * 3
        alike = [("a", make_job("plain")), ("b", make_job("second-look", second_weight=0.5))]
        assert share_networks(alike, None) == alike
        assert all(job.shared for _, job in share_networks(alike, tmp_path))
        smoothed = ("c", make_job("second-look", second_network="label-smoothing"))
        assert share_networks([*alike, smoothed], tmp_path)[2] == smoothed
        tuned = [(name, dataclasses.replace(job, trials=2)) for name, job in alike]
        assert share_networks(tuned, tmp_path) == tuned

    def test_a_network_that_is_there_is_shared_by_jobs_that_come_later(self, tmp_path, monkeypatch):
        first = [(name, make_job(name, epochs=0.6)) for name in ("plain", "second-look")]
        run_all(share_networks(first, tmp_path), workers=1, screen=self.screen(), title="x", keep=tmp_path)
        late = make_job("second-look", epochs=0.6, second_weight=0.0)
        ((_, job),) = share_networks([("late", late)], tmp_path)
        expected = run_job(late).probabilities
        monkeypatch.setattr("sit2.execution.job.Training.run", lambda _: pytest.fail("it was trained again"))
        assert np.array_equal(run_job(job).probabilities, expected)

    def test_a_damaged_network_is_trained_again(self, tmp_path):
        job = dataclasses.replace(make_job("second-look", epochs=0.6), shared=tmp_path / "one.network")
        expected = run_job(job).probabilities
        whole = job.shared.read_bytes()
        job.shared.write_bytes(whole[:-1])
        assert np.array_equal(run_job(job).probabilities, expected)
        assert job.shared.read_bytes()[-9:] == whole[-9:]

    def test_nothing_to_keep(self):
        (outcome,) = run_all(self.jobs()[:1], workers=2, screen=self.screen(), title="x")
        assert outcome.samples_seen == 14

    def test_other_processes_give_the_same_bits(self, tmp_path):
        def run(workers):
            folder = tmp_path / str(workers)
            jobs = [(name, dataclasses.replace(job, save_to=folder / name)) for name, job in self.jobs()]
            outcomes = run_all(jobs, workers=workers, screen=self.screen(), title="x", keep=folder / "cells")
            return outcomes, [weights(folder / name) for name, _ in jobs]

        (inline, saved), (elsewhere, saved_elsewhere) = run(1), run(2)
        assert [o.spec for o in inline] == [o.spec for o in elsewhere]
        for one, other in zip(inline, elsewhere, strict=True):
            assert np.array_equal(one.probabilities, other.probabilities)
            assert one.history == other.history
        assert saved == saved_elsewhere

    @pytest.mark.parametrize(
        ("cores", "workers", "threads", "jobs", "processes"),
        [
            (8, 0, 1, 5, 5),
            (8, 0, 1, 100, 8),
            (8, 3, 1, 100, 3),
            (8, 0, 4, 100, 2),
            (2, 0, 4, 9, 1),
            (2, 7, 1, 9, 7),
        ],
    )
    def test_plan(self, cores, workers, threads, jobs, processes, monkeypatch):
        monkeypatch.setattr("os.sched_getaffinity", lambda _: set(range(cores)), raising=False)
        config = Config(device="cpu", workers=workers, threads=threads)
        assert plan_workers(config, jobs) == processes

    def test_an_accelerator_takes_one_at_a_time(self, monkeypatch):
        monkeypatch.setattr(parallel, "pick_device", lambda _: "cuda")
        assert plan_workers(Config(workers=5), 9) == 1
