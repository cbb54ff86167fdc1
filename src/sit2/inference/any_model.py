"""What a model and its exported file have in common: both answer for pixels, and so for images of any kind.

Loads no torch. Letters: N images, K classes, C×H×W pixels.
"""

from __future__ import annotations

from typing import Any, Protocol

import numpy as np

from sit2.data.readers.in_memory import as_sequence, dataset_of, pixels_or_error
from sit2.inference.decisions import Answers, Decision, decide, level
from sit2.inference.model_spec import ModelSpec
from sit2.inference.predictors.predictor import Promise
from sit2.records import ByteArray, IntArray


class Answering(Protocol):
    """A model, or the file of `sit2 export`."""

    @property
    def spec(self) -> ModelSpec:
        """Its classes, and how an image becomes its pixels."""

    @property
    def promise(self) -> Promise | None:
        """What its sets of possible classes hold; None where it gives none."""

    def answers(self, images: ByteArray, rows: IntArray | None = None) -> Answers:
        """Return what it says of the images ``rows`` (all if None) of (M, C, H, W) uint8."""


def answers_for(model: Answering, images: Any) -> Answers:
    """Return what a model says of images as they are: arrays or paths, as a model's predict_proba takes them.

    Raises:
        DataError: images of another shape or type, or one that cannot be read.
    """
    given, spec = as_sequence(images), model.spec
    if len(given) == 0:
        return model.answers(np.empty((0, spec.channels, spec.image_size, spec.image_size), np.uint8))
    dataset = dataset_of(given, np.full(len(given), -1, np.int64), list(spec.classes), None)
    return model.answers(pixels_or_error(dataset, spec))


def decisions_for(model: Answering, images: Any, coverage: float | None) -> list[Decision]:
    """Return a decision for each of N images; arguments and errors as of a model's predict."""
    classes = model.spec.classes
    asked = level(model.promise, coverage, classes, model.spec.recipe)
    return decide(answers_for(model, images), classes, asked)
