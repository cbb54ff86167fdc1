"""A trained model: a network, its predictors, and how an image is prepared for them.

Letters: N images, K classes, C×H×W pixels.
"""

from __future__ import annotations

import itertools
from collections.abc import Iterator, Sequence
from dataclasses import dataclass, replace
from pathlib import Path
from typing import Any

import numpy as np
import torch
from safetensors import SafetensorError
from safetensors.torch import load_file
from safetensors.torch import save as to_bytes
from torch import Tensor

from sit2.errors import ModelError, Sit2Error, in_one_line
from sit2.inference import chain
from sit2.inference.any_model import answers_for, decisions_for
from sit2.inference.asked_network import Asking, Members
from sit2.inference.chain import Observations, Variants
from sit2.inference.decisions import Answers, Decision
from sit2.inference.model_spec import ModelSpec, described, find_model, read_spec
from sit2.inference.predictors import PREDICTORS
from sit2.inference.predictors.predictor import (
    Context,
    Known,
    Outputs,
    Predictor,
    Promise,
    changed,
    changes,
)
from sit2.records import ByteArray, FloatArray, IntArray
from sit2.seeds import Seeds
from sit2.storage.files import atomic, make_folder
from sit2.training.backbones import Network, build_network
from sit2.training.training_set import Normalisation

PREDICT_BATCH = 64  # images at once, at most


