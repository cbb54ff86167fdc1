"""Ridge regression as a classifier, in closed form: what it says of each sample without its label is known too.

Letters: N samples, K classes, D features.
"""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from dataclasses import dataclass

import numpy as np
import torch
import torch.nn.functional as F
from torch import Tensor

from sit2.errors import DataError
from sit2.records import FloatArray, IntArray

AT_ONCE = 4096  # samples that are held as float64
SMALLEST_SPREAD = 1e-3  # of a feature, so that one which is always the same counts for nothing
PENALTIES = tuple(10.0**p for p in np.arange(-4, 2.1, 0.5))
INVERSE_TEMPERATURES = (
    1.0,
    1.5,
    2.0,
    3.0,
    4.0,
    6.0,
    8.0,
    12.0,
    16.0,
    24.0,
    32.0,
)  # of softmax over regression scores


@dataclass(frozen=True)
class Ridge:
    """Class scores that are linear in the features."""

    slope: Tensor  # (D, K) float64
    offset: Tensor  # (K,) float64

    def __call__(self, features: Tensor) -> Tensor:
        """(n, D) float64 → (n, K) float64 log-probabilities."""
        return self.scores(features).log_softmax(dim=1)

    def scores(self, features: Tensor) -> Tensor:
        """(n, D) float64 → (n, K) float64, before the softmax."""
        return features @ self.slope - self.offset


@dataclass(frozen=True)
class Columns:
    """(N, D) features, centred and scaled a part at a time, so that all of them are never held as float64."""

    values: Tensor  # (N, D) float32 or float64
    middle: Tensor  # (D,) float64
    scale: Tensor  # (D,) float64

    @classmethod
    def of(cls, values: Tensor, *, scaled: bool) -> Columns:
        """Centre features and, if ``scaled``, divide each by its spread, and all by the root of their number."""
        parts = torch.split(values, AT_ONCE)
        middle = torch.stack([part.double().sum(dim=0) for part in parts]).sum(dim=0) / len(values)
        if not scaled:
            return cls(values, middle, torch.ones_like(middle))
        squares = torch.stack([(part.double() - middle).square().sum(dim=0) for part in parts]).sum(dim=0)
        return cls(
            values, middle, ((squares / len(values)).sqrt() + SMALLEST_SPREAD) * values.shape[1] ** 0.5
        )

    def __call__(self, rows: Tensor | slice = slice(None)) -> Tensor:
        """Return (n, D) float64 of the samples ``rows``."""
        return (self.values[rows].double() - self.middle) / self.scale

    def products(self, target: Tensor) -> tuple[Tensor, Tensor]:
        """Return Xᵀ X (D, D) and Xᵀ Y (D, K) for Y (N, K)."""
        count, width = self.values.shape
        gram = target.new_zeros(width, width)
        cross = target.new_zeros(width, target.shape[1])
        for start in range(0, count, AT_ONCE):
            rows = slice(start, start + AT_ONCE)
            part = self(rows)
            gram += part.T @ part
            cross += part.T @ target[rows]
        return gram, cross


