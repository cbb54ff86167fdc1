"""Paired bootstrap: how much would the difference between two models vary with other test images?

N samples, K classes, U units that are drawn (images, or whole groups), R resamples. Every metric here is a
function of sums over samples, so R resamples are one product of matrices: (R, U) times drawn @ (U, C) sums.
This module never imports torch.
"""

from __future__ import annotations

from collections.abc import Callable, Iterator, Mapping, Sequence
from dataclasses import dataclass
from typing import Any

import numpy as np

from sit2.evaluation.metrics import sample_losses
from sit2.records import FloatArray, IntArray, Predictions

BLOCK = 4_000_000  # draws that are held in memory at once


@dataclass(frozen=True)
class Sums:
    """What one model's metrics are made of, for each of R (re)samples; counts are whole, as float64."""

    samples: FloatArray  # (R,)
    loss: FloatArray  # (R,) sum of -ln p(label)
    labelled: FloatArray  # (R, K) samples of each class
    predicted: FloatArray  # (R, K) samples predicted as each class
    right: FloatArray  # (R, K) samples of each class that were predicted right


def accuracy(sums: Sums) -> FloatArray:
    """(R,) in [0, 1]."""
    shares: FloatArray = sums.right.sum(axis=1) / sums.samples
    return shares


def balanced_accuracy(sums: Sums) -> FloatArray:
    """(R,) in [0, 1]: mean recall over the classes that the (re)sample holds."""
    return _mean_over_present(sums.right / np.maximum(sums.labelled, 1), sums.labelled)


def macro_f1(sums: Sums) -> FloatArray:
    """(R,) in [0, 1]: mean F1 over the classes that the (re)sample holds."""
    f1 = 2 * sums.right / np.maximum(sums.labelled + sums.predicted, 1)
    return _mean_over_present(f1, sums.labelled)


def log_loss(sums: Sums) -> FloatArray:
    """(R,) at least 0; less is better."""
    return sums.loss / sums.samples


METRICS: dict[str, Callable[[Sums], FloatArray]] = {
    "accuracy": accuracy,
    "macro_f1": macro_f1,
    "balanced_accuracy": balanced_accuracy,
    "log_loss": log_loss,
}


@dataclass(frozen=True)
class Difference:
    """A metric of one model minus that of the other, with its 95 % interval."""

    difference: float
    lower: float
    upper: float

    def to_json(self) -> dict[str, Any]:
        """Return plain numbers."""
        return {"difference": self.difference, "interval": [self.lower, self.upper]}

    @classmethod
    def from_json(cls, content: Mapping[str, Any]) -> Difference:
        """Return what :meth:`to_json` gave; an end that is null was infinite."""
        lower, upper = content["interval"]
        return cls(
            float(content["difference"]),
            -np.inf if lower is None else float(lower),
            np.inf if upper is None else float(upper),
        )


def paired_bootstrap(
    a: Predictions,
    b: Predictions,
    metrics: Mapping[str, Callable[[Sums], FloatArray]] = METRICS,
    *,
    generator: np.random.Generator,
    resamples: int = 2000,
) -> dict[str, Difference]:
    """Return a minus b in every metric, with its 95 % percentile interval (Efron & Tibshirani 1993, ch. 13).

    Both models are seen on the same drawn images, so what makes an image hard for both cancels out. Where the
    predictions have groups, whole groups are drawn: images of one patient are not independent. A class that
    a resample misses is left out of its means.

    Args:
        a, b: predictions on the same samples in the same order; see ``statistics.check_paired``.
        metrics: name -> function of :class:`Sums`.
        generator: the only source of chance.
        resamples: R, how often the test set is drawn anew.
    """
    unit = _units(a)
    sums_a, sums_b = unit_sums(a, unit), unit_sums(b, unit)
    num_units = len(sums_a)
    observed = np.ones((1, num_units))
    all_a, all_b = split_sums(observed @ sums_a), split_sums(observed @ sums_b)
    points = {name: metric(all_a) - metric(all_b) for name, metric in metrics.items()}
    drawn: dict[str, list[FloatArray]] = {name: [] for name in metrics}
    for times in draw_units(num_units, resamples, generator):
        left, right = split_sums(times @ sums_a), split_sums(times @ sums_b)
        for name, metric in metrics.items():
            drawn[name].append(metric(left) - metric(right))
    result = {}
    for name, differences in drawn.items():
        lower, upper = np.quantile(np.concatenate(differences), [0.025, 0.975])
        result[name] = Difference(float(points[name][0]), float(lower), float(upper))
    return result


def draw_units(num_units: int, resamples: int, generator: np.random.Generator) -> Iterator[FloatArray]:
    """Yield blocks (r, U) float64: how often each unit was drawn in each of r resamples, with replacement."""
    size = max(1, BLOCK // num_units)
    for start in range(0, resamples, size):
        rows = min(size, resamples - start)
        unit = generator.integers(num_units, size=(rows, num_units))
        cell = unit + num_units * np.arange(rows)[:, None]
        times = np.bincount(cell.ravel(), minlength=rows * num_units)
        yield times.reshape(rows, num_units).astype(np.float64)


def _units(predictions: Predictions) -> IntArray:
    """(N,) int64: which unit in [0, U) each sample is drawn with."""
    if not predictions.groups:
        return np.arange(len(predictions.ids))
    return np.unique(predictions.groups, return_inverse=True)[1].astype(np.int64)


def common_units(repeats: Sequence[tuple[Predictions, Predictions]]) -> list[IntArray]:
    """(N_r,) int64 for each repeat: which unit each sample is drawn with, the same in all repeats."""
    names = [np.array(a.groups or a.ids) for a, _ in repeats]
    known = np.unique(np.concatenate(names))
    return [np.searchsorted(known, own).astype(np.int64) for own in names]


def unit_sums(predictions: Predictions, unit: IntArray, count: int | None = None) -> FloatArray:
    """(U, 2 + 3K): the fields of :class:`Sums` side by side, for each unit; U is ``count`` where given."""
    n, num_classes = predictions.probabilities.shape
    one_of = np.eye(num_classes)
    labelled = one_of[predictions.labels]
    predicted = one_of[predictions.predicted]
    columns = np.column_stack(
        [np.ones(n), sample_losses(predictions), labelled, predicted, labelled * predicted]
    )
    sums = np.zeros((int(unit.max()) + 1 if count is None else count, columns.shape[1]))
    np.add.at(sums, unit, columns)
    return sums


def split_sums(totals: FloatArray) -> Sums:
    """(R, 2 + 3K) -> its named parts, the sums of R (re)samples."""
    labelled, predicted, right = np.split(totals[:, 2:], 3, axis=1)
    return Sums(totals[:, 0], totals[:, 1], labelled, predicted, right)


def _mean_over_present(values: FloatArray, labelled: FloatArray) -> FloatArray:
    """(R, K) -> (R,): the mean over classes that have samples; the other values are 0 already."""
    present = labelled > 0
    mean: FloatArray = np.where(present, values, 0.0).sum(axis=1) / present.sum(axis=1)
    return mean
