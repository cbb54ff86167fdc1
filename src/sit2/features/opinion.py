"""What can be said of images without training: classifiers in closed form on frozen and on random features, pooled.

Frozen features know what objects look like, random convolutional ones see colour and texture at any scale of
training data. Their errors differ, so together they are better than either, most where images are no photographs
(docs/experiments.md, 2026-11-28).

Letters: N samples, K classes, C×H×W image.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import Self

import numpy as np
import torch
from torch import Tensor, nn

from sit2.features.closed_form import ClosedForm, Progress, fit_closed_form
from sit2.features.frozen import Extractor, FrozenClassifier, fit_linear
from sit2.records import ByteArray, FloatArray, IntArray
from sit2.seeds import Seeds

RANDOM = 0.3  # weight of the classifier on random features; the rest is that on frozen ones
INVERSE_TEMPERATURES = (1.0, 1.125, 1.25, 1.5, 1.75, 2.0)  # of the pool, which is less sure than its members


@dataclass(frozen=True)
class Opinion:
    """A classifier in closed form on frozen features and one on random features, as a logarithmic pool."""

    frozen: FrozenClassifier
    random: ClosedForm
    inverse_temperature: float = 1.0

    def __call__(self, images: Tensor) -> Tensor:
        """(n, C, H, W) float32 in [0, 1] → (n, K) float64 log-probabilities."""
        frozen = self.frozen(images)
        pool = torch.lerp(frozen, self.random(images).to(frozen.device), RANDOM)
        return (pool * self.inverse_temperature).log_softmax(dim=1)

    def state(self) -> dict[str, Tensor]:
        """Return all that it is made of, as tensors."""
        return {
            **{f"frozen.{name}": value for name, value in self.frozen.state().items()},
            **{f"random.{name}": value for name, value in self.random.state().items()},
            "pool": torch.tensor(self.inverse_temperature, dtype=torch.float64),
        }

    @classmethod
    def from_state(
        cls,
        state: Mapping[str, Tensor],
        encoder: nn.Module,
        *,
        channels: int,
        num_classes: int,
        mirror: bool,
        dihedral: bool,
    ) -> Self:
        """Put together what :meth:`state` took apart, with an encoder of the same kind.

        Raises:
            ValueError: what does not fit.
            RuntimeError: the encoder is of another kind.
        """

        def part(start: str) -> dict[str, Tensor]:
            return {k.removeprefix(start): v for k, v in state.items() if k.startswith(start)}

        pool = state.get("pool")
        if pool is None or pool.shape != () or not 0 < float(pool) < 100:
            raise ValueError("the classifier in closed form lacks its temperature")
        frozen = FrozenClassifier.from_state(part("frozen."), encoder, num_classes, mirror=mirror or dihedral)
        random = ClosedForm.from_state(
            part("random."), channels=channels, num_classes=num_classes, mirror=mirror, dihedral=dihedral
        )
        return cls(frozen, random, float(pool))


def fit_opinion(
    images: ByteArray,
    labels: IntArray,
    num_classes: int,
    *,
    rows: IntArray,
    features: Tensor,
    extractor: Extractor | None,
    groups: Sequence[str] = (),
    mirror: bool = False,
    dihedral: bool = False,
    seeds: Seeds,
    device: torch.device | str = "cpu",
    progress: Progress | None = None,
) -> tuple[Opinion | None, FloatArray]:
    """Fit both classifiers, and how sure their pool may be, by left-out log-loss.

    Args:
        images: (M, C, H, W) uint8.
        labels: (N,) in [0, K).
        num_classes: K.
        rows: (N,) in [0, M), the images that count.
        features: (N, D) float32, frozen, of these images.
        extractor: what made them; None: the classifier is not wanted.
        groups, mirror, dihedral, seeds, device, progress: see :func:`~sit2.features.closed_form.fit_closed_form`.

    Returns:
        The classifier of all samples, where an extractor was given, and (N, K) float64 probabilities, each row
        without its sample's label, or those of its group.

    Raises:
        DataError: all samples are of one group.
    """
    linear, frozen = fit_linear(features, labels, num_classes, groups=groups)
    random, others = fit_closed_form(
        images,
        labels,
        num_classes,
        rows=rows,
        groups=groups,
        mirror=mirror,
        dihedral=dihedral,
        seeds=seeds,
        device=device,
        progress=progress,
    )
    tiny = np.finfo(np.float64).tiny
    pool = torch.from_numpy((1 - RANDOM) * np.log(frozen + tiny) + RANDOM * np.log(others + tiny))
    each = np.arange(len(labels))

    def loss(inverse_temperature: float) -> float:
        return -float((pool * inverse_temperature).log_softmax(dim=1)[each, labels].mean())

    best = min(INVERSE_TEMPERATURES, key=loss)
    left_out: FloatArray = (pool * best).softmax(dim=1).numpy()
    if extractor is None:
        return None, left_out
    return Opinion(FrozenClassifier(extractor, linear), random, best), left_out
