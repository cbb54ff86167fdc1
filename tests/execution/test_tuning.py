"""Settings chosen by the validation images, with as many trainings for every method."""

import dataclasses
import sys

import pytest
import torch
from jobs import VAL, make_job, part_of, run_one, timeless, training_of

from sit2.config.schema import changed, make_config
from sit2.errors import ConfigError
from sit2.events import TrainingBegan
from sit2.execution.trained import load_trained
from sit2.execution.training_job import load_finished
from sit2.execution.tuning import _ranges, tuned
from sit2.methods import METHODS
from sit2.parameters import parameters_of
from sit2.training.loop import Training

QUICK = {"epochs": 0.6}  # two steps


@pytest.fixture
def trainings(monkeypatch):
    """Every training that really runs, in order."""
    ran, train = [], Training.run
    monkeypatch.setattr(Training, "run", lambda one: (ran.append(one), train(one))[1])
    return ran


def loss_of(history):
    return [row.val_log_loss for row in history if row.val_log_loss is not None][-1]


@pytest.mark.parametrize("method", ["plain", "multi-label"])
def test_the_network_with_the_least_validation_log_loss_is_kept(method, trainings, tmp_path):
    job, heard = training_of(method, tmp_path, trials=4, **QUICK), []
    result = tuned(job, heard.append)
    assert len(trainings) == sum(isinstance(event, TrainingBegan) for event in heard) == 4
    best = min(trainings, key=lambda one: loss_of(one.history))
    assert list(result.history) == best.history
    kept = load_finished(job)[1].state_dict()
    assert all(torch.equal(kept[name], value) for name, value in best.network.state_dict().items())
    assert result.chosen["lr"] == best.config.lr
    assert result.chosen["weight_decay"] == best.config.weight_decay
    assert load_trained(job.network) == result
    assert [path.name for path in tmp_path.iterdir()] == ["one.network"]


def test_all_trials_count(trainings, tmp_path):
    result = tuned(training_of("plain", tmp_path, trials=3, **QUICK))
    assert result.budget == 3 * 14
    assert result.seconds >= sum(one.history[-1].seconds for one in trainings)


def test_the_first_trial_is_the_training_that_would_have_been(trainings, tmp_path):
    alone = training_of("multi-label", tmp_path / "alone", **QUICK).run()
    tuned(training_of("multi-label", tmp_path, trials=2, **QUICK))
    _, first, second = trainings
    assert timeless(first.history) == timeless(alone.history)
    assert first.config.lr == 0.01
    assert second.config.lr != 0.01


def test_the_methods_own_settings_vary_too(trainings, tmp_path):
    result = tuned(training_of("multi-label", tmp_path, trials=3, **QUICK))
    assert {one.phases[-1].encoder_lr for one in trainings} > {0.5}
    assert len({one.phases[0].fraction for one in trainings}) == 3
    assert set(result.chosen) == {
        *("lr", "weight_decay", "pretrain_fraction", "finetune_lr"),
        "phase_smoothing",
    }


def test_it_is_not_done_again(trainings, tmp_path):
    job = training_of("plain", tmp_path, trials=2, **QUICK)
    result = tuned(job)
    assert tuned(job) == result
    assert len(trainings) == 2


def test_killed_it_goes_on_with_the_trial_that_was_not_finished(trainings, tmp_path):
    whole = tuned(training_of("plain", tmp_path / "whole", trials=3, **QUICK))
    job, began = training_of("plain", tmp_path / "killed", trials=3, **QUICK), []
    trainings.clear()

    def kill(event):
        began.extend([event] if isinstance(event, TrainingBegan) else [])
        if len(began) == 2:
            raise KeyboardInterrupt

    with pytest.raises(KeyboardInterrupt):
        tuned(job, kill)
    assert len(trainings) == 2
    result = tuned(job)
    assert len(trainings) == 4
    assert result.chosen == whole.chosen
    assert timeless(result.history) == timeless(whole.history)


def test_the_same_again_elsewhere_chooses_the_same(tmp_path):
    one, other = (tuned(training_of("mixup", tmp_path / name, trials=3, **QUICK)) for name in ("a", "b"))
    assert one.chosen == other.chosen
    assert timeless(one.history) == timeless(other.history)


def test_without_validation_images_nothing_can_be_chosen(tmp_path):
    with pytest.raises(ConfigError) as error:
        tuned(training_of("plain", tmp_path, trials=2, val=part_of(VAL[:0])))
    assert str(error.value) == "tuning needs validation images\nexpected some; see --val-fraction"


def test_the_missing_package_is_named(tmp_path, monkeypatch):
    monkeypatch.setitem(sys.modules, "optuna", None)
    with pytest.raises(ConfigError) as error:
        tuned(training_of("plain", tmp_path, trials=2))
    assert str(error.value) == "--tune needs Optuna\ninstall it: pip install 'sit2[tune]'"


def test_a_recipe_gets_what_was_chosen(trainings, tmp_path):
    job = make_job("mixup+tta+temperature", trials=2, **QUICK)
    outcome = run_one(job, tmp_path, keep=tmp_path / "cells")
    assert len(trainings) == 2
    assert set(outcome.chosen) == {"lr", "weight_decay", "mixup_alpha"}
    assert outcome.budget == 28
    (network,) = (tmp_path / "networks").iterdir()
    assert network.stem == job.trainings[0].key


class TestRanges:
    @pytest.mark.parametrize("name", METHODS)
    def test_each_has_its_default_inside(self, name):
        config = make_config()
        ranges = _ranges(config, config.make_method(name))
        assert all(low <= default <= high for low, high, default in ranges.values())
        tunable = {one.name for one in parameters_of(METHODS[name]) if one.rule.tune is not None}
        assert set(ranges) == {"lr", "weight_decay"} | tunable

    def test_they_are_around_what_is_configured(self):
        config = make_config({"lr": 0.1, "weight_decay": 0.2, "label_smoothing": 0.9})
        ranges = _ranges(config, config.make_method("label-smoothing"))
        assert ranges["lr"] == (0.025, 0.4, 0.1)
        assert ranges["weight_decay"] == pytest.approx((0.02, 2.0, 0.2))
        assert ranges["label_smoothing"] == (0.02, 0.9, 0.9)

    def test_what_is_off_stays_off(self):
        config = make_config({"weight_decay": 0.0})
        assert "weight_decay" not in _ranges(config, config.make_method("plain"))

    def test_what_is_tried_can_be_set(self):
        config = make_config()
        for name in METHODS:
            method = config.make_method(name)
            own = {one.name for one in parameters_of(METHODS[name])}
            for setting, (low, high, _) in _ranges(config, method).items():
                for value in (low, high):
                    if setting in own:
                        assert getattr(dataclasses.replace(method, **{setting: value}), setting) == value
                    else:
                        assert getattr(changed(config, **{setting: value}), setting) == value