def fit_ridge(
    features: Tensor, labels: IntArray, num_classes: int, *, groups: Sequence[str] = (), scaled: bool = False
) -> tuple[Ridge, FloatArray]:
    """Fit class indicators by ridge regression; penalty and temperature by left-out log-loss.

    Beside the features themselves it holds a few thousand rows at a time.

    Args:
        features: (N, D) float32 or float64; computed with as float64.
        labels: (N,) in [0, K).
        num_classes: K.
        groups: N names of patients, slides, …; empty where there are none.
        scaled: standardise each feature first.

    Returns:
        The classifier of all samples, and (N, K) float64 probabilities, each row from a classifier that did
        not see its sample's label, nor those of its group.

    Raises:
        DataError: all samples are of one group.
    """
    if len(groups) and len(set(groups)) == 1:
        raise DataError(
            "all images are of one group, so none can be left out\n"
            "expected at least two groups; --groups none ignores them"
        )
    device = features.device
    columns = Columns.of(features, scaled=scaled)
    target = F.one_hot(torch.from_numpy(labels.astype(np.int64)), num_classes).double().to(device)
    left_out = LeftOut.of(columns, target)
    parts = [part for block in _blocks(groups, len(labels), device) for part in _split(block)]
    losses = target.new_zeros(len(PENALTIES), len(INVERSE_TEMPERATURES))
    for part in parts:
        true = target[part.flatten()]
        for p, scores in enumerate(left_out(part)):
            for t, inverse_temperature in enumerate(INVERSE_TEMPERATURES):
                losses[p, t] -= ((scores * inverse_temperature).log_softmax(dim=1) * true).sum()
    best = int(losses.nan_to_num(nan=torch.inf).argmin())
    penalty = PENALTIES[best // len(INVERSE_TEMPERATURES)]
    inverse_temperature = INVERSE_TEMPERATURES[best % len(INVERSE_TEMPERATURES)]
    probabilities = torch.empty_like(target)
    for part in parts:
        (scores,) = left_out(part, (penalty,))
        probabilities[part.flatten()] = (scores * inverse_temperature).softmax(dim=1)
    identity = torch.eye(features.shape[1], dtype=target.dtype, device=device)
    slope = torch.linalg.solve(left_out.gram + penalty * identity, left_out.cross) * inverse_temperature
    slope = slope / columns.scale[:, None]
    ridge = Ridge(slope, columns.middle @ slope - left_out.prior * inverse_temperature)
    return ridge, probabilities.cpu().numpy()


def _blocks(groups: Sequence[str], count: int, device: torch.device) -> list[Tensor]:
    """Return the rows of all groups of one size as (groups, size), size after size."""
    if not groups:
        return [torch.arange(count, device=device)[:, None]]
    _, member = np.unique(np.array(groups), return_inverse=True)
    order = np.argsort(member, kind="stable")
    sizes = np.bincount(member)
    starts = np.cumsum(sizes) - sizes
    return [
        torch.from_numpy(order[starts[sizes == size][:, None] + np.arange(size)]).to(device)
        for size in np.unique(sizes)
    ]


def _split(block: Tensor) -> Sequence[Tensor]:
    """Return (groups, size) rows in parts that are held at once."""
    return torch.split(block, max(1, AT_ONCE // block.shape[1]))


@dataclass(frozen=True)
class LeftOut:
    """What ridge regression says of samples whose labels it did not see.

    With the fitted values ŷ = H y, those without block b are y_b − (I − H_bb)⁻¹ (y − ŷ)_b: the identity of
    leave-one-out residuals, for blocks. H holds the intercept too, so it is left out like the rest.
    """

    columns: Columns
    centred: Tensor  # (N, K) float64: targets, less the prior
    prior: Tensor  # (K,) float64: the intercept, where features are centred
    gram: Tensor  # (D, D) float64
    cross: Tensor  # (D, K) float64: features by targets
    values: Tensor  # (D,) float64: the gram matrix's eigenvalues
    vectors: Tensor  # (D, D) float64
    projected: Tensor  # (D, K) float64: features by targets, along these

    @classmethod
    def of(cls, columns: Columns, target: Tensor) -> LeftOut:
        """Take apart what is the same for every penalty and sample."""
        prior = target.mean(dim=0)
        centred = target - prior
        gram, cross = columns.products(centred)
        values, vectors = torch.linalg.eigh(gram)
        return cls(columns, centred, prior, gram, cross, values.clamp(min=0), vectors, vectors.T @ cross)

    def __call__(self, rows: Tensor, penalties: Sequence[float] = PENALTIES) -> Iterator[Tensor]:
        """Yield, for each penalty, the scores (g · s, K) of g blocks of s samples, ``rows`` (g, s)."""
        turned = (self.columns(rows.flatten()) @ self.vectors).view(*rows.shape, -1)  # (g, s, D)
        own = self.centred[rows]
        for penalty in penalties:
            shrink = 1 / (self.values + penalty)
            rest = own - turned @ (shrink[:, None] * self.projected)
            fitted = turned * shrink @ turned.mT + 1 / len(self.centred)  # H_bb; 1 / N is the intercept's
            left = torch.eye(rows.shape[1], dtype=own.dtype, device=own.device) - fitted
            alone = rows.shape[1] == 1
            residual = rest / left.clamp(min=1e-6) if alone else torch.linalg.solve(left, rest)
            yield (own - residual + self.prior).flatten(0, 1)
