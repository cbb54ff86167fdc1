"""One training, as something that can be sent to another process: images in, a network's file out.

Its key holds no predictors: recipes that train alike share one network.
"""

from __future__ import annotations

import contextlib
import importlib.metadata
import json
import math
import time
from dataclasses import dataclass, replace
from functools import cached_property
from pathlib import Path
from typing import Any

import numpy as np
import torch

from sit2.config.schema import Config
from sit2.data.pixels import PixelStore
from sit2.errors import ModelError, TrainingError
from sit2.evaluation.metrics import log_losses
from sit2.events import EpochEnded, Listener, TrainingBegan, TrainingEnded, nobody
from sit2.execution.parts import Part, key_of
from sit2.execution.trained import Trained, load_trained, read_state, trained_of
from sit2.features.frozen import FeatureStore, fit_linear
from sit2.inference.model import PREDICT_BATCH, Model
from sit2.inference.model_spec import ModelSpec
from sit2.methods.method import Method
from sit2.methods.phases import make_phases
from sit2.parameters import parameters_of
from sit2.records import ClassPair
from sit2.seeds import Seeds
from sit2.storage.files import DamagedStateError, atomic
from sit2.storage.untrusted import read_json
from sit2.training.augmentations import PRESETS
from sit2.training.backbones import Network, build_network, quicken_statistics
from sit2.training.device import make_fabric, pick_device, telling_of_memory, threads
from sit2.training.loop import Training
from sit2.training.settings import TrainingSettings
from sit2.training.start import Start, frozen_extractor
from sit2.training.training_set import Normalisation, TrainingSet

RECIPE = 4  # of what trainings do: to be raised when one gives another result, or a default changes
RETRY_LR = 0.1  # of the learning rate, in the one retry after the loss became NaN or infinite


