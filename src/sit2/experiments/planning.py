"""The one place that builds jobs: a recipe on prepared images → trainings, and what is made of them."""

from __future__ import annotations

import itertools
import math
from collections.abc import Iterable, Sequence
from dataclasses import replace
from pathlib import Path

import numpy as np

from sit2.config.recipe import Recipe
from sit2.config.schema import Config
from sit2.data.pixels import PixelStore
from sit2.errors import ConfigError
from sit2.events import EpochEnded
from sit2.execution.parts import Part
from sit2.execution.recipe_job import Evaluated, RecipeJob
from sit2.execution.training_job import TrainingJob
from sit2.features.frozen import FeatureStore
from sit2.inference.predictors import PREDICTORS
from sit2.methods import METHODS
from sit2.methods.phases import pairs_from
from sit2.records import ClassPair
from sit2.seeds import Seeds
from sit2.training.start import Start


def plan(
    recipe: Recipe,
    *,
    config: Config,
    seeds: Seeds,
    classes: tuple[str, ...],
    store: PixelStore,
    train: Part,
    val: Part,
    predict: Part,
    calibration: Part | None = None,
    start: Start,
    features: FeatureStore | None = None,
    chosen: Sequence[ClassPair] = (),
    layout: str = "",
    trials: int = 1,
    name: str = "",
    save_to: Path | None = None,
    evaluated: Sequence[Evaluated] = (),
    figures: str = "",
) -> RecipeJob:
    """Return everything that has to be done for one recipe on one split.

    Args:
        recipe: what to train, and what comes after.
        config: every setting.
        seeds: of the trainings; members after the first have seeds of their own.
        classes: K names.
        store: the pixels.
        start: what the networks start from.
        features: frozen features of the images to train on, where there are some.
        train: images to train on.
        val: images to validate on, and to fit predictors on.
        predict: images to answer for.
        calibration: images that calibrate predictors and do nothing else; None: the validation images do.
        chosen: the chosen pairs of classes.
        layout: what the folders of the images mean, for the model.
        trials: trainings to choose among by validation.
        name: what the trainings are called before the recipe's own name, where there are several splits.
        save_to: where to write the model.
        evaluated: the same recipe on fewer training images, where that was evaluated and this is to be kept.
        figures: whose the figures are then, in a sentence that goes with the model.
    """
    pairs = tuple(pairs_from(recipe.pairs, chosen, classes, seeds)) if recipe.uses_pairs else ()
    trainings = []
    for count, (member, method) in enumerate(itertools.product(range(recipe.members), recipe.methods), 1):
        number = f" ({count} of {recipe.trainings})" if recipe.trainings > 1 else ""
        trainings.append(
            TrainingJob(
                name=f"{name}{recipe.training}{number}",
                training=recipe.training,
                method=config.make_method(method),
                config=config,
                seeds=seeds if member == 0 else seeds.child("member", member),
                classes=classes,
                store=store,
                train=train,
                val=val,
                pairs=pairs if METHODS[method].uses_pairs else (),
                # Weights can be averaged where everything that is learned began alike, the head too.
                start=start,
                features=features,
                initial=seeds if member and config.starts_trained else None,
                trials=trials,
                layout=layout,
            )
        )
    own = pairs if recipe.uses_pairs else ()
    if not any(PREDICTORS[name].is_fitted for name in recipe.predictors):
        evaluated = ()  # there is nothing to ask them for
    return RecipeJob(
        recipe,
        config,
        tuple(trainings),
        predict,
        own,
        calibration if calibration is not None else Part.empty(),
        save_to,
        tuple(evaluated),
        figures,
    )


def check_calibration(
    recipes: Iterable[Recipe], config: Config, val: Part, calibration: Part, *, trials: int = 1
) -> None:
    """Refuse, before anything is trained, recipes whose predictors cannot be calibrated.

    Raises:
        ConfigError: there are too few images, or the validation images will have chosen the network.
    """
    for recipe in recipes:
        config.refuse_uncalibrated(recipe)
        if not recipe.is_calibrated:
            continue
        if trials > 1 and not len(calibration):
            raise ConfigError(
                f"{recipe}: tuning chooses by the validation images, so nothing can be promised by them\n"
                "keep others with --calibration-fraction 0.1"
            )
        part = calibration if len(calibration) else val
        images = len(set(part.groups)) if part.groups else len(part)
        for predictor in config.make_predictors(recipe.predictors):
            predictor.refuse_few(images)


def of_fold(config: Config, images: int) -> Config:
    """Return how a fold is trained: half the budget, unless told otherwise, and no early stopping."""
    if config.confusion_epochs is not None:
        return replace(config, epochs=config.confusion_epochs, samples_seen=None, early_stop=0)
    samples = None if config.samples_seen is None else max(1, config.samples_seen // 2)
    epochs = max(0.01, config.epochs_of(images) / 2)
    return replace(config, epochs=epochs, samples_seen=samples, early_stop=0)


def of_refit(config: Config, evaluated: Sequence[tuple[int, Sequence[EpochEnded]]]) -> Config:
    """Return how what is kept is trained: as many epochs as what was evaluated, without early stopping.

    Args:
        config: every setting.
        evaluated: (training images, history) of each evaluated training of the recipe. Where one was stopped
            early, its epochs are those before its best validation log-loss.
    """
    epochs = float(np.mean([_epochs(config, count, history) for count, history in evaluated]))
    return replace(config, epochs=max(0.01, epochs), samples_seen=None, early_stop=0)


def _epochs(config: Config, images: int, history: Sequence[EpochEnded]) -> float:
    """Return how often a training read its images, in effect."""
    if config.early_stop and history[-1].val_log_loss is not None:
        last = [row for row in history if row.phase == history[-1].phase]
        best = min(last, key=lambda row: math.inf if row.val_log_loss is None else row.val_log_loss)
        return best.samples_seen / images
    seen = config.samples_seen
    return config.epochs_of(images) if seen is None else seen / images
