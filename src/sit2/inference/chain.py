"""Predictors in a row: observe images once, then fit and apply as often as one likes.

Letters: N images, K classes, C×H×W pixels.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass, replace

import numpy as np
import torch
from torch import Tensor

from sit2.inference.predictors.predictor import Ask, Calibration, Outputs, Predictor
from sit2.records import IntArray
from sit2.seeds import Seeds

PARTS = 5  # of the validation images, when predictors are fitted without the part that they then answer for


@dataclass(frozen=True)
class Observations:
    """All that a model knows about N images: what its network says, and what each predictor saw."""

    first: Tensor  # (N, K) float64: the network's log-probabilities
    observed: tuple[Tensor | None, ...]  # one for each predictor: (N, …), or nothing

    @classmethod
    def of(cls, predictors: Sequence[Predictor], images: Tensor, ask: Ask) -> Observations:
        """Look at (N, C, H, W) float32 images in [0, 1]; this is what costs time."""
        return cls(ask(images), tuple(predictor.observe(images, ask) for predictor in predictors))

    @classmethod
    def joined(cls, parts: Sequence[Observations]) -> Observations:
        """Put batches together."""
        columns = zip(*(part.observed for part in parts), strict=True)
        return cls(
            torch.cat([part.first for part in parts]),
            tuple(None if column[0] is None else torch.cat(column) for column in columns),
        )

    def until(self, count: int) -> Observations:
        """Return what the first predictors saw."""
        return Observations(self.first, self.observed[:count])

    def take(self, rows: Tensor) -> Observations:
        """Return those of the images ``rows``."""
        return Observations(
            self.first[rows], tuple(None if one is None else one[rows] for one in self.observed)
        )


Variants = tuple[tuple[Predictor, ...], ...]  # the first predictors, fitted without each part of the images


def apply(predictors: Sequence[Predictor], seen: Observations, variants: Variants = ()) -> Outputs:
    """Return what the predictors make of N images, one after the other.

    ``variants`` are of those before the first that is calibrated, which gets what each of them says.
    """
    outputs = Outputs(seen.first, seen.first)
    for predictor, observed in zip(predictors, seen.observed, strict=True):
        if variants and predictor.is_calibrated and outputs.left_out is None:
            said = [apply(one, seen.until(len(one))).log_probabilities for one in variants]
            outputs = replace(outputs, left_out=torch.stack(said))
        outputs = predictor(outputs, observed)
    return outputs


def fitted(predictors: Sequence[Predictor], seen: Observations, labels: Tensor) -> tuple[Predictor, ...]:
    """Return the predictors, each fitted to what those before it make of N images of known classes.

    ``labels`` is (N,) int64 in [0, K).
    """
    outputs, done = Outputs(seen.first, seen.first), []
    for predictor, observed in zip(predictors, seen.observed, strict=True):
        one = predictor.fit(outputs, observed, labels)
        outputs = one(outputs, observed)
        done.append(one)
    return tuple(done)


def cross_fitted(
    predictors: Sequence[Predictor], seen: Observations, labels: Tensor, groups: Sequence[str], seeds: Seeds
) -> Tensor:
    """Return (N, K) log-probabilities of N images, each from predictors that were not fitted to its part.

    Images of one group are in one part. Where nothing is fitted, or there are fewer than two groups, it is
    what the predictors as they are say.
    """
    return _left_out(predictors, seen, labels, groups, seeds)[0]


def calibrated(
    predictors: Sequence[Predictor],
    seen: Observations,
    labels: Tensor,
    groups: Sequence[str],
    seeds: Seeds,
    *,
    unfitted: Sequence[Predictor] = (),
) -> tuple[tuple[Predictor, ...], Variants]:
    """Return fitted predictors, calibrated to N images of known classes, and the variants that these need.

    Args:
        predictors: fitted.
        seen: of the images.
        labels: (N,) int64 in [0, K).
        groups: N names of images that are not independent of each other, or none.
        seeds: of the parts, and of which image of a group counts.
        unfitted: the predictors before they were fitted, where that was done to these very images: those before
            the first that is calibrated are fitted again without each part of them.
    """
    first = next((n for n, one in enumerate(predictors) if one.is_calibrated), len(predictors))
    if first == len(predictors):
        return tuple(predictors), ()
    before = seen.until(first)
    if any(one.is_fitted for one in unfitted[:first]):
        answers, part, variants = _left_out(unfitted[:first], before, labels, groups, seeds)
        if not variants:
            return tuple(predictors), ()  # a single group: nothing can be said without it
    else:
        answers = apply(predictors[:first], before).log_probabilities
        part, variants = np.zeros(len(labels), np.int64), ()
    known = Calibration(labels, torch.from_numpy(part), not variants, tuple(groups), seeds)
    outputs, done = Outputs(seen.first, answers), list(predictors[:first])
    for predictor, observed in zip(predictors[first:], seen.observed[first:], strict=True):
        done.append(predictor.calibrate(outputs, observed, known) if predictor.is_calibrated else predictor)
    return tuple(done), variants


def _left_out(
    predictors: Sequence[Predictor], seen: Observations, labels: Tensor, groups: Sequence[str], seeds: Seeds
) -> tuple[Tensor, IntArray, Variants]:
    """Return what predictors say that were not fitted to each image's part, (N,) the parts, and the predictors.

    Where nothing is fitted, or there are fewer than two groups, there is one part and none of the latter.
    """
    number = _parts(len(labels), groups, seeds)
    if not any(predictor.is_fitted for predictor in predictors) or len(np.unique(number)) < 2:
        return apply(predictors, seen).log_probabilities, np.zeros_like(number), ()
    found, variants = torch.empty_like(seen.first), []
    for part in np.unique(number):
        inside, outside = (torch.from_numpy(np.flatnonzero(of)) for of in (number == part, number != part))
        without = fitted(predictors, seen.take(outside), labels[outside])
        found[inside] = apply(without, seen.take(inside)).log_probabilities
        variants.append(without)
    return found, np.unique(number, return_inverse=True)[1].astype(np.int64), tuple(variants)


def _parts(count: int, groups: Sequence[str], seeds: Seeds) -> IntArray:
    """(N,) int64 in [0, PARTS): groups dealt like cards in random order."""
    member = np.unique(groups, return_inverse=True)[1] if groups else np.arange(count)
    deal: IntArray = np.arange(int(member.max(initial=-1)) + 1) % PARTS
    dealt: IntArray = seeds.numpy("parts").permutation(deal)[member]
    return dealt