@dataclass(frozen=True)
class Model:
    """What gives the probabilities of named classes: a network and its predictors."""

    spec: ModelSpec
    network: Network | Members
    predictors: tuple[Predictor, ...] = ()
    variants: Variants = ()  # of the first predictors: fitted without each part of the calibration images

    @property
    def promise(self) -> Promise | None:
        """Return what the model's sets of possible classes hold; None where it gives none."""
        given = (predictor.promise() for predictor in self.predictors)
        return next((one for one in given if one is not None), None)

    def predict(self, images: Any, coverage: float | None = None) -> list[Decision]:
        """Return what the model says of each image: a class, "not sure: A or B", or "unlike the training images".

        Args:
            images: as :meth:`predict_proba` takes them.
            coverage: how often the set of possible classes must contain the true one, above 0 and below 1; None:
                0.95, or the highest that can be promised where that is lower. Only for models with a predictor
                that gives sets.

        Raises:
            ConfigError: the model gives no sets, or cannot promise this coverage.
            DataError: images of another shape or type, or one that cannot be read.
        """
        return decisions_for(self, images, coverage)

    def predict_proba(self, images: Any) -> FloatArray:
        """Return class probabilities of images as they are, in the order of ``spec.classes``.

        Args:
            images: (N, H, W), (N, H, W, C) or (N, C, H, W) of any size, C = 1, 3 or 4, uint8 or floats in [0, 1];
                or N paths of image files.

        Returns:
            (N, K) float64; rows sum to 1.

        Raises:
            DataError: images of another shape or type, or one that cannot be read.
        """
        return answers_for(self, images).probabilities

    def probabilities(
        self, images: ByteArray, rows: IntArray | None = None, *, fixed_batch: bool = False
    ) -> FloatArray:
        """Return class probabilities of the N images ``rows`` (all if None).

        Args:
            images: (M, C, H, W) uint8, decoded with the spec's size, channels and resize mode.
            rows: (N,) int64 in [0, M).
            fixed_batch: fill up the last batch, so that the result of an image does not depend, in its last
                bits, on how many there are. A run's own predictions are made so.

        Returns:
            (N, K) float64; rows sum to 1. Computed in float32, whatever precision trained the network.
        """
        return self.answers(images, rows, fixed_batch=fixed_batch).probabilities

    def answers(
        self, images: ByteArray, rows: IntArray | None = None, *, fixed_batch: bool = False
    ) -> Answers:
        """Return all that the model says of the N images ``rows``; arguments as of :meth:`probabilities`."""
        rows = np.arange(len(images), dtype=np.int64) if rows is None else rows
        found = Answers(
            np.empty((len(rows), len(self.spec.classes))),
            None if self.promise is None else np.empty((len(rows), len(self.spec.classes))),
        )
        unlike, start = list[Tensor](), 0
        for batch, count in self._batches(images, rows, fixed_batch=fixed_batch):
            outputs = self.outputs(batch)
            found.probabilities[start : start + count] = outputs.log_probabilities.exp()[:count].numpy()
            if found.p_values is not None and outputs.p_values is not None:
                found.p_values[start : start + count] = outputs.p_values[:count].numpy()
            if outputs.unlike is not None:
                unlike.append(outputs.unlike[:count])
            start += count
        return replace(found, unlike=torch.cat(unlike).numpy()) if unlike else found

    @torch.inference_mode()
    def features(self, images: ByteArray) -> FloatArray:
        """Return (N, D) float32: what the network's head sees of (N, C, H, W) uint8 images."""
        self.network.eval()
        rows = np.arange(len(images), dtype=np.int64)
        batches = self._batches(images, rows, fixed_batch=False)
        found: FloatArray = torch.cat([self.asking().features(part).cpu() for part, _ in batches]).numpy()
        return found

    def answer(self, pixels: Tensor) -> Tensor:
        """Return probabilities (N, K) float64, on the CPU, of (N, C, H, W) float32 in [0, 1]."""
        return self.outputs(pixels).log_probabilities.exp()

    @torch.inference_mode()
    def outputs(self, pixels: Tensor) -> Outputs:
        """Return what network and predictors say, on the CPU, of (N, C, H, W) float32 in [0, 1]."""
        self.network.eval()
        return self.traced(pixels)

    def traced(self, pixels: Tensor) -> Outputs:
        """Do what :meth:`outputs` does; the export follows this."""
        seen = Observations.of(self.predictors, pixels, self.asking())
        return chain.apply(self.predictors, seen, self.variants)

    def asking(self) -> Asking:
        """Return the network as predictors ask it."""
        return Asking(self.network, Normalisation(self.spec.mean, self.spec.std))

    def views(self, images: Tensor) -> Iterator[Tensor]:
        """Yield the views of (N, C, H, W) images that the network is asked about, by the predictor with most."""
        found = [list(predictor.views(images)) for predictor in self.predictors]
        yield from max(found, key=len, default=[images])

    def learned(self, known: Known) -> Model:
        """Return the model with what its predictors take from the training images."""
        self.network.eval()
        asked = replace(known, ask=self.asking())
        return replace(self, predictors=tuple(predictor.learn(asked) for predictor in self.predictors))

    def observe(self, images: ByteArray, rows: IntArray) -> Observations | None:
        """Look at the N images ``rows``, for fitting; None where there are none."""
        with torch.inference_mode():
            self.network.eval()
            parts = []
            for batch, count in self._batches(images, rows, fixed_batch=True):
                parts.append(Observations.of(self.predictors, batch, self.asking()).take(torch.arange(count)))
        return Observations.joined(parts) if parts else None

    def fitted(self, seen: Observations | None, labels: IntArray) -> Model:
        """Return the model with its predictors fitted to N images that nothing was trained on."""
        if seen is None:
            return self
        targets = torch.from_numpy(labels.astype(np.int64))
        return replace(self, predictors=chain.fitted(self.predictors, seen, targets))

    def calibrated(
        self,
        seen: Observations | None,
        labels: IntArray,
        groups: Sequence[str],
        seeds: Seeds,
        *,
        unfitted: Model | None = None,
    ) -> Model:
        """Return the model, which is fitted, with its predictors calibrated to N images.

        Args:
            seen: of images that neither trained nor chose the network.
            labels: (N,) int64 in [0, K).
            groups: N names of images that are not independent of each other, or none.
            seeds: of what is drawn.
            unfitted: the model before its predictors were fitted, where that was done to these very images.
        """
        if seen is None:
            return self
        targets, before = torch.from_numpy(labels.astype(np.int64)), unfitted.predictors if unfitted else ()
        found = chain.calibrated(self.predictors, seen, targets, groups, seeds, unfitted=before)
        return replace(self, predictors=found[0], variants=found[1])

    def cross_fitted(
        self, seen: Observations | None, labels: IntArray, groups: Sequence[str], seeds: Seeds
    ) -> FloatArray:
        """Return (N, K) probabilities, each from predictors that were not fitted to its image."""
        if seen is None:
            return np.empty((0, len(self.spec.classes)))
        targets = torch.from_numpy(labels.astype(np.int64))
        found: FloatArray = chain.cross_fitted(self.predictors, seen, targets, groups, seeds).exp().numpy()
        return found

    def _batches(
        self, images: ByteArray, rows: IntArray, *, fixed_batch: bool
    ) -> Iterator[tuple[Tensor, int]]:
        """Yield (n, C, H, W) float32 in [0, 1], and how many of its images are of ``rows``."""
        device = next(self.network.parameters()).device
        for start in range(0, len(rows), PREDICT_BATCH):
            part = images[rows[start : start + PREDICT_BATCH]]
            batch = torch.from_numpy(np.ascontiguousarray(part)).to(device).float() / 255
            if fixed_batch and len(part) < PREDICT_BATCH:
                batch = torch.cat([batch, batch.new_zeros(PREDICT_BATCH - len(part), *batch.shape[1:])])
            yield batch, len(part)

    def save(self, folder: Path) -> None:
        """Write ``model.safetensors`` and ``model.json`` into a folder, each whole or not at all.

        Raises:
            RunFolderError: there is a file in the folder's place, or it cannot be written to.
        """
        make_folder(folder)
        state = dict(self.network.state_dict())
        for predictor in self.predictors:
            name = described(predictor)[0]
            state |= {f"{_PREDICTOR}{name}.{key}": value for key, value in predictor.state().items()}
        for f, variant in enumerate(self.variants):
            for one, fitted in zip(variant, self.predictors, strict=False):
                start = f"{_VARIANT}{f}.{described(fitted)[0]}."
                state |= {f"{start}{key}": value for key, value in changes(one, fitted).items()}
        if self.variants:
            state[_PARTS] = torch.tensor(len(self.variants))
        state = {k: v.detach().cpu().contiguous() for k, v in state.items()}
        with atomic(folder / "model.safetensors") as path:
            path.write_bytes(to_bytes(state))
        self.spec.save(folder / "model.json")

    @classmethod
    def load(cls, folder: Path) -> Model:
        """Read a model folder, or a run folder that holds one. No code from it is executed.

        Raises:
            ModelError: when there is no model, or it is damaged, or another version wrote it.
        """
        folder = find_model(folder)
        spec = read_spec(folder / "model.json")
        try:
            state = load_file(folder / "model.safetensors")
            parts = _parts(state)
            own_of = [
                {
                    k.removeprefix(f"{_VARIANT}{f}."): state.pop(k)
                    for k in list(state)
                    if k.startswith(f"{_VARIANT}{f}.")
                }
                for f in range(parts)
            ]
            context, predictors = replace(context_of(spec), parts=parts), list[Predictor]()
            for name, settings in spec.predictors:
                start = f"{_PREDICTOR}{name}."
                own = {k.removeprefix(start): state.pop(k) for k in list(state) if k.startswith(start)}
                predictors.append(PREDICTORS[name].from_state(settings, own, context))
            variants = tuple(_variant(predictors, own) for own in own_of)
            network = empty_network(spec)
            network.load_state_dict(state)
        except (OSError, RuntimeError, ValueError, SafetensorError, Sit2Error) as error:
            reason = in_one_line(error)
            raise ModelError(f"the weights in {folder} cannot be loaded: {reason}") from None
        return cls(spec, network.eval(), tuple(predictors), variants)


