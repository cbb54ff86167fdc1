"""From trained networks to answers: put members together, fit the predictors, predict, save the model."""

from __future__ import annotations

import importlib.metadata
import time
from collections.abc import Callable, Sequence
from dataclasses import dataclass, field, replace
from functools import cached_property
from pathlib import Path
from typing import Any

import numpy as np
import torch

from sit2.config.recipe import Recipe
from sit2.config.schema import Config
from sit2.errors import TrainingError
from sit2.events import EpochEnded, Listener, nobody
from sit2.execution.parts import Part, key_of
from sit2.execution.trained import Trained
from sit2.execution.training_job import TrainingJob, load_finished
from sit2.inference.asked_network import Members
from sit2.inference.chain import Observations
from sit2.inference.decisions import Answers
from sit2.inference.model import Model
from sit2.inference.model_spec import described
from sit2.inference.predictors.predictor import Known, Promise
from sit2.parameters import parameters_of
from sit2.records import ClassPair, FloatArray, IntArray
from sit2.training.backbones import Network
from sit2.training.device import pick_device, telling_of_memory, threads

RECIPE = 3  # of what comes after training: to be raised when it gives another result


@dataclass(frozen=True)
class Evaluated:
    """A recipe that was evaluated, and images that nothing of it was trained on, nor fitted to."""

    job: RecipeJob
    unseen: Part


@dataclass(frozen=True)
class RecipeJob:
    """What determines the answers of one recipe on one split.

    Where the same recipe was evaluated before, on fewer training images, and this is what is kept, there are no
    images left to fit predictors to: they are fitted to what the evaluated ones say of images unseen by them.
    """

    recipe: Recipe
    config: Config
    trainings: tuple[TrainingJob, ...]  # one for each member
    predict: Part  # the images to answer for beside the validation images
    pairs: tuple[ClassPair, ...] = ()  # that its predictors use
    calibration: Part = field(default_factory=Part.empty)  # images that calibrate and do nothing else
    save_to: Path | None = None  # where to write the model
    evaluated: tuple[Evaluated, ...] = ()
    figures: str = ""  # whose the figures are, for the model; "": its own

    @property
    def needs(self) -> tuple[TrainingJob, ...]:
        """Return all trainings whose networks must be there."""
        return (*self.trainings, *(training for one in self.evaluated for training in one.job.trainings))

    def with_trainings(self, change: Callable[[TrainingJob], TrainingJob]) -> RecipeJob:
        """Return the job with each of the trainings that it needs changed."""
        return replace(
            self,
            trainings=tuple(change(one) for one in self.trainings),
            evaluated=tuple(replace(one, job=one.job.with_trainings(change)) for one in self.evaluated),
        )

    @cached_property
    def key(self) -> str:
        """Return 40 hexadecimal digits that change with anything that the answers depend on."""
        first = self.trainings[0]
        predictors = self.config.make_predictors(self.recipe.predictors)
        values = [
            (name, [(k, given[k]) for one in parameters_of(type(p)) if given[k := one.name] != one.default])
            for p in predictors
            for name, given in [described(p)]
        ]
        known: tuple[object, ...] = (
            (RECIPE, importlib.metadata.version("sit2"), [job.key for job in self.trainings], values),
            [(pair.a, pair.b, pair.score) for pair in self.pairs],
            (first.train.groups, first.val.groups) if predictors else (),
        )
        contents = [self.predict.content(first.store)]
        if self.figures or self.evaluated:
            known = (*known, (self.figures, [one.job.key for one in self.evaluated]))
            contents += [one.unseen.content(first.store) for one in self.evaluated]
        if self.recipe.is_calibrated and len(self.calibration):
            contents.append(self.calibration.content(first.store))
            contents.append(repr(self.calibration.groups).encode())
        return key_of(known, contents)

    def run(self, listener: Listener = nobody) -> Outcome:
        """Answer for the validation images and those to predict; the networks must be there.

        Raises:
            TrainingError: the probabilities are not finite; or memory ran out.
        """
        with threads(self.config.threads), telling_of_memory(f"predicting by {self.recipe}"):
            return self._run()

    def _run(self) -> Outcome:
        began = time.monotonic()
        store = self.trainings[0].store
        trained, model, validation = self.model()
        outcome = Outcome(
            validation=validation,
            answers=model.answers(store.images, self.predict.rows, fixed_batch=True),
            promise=model.promise,
            budget=sum(one.budget for one in trained),
            seconds=sum(one.seconds for one in trained) + time.monotonic() - began,
            histories=tuple(tuple(one.history) for one in trained),
            chosen=trained[0].chosen,
            notes=tuple(note for one in trained for note in one.notes),
        )
        if not (np.isfinite(outcome.validation).all() and np.isfinite(outcome.probabilities).all()):
            raise TrainingError(
                f"{self.recipe}: the trained network's probabilities are not finite\n"
                "expected a finite loss; lower --lr"
            )
        if self.save_to is not None:
            model.save(self.save_to)
        return outcome

    def model(self) -> tuple[list[Trained], Model, FloatArray]:
        """Return what the trainings left behind, the model, and what it says of the validation images (n, K).

        Each of these is answered for by predictors that were fitted without it, so it can be judged by them.
        """
        first = self.trainings[0]
        trained, model = self._unfitted()
        if self.evaluated:
            seen, labels = self._seen_by_the_evaluated()
            return trained, model.fitted(seen, labels), np.empty((0, len(first.classes)))
        seen = model.observe(first.store.images, first.val.rows)
        validation = model.cross_fitted(seen, first.val.labels, first.val.groups, first.seeds)
        fitted = model.fitted(seen, first.val.labels)
        return trained, self._calibrated(fitted, model, seen), validation

    def _calibrated(self, fitted: Model, unfitted: Model, validation: Observations | None) -> Model:
        """Return the model calibrated to the images that are kept for that, or else to the validation images."""
        first, kept = self.trainings[0], self.calibration
        if not self.recipe.is_calibrated:
            return fitted
        if len(kept):
            seen = fitted.observe(first.store.images, kept.rows)
            return fitted.calibrated(seen, kept.labels, kept.groups, first.seeds)
        val = first.val
        return fitted.calibrated(validation, val.labels, val.groups, first.seeds, unfitted=unfitted)

    def _seen_by_the_evaluated(self) -> tuple[Observations | None, IntArray]:
        """Return what the evaluated models observe on their unseen images, and the labels of these."""
        images = self.trainings[0].store.images
        parts = [one.job._unfitted()[1].observe(images, one.unseen.rows) for one in self.evaluated]
        found = [part for part in parts if part is not None]
        labels = np.concatenate([one.unseen.labels for one in self.evaluated])
        return Observations.joined(found) if found else None, labels

    def _unfitted(self) -> tuple[list[Trained], Model]:
        """Return the model with predictors that have learned from the training images, and are not fitted."""
        first, config = self.trainings[0], self.config
        device = torch.device(pick_device(config.device))
        finished = [load_finished(job) for job in self.trainings]
        network = together([one.to(device) for _, one in finished], averaged=config.starts_trained)
        predictors = config.make_predictors(self.recipe.predictors)
        spec = replace(
            first.spec,
            recipe=str(self.recipe),
            networks=len(network.networks) if isinstance(network, Members) else 1,
            predictors=tuple(described(predictor) for predictor in predictors),
            figures=self.figures,
        )
        known = Known(
            images=first.store.images,
            rows=first.train.rows,
            labels=first.train.labels,
            groups=first.train.groups,
            num_classes=len(first.classes),
            pairs=self.pairs,
            augmentation=spec.augmentation,
            seeds=first.seeds,
            device=device,
            **first.frozen(device) if any(one.uses_features for one in predictors) else {},
        )
        return [trained for trained, _ in finished], Model(spec, network, predictors).learned(known)