@dataclass(frozen=True)
class TrainingJob:
    """What determines one training, and nothing else.

    The network sees the pixels of ``train`` and, where early stopping is on, of ``val``.
    """

    name: str  # what its events call it: no other training of a run has this name
    training: str  # what is trained: a recipe without its predictors
    method: Method
    config: Config  # of which the training and the method's settings count
    seeds: Seeds
    classes: tuple[str, ...]
    store: PixelStore
    train: Part
    val: Part
    pairs: tuple[ClassPair, ...] = ()  # that the method trains with
    start: Start = Start()  # what the network starts from
    features: FeatureStore | None = None  # frozen ones of the images to train on, where they are known
    initial: Seeds | None = None  # of the initial weights; None: the same seeds
    trials: int = 1  # trainings to choose among by the validation images, see sit2.execution.tuning
    layout: str = ""  # how labels were found, for the model that will be made of it
    checkpoint: Path | None = None
    network: Path | None = None  # the file that is written, or found if it is there already

    @cached_property
    def key(self) -> str:
        """Return 40 hexadecimal digits that change with anything that the network depends on."""
        values = [  # of those that are not as usual: a setting that is new one day changes no key of today
            (one.name, getattr(owner, one.name))
            for owner, one in (
                *((self.config, one) for one in parameters_of(TrainingSettings)),
                *((self.method, one) for one in parameters_of(type(self.method))),
            )
            if getattr(owner, one.name) != one.default and one.name != "weights"  # which are in ``start``
        ]
        if self.config.threads != 1:
            values.append(("threads", self.config.threads))
        version = importlib.metadata.version
        device = pick_device(self.config.device)
        known = (
            (RECIPE, version("sit2"), version("torch"), device),
            (self.start.digest, self.start.normalise),
            (type(self.method).__name__, values, self.trials),
            [(pair.a, pair.b, pair.score) for pair in self.pairs],
            (self.seeds.root, self.seeds.path, self.initial and self.initial.path),
            (self.classes, self.store.images.shape[1:]),
        )
        contents = [self.train.content(self.store), self.val.content(self.store)]
        return key_of(known, contents)

    @property
    def spec(self) -> ModelSpec:
        """Return what a model is that has this network and no predictors."""
        config = self.config
        normalise = self.start.normalise or Normalisation.of(self.store.images, self.train.rows)
        return ModelSpec(
            recipe=self.training,
            backbone=config.backbone,
            classes=self.classes,
            channels=self.store.images.shape[1],
            image_size=self.store.images.shape[2],
            resize=config.resize,
            mean=normalise.mean,
            std=normalise.std,
            augment=config.augment,
            depth_window=config.depth_window,
            background=config.background,
            max_megapixels=config.max_megapixels,
            channels_from=config.channels_from,
            weights=self.start.name,
            weights_digest=self.start.digest,
            stages=self.method.in_closed_form,
            layout=self.layout,
        )

    def network_as_it_starts(self) -> Network:
        """Return the network before training."""
        config = self.config
        return build_network(
            config.backbone,
            channels=self.store.images.shape[1],
            image_size=self.store.images.shape[2],
            outputs=len(self.classes),
            seed=(self.initial or self.seeds).integer("network"),
            pretrained=config.pretrained,
            weights=config.weights,
            stages=self.method.in_closed_form,
        )

    def frozen(self, device: torch.device) -> dict[str, Any]:
        """Return ``features`` (N, D) of the images to train on, and the ``extractor``; empty if there is none."""
        channels, _, size = self.store.images.shape[1:]
        extractor = frozen_extractor(
            self.config, self.start, channels=channels, image_size=size, device=str(device)
        )
        if extractor is None:
            return {}
        if self.features is None:
            features = torch.from_numpy(extractor.extract(self.store.images, self.train.rows))
        else:
            features = self.features.of(self.train.rows)
        return {"features": features, "extractor": extractor}

    def run(self, listener: Listener = nobody) -> Trained:
        """Train and keep the network; on a CPU the same job gives bit-identical results on the same machine.

        On an accelerator it has the same draws and initial weights, but sums in another order from time to
        time, so results differ by rounding.

        When the loss becomes NaN or infinite, training begins once again, at a tenth of the learning rate; the
        notes say so. A killed retry is resumed as a retry.

        Raises:
            TrainingError: when the loss became NaN or infinite in the retry too; or memory ran out.
        """
        assert self.network is not None
        if (known := load_trained(self.network)) is not None:
            for row in known.history:
                listener(replace(row, name=self.name))
            listener(TrainingEnded(self.name, found=True))
            with contextlib.suppress(OSError):
                self.network.touch()  # the cache removes what was used longest ago
            return known
        with threads(self.config.threads), telling_of_memory(f"training {self.training}"):
            trained = self._run(listener)
        if self.checkpoint is not None:
            for path in (self.checkpoint, _retry_file(self.checkpoint)):
                path.unlink(missing_ok=True)
        listener(TrainingEnded(self.name, found=False))
        return trained

    def _run(self, listener: Listener) -> Trained:
        began = time.monotonic()
        if self.method.in_closed_form:
            return self._solve(listener, began)
        first = self._first_failure()
        notes: list[str] = []
        if first is None:
            try:
                return self._from_checkpoint(listener, began, notes)
            except TrainingError as error:
                first = str(error).split("\n", maxsplit=1)[0]
                self._remember_failure(first)
        notes.append(f"{first}; trained once more from the start, at {RETRY_LR} of the learning rate")
        try:
            return self._from_checkpoint(listener, began, notes, lr_factor=RETRY_LR)
        except TrainingError as error:
            second = str(error).split("\n", maxsplit=1)[0]
            raise TrainingError(
                f"{second}\nthis was the second attempt, at {RETRY_LR} of the learning rate; expected a finite "
                "loss; lower --lr"
            ) from None

    def _solve(self, listener: Listener, began: float) -> Trained:
        """Put the closed-form classifier on frozen features into the network's head: no loop, no steps."""
        network, count = self.network_as_it_starts(), len(self.train)
        device = torch.device(pick_device(self.config.device))
        features = self.frozen(device).get("features")
        if features is None:
            raise TrainingError(
                f"{self.training} needs a network that knows something already\nuse a backbone with pretrained "
                "weights, such as the default, or --weights"
            )
        groups = self.train.groups if len(set(self.train.groups)) > 1 else ()
        linear, left_out = fit_linear(features, self.train.labels, len(self.classes), groups=groups)
        network.head.load_state_dict({"weight": linear.weight.float(), "bias": linear.bias.float()})
        loss = float(log_losses(left_out, self.train.labels).mean())
        listener(TrainingBegan(self.name, self.training, 1, count))
        row = EpochEnded(
            self.name,
            self.training,
            "closed form",
            epoch=1,
            step=1,
            steps=1,
            samples_seen=count,
            loss=loss,
            lr=0.0,
            val_accuracy=None,
            val_log_loss=None,
            seconds=round(time.monotonic() - began, 3),
        )
        listener(row)
        trained = Trained([row], time.monotonic() - began)
        trained.save(self.network, network)
        return trained

    def _from_checkpoint(
        self, listener: Listener, began: float, notes: list[str], *, lr_factor: float = 1.0
    ) -> Trained:
        """Train from the checkpoint, or from the beginning where there is none or it is damaged."""
        try:
            return self._train(listener, began, notes, lr_factor)
        except DamagedStateError:
            assert self.checkpoint is not None
            self.checkpoint.unlink()
            notes.insert(0, f"{self.checkpoint} was damaged, so the training of {self.training} began again")
            return self._train(listener, began, notes, lr_factor)

    def _train(self, listener: Listener, began: float, notes: list[str], lr_factor: float) -> Trained:
        spec, config = self.spec, self.config
        network = self.network_as_it_starts()
        if config.starts_trained:
            quicken_statistics(network.encoder)
        fabric = make_fabric(config.device, config.precision)
        training_set = TrainingSet.of(
            self.store.images,
            self.train.labels,
            len(self.classes),
            rows=self.train.rows,
            normalise=Normalisation(spec.mean, spec.std),
            augment=PRESETS[config.augment],
            seeds=self.seeds.child("training"),
            balanced=config.balance == "sampling",
            device=fabric.device,
        )

        def validate(network: Network) -> tuple[float, float]:
            probabilities = Model(spec, network).probabilities(
                self.store.images, self.val.rows, fixed_batch=True
            )
            if not np.isfinite(probabilities).all():
                return 0.0, math.nan
            right = probabilities.argmax(axis=1) == self.val.labels
            return float(right.mean()), float(log_losses(probabilities, self.val.labels).mean())

        training = Training(
            self.name,
            self.training,
            network,
            training_set,
            make_phases(self.method, self.pairs, len(self.classes)),
            config,
            self.seeds,
            fabric,
            listener=listener,
            validate=validate if len(self.val) else None,
            checkpoint=self.checkpoint,
            lr_factor=lr_factor,
        )
        try:
            training.run()
        except TrainingError as error:
            raise TrainingError(f"{self.training}: {error}") from None
        # The last step of all may be the one that fails, or finite weights may be too large.
        seen = Model(spec, network).probabilities(self.store.images, self.train.rows[:PREDICT_BATCH])
        if not np.isfinite(seen).all():
            raise TrainingError(
                f"{self.training}: the trained network's probabilities are not finite\n"
                "expected a finite loss; lower --lr"
            )
        trained = Trained(training.history, time.monotonic() - began, notes=notes)
        trained.save(self.network, network)
        return trained

    def _first_failure(self) -> str | None:
        """Return why the first attempt failed, where a killed training was in its second."""
        if self.checkpoint is None or not (path := _retry_file(self.checkpoint)).exists():
            return None
        try:
            return str(read_json(path)["failure"])
        except (OSError, ValueError, KeyError):
            return None  # the first attempt will fail again, in the same place

    def _remember_failure(self, failure: str) -> None:
        if self.checkpoint is None:
            return
        self.checkpoint.unlink(missing_ok=True)  # first: the second attempt must not go on from it
        with atomic(_retry_file(self.checkpoint)) as path:
            path.write_text(json.dumps({"failure": failure}), encoding="utf-8")


def load_finished(job: TrainingJob) -> tuple[Trained, Network]:
    """Return what a finished training left behind, and its network on the CPU, in evaluation mode.

    Raises:
        ModelError: there is none, or it is damaged.
    """
    state = read_state(job.network)
    if state is None:
        raise ModelError(
            f"the network of {job.name} is gone from {job.network}\nrun again: it is trained anew"
        )
    network = build_network(
        job.config.backbone,
        channels=job.store.images.shape[1],
        image_size=job.store.images.shape[2],
        outputs=len(job.classes),
        seed=0,
        stages=job.method.in_closed_form,
    )
    network.load_state_dict(state["network"])
    return trained_of(state), network.eval()


def _retry_file(checkpoint: Path) -> Path:
    return checkpoint.with_suffix(".retry")