_PREDICTOR = "predictor."  # in front of the names of predictors' tensors
_VARIANT, _PARTS = "variant.", "parts"  # and of what differs where predictors were fitted without a part


def _parts(state: dict[str, Tensor]) -> int:
    """Take the number of variants out of a model's tensors. Raises ValueError for one that cannot be."""
    parts = state.pop(_PARTS, torch.tensor(0))
    if parts.shape != () or parts.dtype != torch.int64 or not 0 <= int(parts) <= chain.PARTS:
        raise ValueError("it has a number of parts that cannot be")
    return int(parts)


def _variant(predictors: Sequence[Predictor], given: dict[str, Tensor]) -> tuple[Predictor, ...]:
    """Return the predictors before the first that is calibrated, with what differs in them."""
    found, used = [], 0
    for predictor in itertools.takewhile(lambda one: not one.is_calibrated, predictors):
        start = f"{described(predictor)[0]}."
        own = {k.removeprefix(start): v for k, v in given.items() if k.startswith(start)}
        used += len(own)
        found.append(changed(predictor, own))
    if used != len(given):
        raise ValueError("it has variants of predictors that it does not have")
    return tuple(found)


def context_of(spec: ModelSpec) -> Context:
    """Return what a predictor of this model is put together with."""
    return Context(spec.channels, len(spec.classes), spec.augmentation, spec.backbone, spec.image_size)


def empty_network(spec: ModelSpec) -> Network | Members:
    """Return the network of a model, with initial weights."""
    networks = [
        build_network(
            spec.backbone,
            channels=spec.channels,
            image_size=spec.image_size,
            outputs=len(spec.classes),
            seed=0,
            stages=spec.stages,
        )
        for _ in range(spec.networks)
    ]
    return networks[0] if len(networks) == 1 else Members(networks)


def load(folder: str | Path) -> Model:
    """Read the model of a run folder, or a model folder. No code from it is executed.

    Raises:
        ModelError: when there is no model, or it is damaged, or another version wrote it.
    """
    return Model.load(Path(folder))