@dataclass(frozen=True)
class Outcome:
    """What one recipe leaves behind."""

    validation: FloatArray  # (len(val), K) float64: of predictors that were fitted without each image
    answers: Answers  # of the len(predict) images
    budget: int  # training samples seen, of all members
    seconds: float
    histories: Sequence[Sequence[EpochEnded]] = ()  # of each member
    chosen: dict[str, Any] = field(default_factory=dict)  # the settings that tuning chose
    notes: Sequence[str] = ()  # what went wrong on the way, and what was done about it
    promise: Promise | None = None  # what its sets of possible classes hold, where it gives some

    @property
    def probabilities(self) -> FloatArray:
        """(len(predict), K) float64."""
        return self.answers.probabilities


def together(networks: Sequence[Network], *, averaged: bool) -> Network | Members:
    """Put members together: their weights averaged (Wortsman et al. 2022), or else their answers.

    Weights can be averaged where all trainings began from the same pretrained weights, and so stayed in one
    basin. Statistics of batch normalisation are averaged with them.
    """
    if len(networks) == 1:
        return networks[0]
    if not averaged:
        return Members(networks)
    soup = networks[0]
    states = [network.state_dict() for network in networks]
    mean = {
        name: sum(state[name] for state in states) / len(states) if value.is_floating_point() else value
        for name, value in states[0].items()
    }
    soup.load_state_dict(mean)
    return soup
