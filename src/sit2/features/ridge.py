"""Ridge regression as a classifier, in closed form: what it says of each sample without its label is known too.

Letters: N samples, K classes, D features.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass

import numpy as np
import torch
import torch.nn.functional as F
from torch import Tensor

from sit2.errors import DataError
from sit2.records import FloatArray, IntArray

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


def fit_ridge(
    features: Tensor, labels: IntArray, num_classes: int, *, groups: Sequence[str] = ()
) -> tuple[Ridge, FloatArray]:
    """Fit class indicators by ridge regression; penalty and temperature by left-out log-loss.

    Args:
        features: (N, D) float64.
        labels: (N,) in [0, K).
        num_classes: K.
        groups: N names of patients, slides, …; empty where there are none.

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
    middle = features.mean(dim=0)
    features = features - middle
    target = F.one_hot(torch.from_numpy(labels.astype(np.int64)), num_classes).double().to(device)
    blocks = _blocks(groups, len(labels), device)
    best, best_loss, chosen = target, float("inf"), (PENALTIES[-1], INVERSE_TEMPERATURES[0])
    for penalty, scores in zip(PENALTIES, _left_out_scores(features, target, blocks), strict=True):
        for inverse_temperature in INVERSE_TEMPERATURES:
            log_p = (scores * inverse_temperature).log_softmax(dim=1)
            loss = float(-(log_p * target).sum(dim=1).mean())
            if loss < best_loss:
                best, best_loss, chosen = log_p, loss, (penalty, inverse_temperature)
    penalty, inverse_temperature = chosen
    gram = features.T @ features + penalty * torch.eye(features.shape[1], dtype=features.dtype, device=device)
    prior = target.mean(dim=0)  # the intercept, where features are centred
    slope = torch.linalg.solve(gram, features.T @ (target - prior)) * inverse_temperature
    probabilities: FloatArray = best.exp().cpu().numpy()
    return Ridge(slope, middle @ slope - prior * inverse_temperature), probabilities


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


def _left_out_scores(features: Tensor, target: Tensor, blocks: list[Tensor]) -> list[Tensor]:
    """Return, for every penalty, the (N, K) scores of ridge regression that left out each block's labels.

    With the fitted values ŷ = H y, those without block b are y_b − (I − H_bb)⁻¹ (y − ŷ)_b: the identity of
    leave-one-out residuals, for blocks. H holds the intercept too, so it is left out like the rest.
    """
    count, prior = len(features), target.mean(dim=0)
    values, vectors = torch.linalg.eigh(features.T @ features)
    turned = features @ vectors  # (N, D)
    centred = target - prior
    projected = turned.T @ centred
    all_scores = []
    for penalty in PENALTIES:
        shrink = 1 / (values.clamp(min=0) + penalty)
        rest = centred - turned @ (shrink[:, None] * projected)
        scores = torch.empty_like(target)
        for rows in blocks:
            part = turned[rows]  # (groups, size, D)
            own = part * shrink @ part.mT + 1 / count  # H_bb; 1 / N is the intercept's
            left = torch.eye(rows.shape[1], dtype=own.dtype, device=own.device) - own
            if rows.shape[1] == 1:
                scores[rows[:, 0]] = centred[rows[:, 0]] - rest[rows[:, 0]] / left[:, 0].clamp(min=1e-6)
            else:
                scores[rows] = centred[rows] - torch.linalg.solve(left, rest[rows])
        all_scores.append(scores + prior)
    return all_scores
