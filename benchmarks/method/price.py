"""What a cell costs: training samples, and forward passes before and at prediction.

Counted is what the backbone computes. Random convolutional features and everything in closed form are left out:
together they take seconds.
"""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np
import torch

from sit2.experiments.grid import Cell, Place
from sit2.experiments.planning import of_fold
from sit2.inference.predictors import PREDICTORS
from sit2.inference.predictors.predictor import Known, Stage
from sit2.training.augmentations import PRESETS


@dataclass(frozen=True)
class Price:
    """Of one cell."""

    samples_trained: int  # forward and backward: of all members, and of the folds that measured confusion
    forward_passes_once: int  # frozen features of the training images, and what predictors are fitted to
    forward_passes: int  # of one predicted image: views × networks, and its frozen features


def price_of(cell: Cell, place: Place) -> Price:
    """Return what a cell cost that was answered at ``place``."""
    recipe, config = cell.recipe, place.config
    solved = config.make_method(recipe.method).in_closed_form
    predictors = [PREDICTORS[name] for name in recipe.predictors]
    # Each predictor has an encoder of its own, so two that use features compute them twice.
    frozen = 0 if place.features is None else sum(one.uses_features for one in predictors)
    measured = place.features is not None and recipe.needs_confusion and config.confusion != "folds"
    how = PRESETS[config.augment]
    own = 2 if how.mirror or how.dihedral else 1  # passes of an image's frozen features
    networks = 1 if config.starts_trained else recipe.trainings  # whose weights are averaged, or answers
    asked = _views(cell, place) * networks + own * frozen
    fitted = cell.val_images * asked if any(one.is_fitted for one in predictors) else 0
    return Price(
        samples_trained=(0 if solved else cell.outcome.budget) + _samples_of_folds(cell, place),
        forward_passes_once=cell.train_images * own * (solved or frozen > 0 or measured) + fitted,
        forward_passes=asked,
    )


def _samples_of_folds(cell: Cell, place: Place) -> int:
    """Return the samples that the confusion's folds were trained on, where the recipe uses confusion by folds."""
    config = place.config
    if config.confusion != "folds" or not cell.recipe.needs_confusion:
        return 0
    inside = max(1, cell.train_images * (config.folds - 1) // config.folds)
    fold = of_fold(config, inside)
    return config.folds * fold.total_steps(inside) * fold.step_size


def _views(cell: Cell, place: Place) -> int:
    """Return how many views of an image the predictors look at; without any, the image itself."""
    config, (channels, *size) = place.config, place.prepared.store.images.shape[1:]
    image = torch.zeros(1, channels, *size)
    counts = [1]
    for predictor in config.make_predictors(cell.recipe.predictors):
        if predictor.stage is Stage.VIEWS:
            known = Known(
                images=np.zeros((0, channels, *size), np.uint8),
                rows=np.arange(0),
                labels=np.arange(0),
                groups=(),
                num_classes=len(place.prepared.dataset.classes),
                pairs=(),
                augmentation=PRESETS[config.augment],
                seeds=place.seeds,
                device=torch.device("cpu"),
            )
            counts.append(sum(1 for _ in predictor.learn(known).views(image)))
    return max(counts)
