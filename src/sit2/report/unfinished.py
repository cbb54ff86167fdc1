"""Trainings that plainly were not long enough, by what they predict and by how their loss ended."""

from __future__ import annotations

import math
from collections.abc import Sequence

import numpy as np

from sit2.config.recipe import Recipe
from sit2.data.words import counted, listed
from sit2.errors import ConfigError
from sit2.evaluation.class_figures import never_predicted
from sit2.methods import METHODS
from sit2.records import Predictions
from sit2.training.history import Epoch

LEAST = 5  # test images of a class, and epochs of a phase: of fewer nothing is concluded
FALL = 0.2  # of the loss, in the last fifth of the epochs
LOW = 0.3  # a loss that is below has little left to fall


def signs(
    recipe: str, predictions: Predictions, history: Sequence[Epoch], classes: Sequence[str]
) -> tuple[str, ...]:
    """Return why a recipe's training looks unfinished; nothing where it does not, or where none was trained."""
    try:
        parsed = Recipe.parse(recipe)
    except ConfigError:
        return ()
    if METHODS[parsed.method].in_closed_form:
        return ()
    return (*_never(predictions, classes), *_falling(parsed.training, history))


def _never(predictions: Predictions, classes: Sequence[str]) -> list[str]:
    """Name the classes of the test that are predicted for no image."""
    missing = never_predicted(predictions, LEAST)
    if not missing:
        return []
    images = int(np.isin(predictions.labels, missing).sum())
    verb, whose = ("is", "its") if len(missing) == 1 else ("are", "their")
    names = listed([classes[k] for k in missing])
    return [f"{names} {verb} never predicted, not even for one of {whose} {counted(images, 'test image')}"]


def _falling(training: str, history: Sequence[Epoch]) -> list[str]:
    """Say how far the loss of the last phase fell in its last fifth, if it was still falling."""
    own = [epoch for epoch in history if epoch.method == training and epoch.member == 1]
    last = [epoch.loss for epoch in own if epoch.phase == own[-1].phase]
    if len(last) < LEAST or not all(map(math.isfinite, last)):
        return []
    before, after = last[-1 - math.ceil(len(last) / 5)], last[-1]
    if after <= LOW or before - after <= FALL * before:
        return []
    return [
        f"the training loss was still falling at the end, from {before:.2f} to {after:.2f} in the last fifth"
    ]
