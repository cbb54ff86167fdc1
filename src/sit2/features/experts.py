"""Classifiers between two classes each, in closed form: one for every pair of classes that are confused.

On frozen features of several depths where there are some, else on random convolutional ones. Penalty and
temperature of each are fitted by left-out log-loss on the images of its two classes alone.

Letters: N samples, K classes, P experts, D features, C×H×W image.
"""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass
from typing import Self

import numpy as np
import torch
from torch import Tensor, nn

from sit2.features.closed_form import ClosedForm, kernel_columns
from sit2.features.frozen import Extractor, FrozenClassifier, Linear, fit_linear
from sit2.features.random_features import flips_of
from sit2.features.ridge import Ridge, fit_ridge
from sit2.records import ByteArray, IntArray
from sit2.seeds import Seeds

Fit = Callable[
    [Tensor, IntArray, Sequence[str]], tuple[Tensor, Tensor]
]  # → (D,) slope and () offset of the odds


@dataclass(frozen=True)
class Experts:
    """P experts that share their features: what they say of an image is P log-odds."""

    pairs: Tensor  # (P, 2) int64: the classes of each
    classifier: FrozenClassifier | ClosedForm

    def __call__(self, images: Tensor) -> Tensor:
        """(n, C, H, W) float32 in [0, 1] → (n, P) float64: log-odds of a pair's first class against its second."""
        return self.classifier.scores(images)

    def state(self) -> dict[str, Tensor]:
        """Return all that they are made of, as tensors."""
        own = {f"classifier.{name}": value for name, value in self.classifier.state().items()}
        return {"pairs": self.pairs, **own}

    @classmethod
    def from_state(
        cls,
        state: Mapping[str, Tensor],
        encoder: Callable[[], nn.Module],
        *,
        channels: int,
        num_classes: int,
        mirror: bool,
        dihedral: bool,
    ) -> Self:
        """Put together what :meth:`state` took apart; ``encoder`` makes one of the kind that they looked through.

        Raises:
            ValueError: what does not fit.
            RuntimeError: the encoder is of another kind.
        """
        pairs = state.get("pairs")
        if pairs is None or pairs.dtype != torch.int64 or pairs.ndim != 2 or pairs.shape[1:] != (2,):
            raise ValueError("the experts lack their pairs")
        if not len(pairs) or not 0 <= int(pairs.min()) <= int(pairs.max()) < num_classes:
            raise ValueError("the experts are of other classes")
        own = {k.removeprefix("classifier."): v for k, v in state.items() if k.startswith("classifier.")}
        if not any(name.startswith("encoder.") for name in own):
            made = ClosedForm.from_state(
                own, channels=channels, num_classes=len(pairs), mirror=mirror, dihedral=dihedral
            )
            return cls(pairs, made)
        return cls(pairs, FrozenClassifier.from_state(own, encoder(), len(pairs), mirror=mirror or dihedral))


def fit_experts(
    pairs: Sequence[tuple[int, int]],
    images: ByteArray,
    labels: IntArray,
    *,
    rows: IntArray,
    features: Tensor | None = None,
    extractor: Extractor | None = None,
    groups: Sequence[str] = (),
    mirror: bool = False,
    dihedral: bool = False,
    seeds: Seeds,
    device: torch.device | str = "cpu",
) -> Experts | None:
    """Fit an expert for each pair of classes of which there are samples; None where there is no such pair.

    Args:
        pairs: P pairs of classes.
        images: (M, C, H, W) uint8.
        labels: (N,) in [0, K).
        rows: (N,) in [0, M), the images that count.
        features: (N, D) float32, frozen, of these images, and ``extractor`` what made them; None: random features.
        groups, mirror, dihedral, seeds, device: see :func:`~sit2.features.closed_form.fit_closed_form`.
    """
    there = [pair for pair in pairs if all((labels == k).any() for k in pair)]
    if not there:
        return None
    own = torch.tensor(there, dtype=torch.int64)
    if features is not None and extractor is not None:
        slopes, offsets = _fit(there, features, labels, groups, _linear_odds)
        return Experts(own, FrozenClassifier(extractor, Linear(slopes, offsets)))
    flips = flips_of(mirror=mirror, dihedral=dihedral)
    kernel, root, columns = kernel_columns(images, rows, flips, seeds, device=torch.device(device))
    slopes, offsets = _fit(there, columns, labels, groups, _ridge_odds)
    return Experts(own, ClosedForm(kernel, Ridge(root @ slopes.T, -offsets)))


def _fit(
    pairs: Sequence[tuple[int, int]], features: Tensor, labels: IntArray, groups: Sequence[str], fit: Fit
) -> tuple[Tensor, Tensor]:
    """Return (P, D) float64 slopes and (P,) float64 offsets of the log-odds."""
    found = []
    for a, b in pairs:
        rows = np.flatnonzero((labels == a) | (labels == b))
        names = [groups[n] for n in rows.tolist()] if groups else []
        second = (labels[rows] == b).astype(np.int64)
        found.append(fit(features[torch.from_numpy(rows)], second, names if len(set(names)) > 1 else ()))
    slopes, offsets = zip(*found, strict=True)
    return torch.stack(slopes), torch.stack(offsets)


def _linear_odds(features: Tensor, second: IntArray, groups: Sequence[str]) -> tuple[Tensor, Tensor]:
    linear, _ = fit_linear(features, second, 2, groups=groups)
    return linear.weight[0] - linear.weight[1], linear.bias[0] - linear.bias[1]


def _ridge_odds(features: Tensor, second: IntArray, groups: Sequence[str]) -> tuple[Tensor, Tensor]:
    ridge, _ = fit_ridge(features, second, 2, groups=groups)
    return ridge.slope[:, 0] - ridge.slope[:, 1], ridge.offset[1] - ridge.offset[0]
