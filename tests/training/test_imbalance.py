"""A set of 50 images of one class to each of the other: what training, metrics and weights make of it."""

from __future__ import annotations

import functools

import numpy as np
import pytest
from sklearn.metrics import balanced_accuracy_score, f1_score

from sit2.config.recipe import Recipe
from sit2.config.schema import make_config
from sit2.data.pixels import PixelStore
from sit2.evaluation.metrics import compute_metrics
from sit2.execution.parts import Part
from sit2.execution.runner import train_here
from sit2.experiments.planning import plan
from sit2.records import Predictions
from sit2.seeds import Seeds
from sit2.training.start import Start

MANY, FEW = 500, 10
CLASSES = ("usual", "rare")
LABELS = np.repeat([0, 1, 0, 1], [MANY, FEW, MANY, FEW]).astype(np.int64)  # to train on, then to test on
TRAIN, TEST = np.arange(MANY + FEW), np.arange(MANY + FEW, len(LABELS))


def pixels() -> np.ndarray:
    """(N, 1, 8, 8): noise, in the rare class a little brighter in one half; the classes overlap."""
    draw = np.random.default_rng(5)
    images = draw.normal(110, 25, (len(LABELS), 1, 8, 8)) + draw.normal(0, 12, (len(LABELS), 1, 1, 1))
    images[LABELS == 1, :, :4] += 35
    return images.clip(0, 255).astype(np.uint8)


@functools.cache
def predictions_of(balance: str) -> Predictions:
    settings = {
        "backbone": "small-cnn",
        "image_size": 8,
        "epochs": 2,
        "lr": 0.003,
        "batch_size": 32,
        "balance": balance,
    }
    store = PixelStore.of(pixels())
    job = plan(
        Recipe("plain"),
        config=make_config(settings, {"device": "cpu", "precision": "32-true"}),
        seeds=Seeds(0),
        classes=CLASSES,
        store=store,
        train=Part(TRAIN, LABELS[TRAIN]),
        val=Part.empty(),
        predict=Part(TEST, LABELS[TEST]),
        start=Start(),
    )
    probabilities = train_here(job).probabilities(store.images, TEST)
    return Predictions(tuple(str(n) for n in TEST), LABELS[TEST], probabilities)


def found(balance: str) -> float:
    """Return the fraction of the rare class that is recognised."""
    predictions = predictions_of(balance)
    return float(predictions.correct[predictions.labels == 1].mean())


def test_plain_training_neglects_the_rare_class_and_only_accuracy_hides_it():
    metrics = compute_metrics(predictions_of("none"), [])
    assert found("none") <= 0.2
    assert metrics["accuracy"] > 0.97
    assert metrics["balanced_accuracy"] < 0.65
    assert metrics["macro_f1"] < 0.7


@pytest.mark.parametrize("balance", ["weights", "sampling"])
def test_balancing_finds_it(balance):
    assert found(balance) >= 0.7
    before, after = compute_metrics(predictions_of("none"), []), compute_metrics(predictions_of(balance), [])
    assert after["balanced_accuracy"] > before["balanced_accuracy"] + 0.15


@pytest.mark.parametrize("balance", ["none", "weights", "sampling"])
def test_metrics_are_those_of_scikit_learn(balance):
    predictions = predictions_of(balance)
    metrics = compute_metrics(predictions, [])
    truth, guess = predictions.labels, predictions.predicted
    assert metrics["balanced_accuracy"] == pytest.approx(balanced_accuracy_score(truth, guess))
    assert metrics["macro_f1"] == pytest.approx(f1_score(truth, guess, average="macro"))


def test_a_class_that_the_test_lacks_is_no_zero():
    predictions = predictions_of("weights")
    usual = predictions.take(predictions.labels == 0)
    recall = float(usual.correct.mean())
    assert 0 < recall < 1
    assert compute_metrics(usual, [])["balanced_accuracy"] == pytest.approx(recall)
