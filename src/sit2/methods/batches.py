"""What the batches of a phase can be made of."""

from __future__ import annotations

import math
from collections.abc import Sequence
from dataclasses import dataclass, field

import numpy as np
import torch
from torch import Tensor

from sit2.records import ClassPair
from sit2.synthesis.mixer import DEFAULT_OPERATORS, Mixed, draw_not_sure, draw_sure, mix, pair_tensor
from sit2.training.training_set import TrainingSet


def portion(step: int, size: int, fraction: float) -> tuple[int, int]:
    """Return where a step's part of a stream begins, and its length, for a fraction of every batch.

    The lengths differ by one at most, and over n steps they sum to ⌊n · size · fraction⌋.
    """
    start, end = math.floor(step * size * fraction), math.floor((step + 1) * size * fraction)
    return start, end - start


def fading(step: int, size: int, fraction: float, steps: int) -> tuple[int, int]:
    """As :func:`portion`, of a fraction that falls in a line from ``fraction`` to 0 at the end of the steps."""
    start, end = (
        math.floor(size * fraction * done * (1 - done / (2 * steps)))
        for done in (min(step, steps), min(step + 1, steps))
    )
    return start, end - start


@dataclass(frozen=True)
class Originals:
    """The training images themselves."""

    def draw(self, training_set: TrainingSet, step: int, size: int) -> Mixed:
        """Return the next ``size`` images of an endless shuffled reading."""
        rows = training_set.rows(step * size, size)
        return _unmixed(training_set, rows, training_set.take(rows, generator=training_set.generator(step)))


@dataclass(frozen=True)
class Together:
    """The training images themselves, confused classes side by side: half a block of one, half of the other.

    In every reading of the images each class has one partner at most, drawn among its pairs by their scores.
    Blocks and all other images stand in random order, and every image is read once before any is read again, so
    nothing but the company changes.
    """

    pairs: Sequence[ClassPair]
    block: int  # images, an even number

    def draw(self, training_set: TrainingSet, step: int, size: int) -> Mixed:
        """Return the next ``size`` images of an endless shuffled reading."""
        count, start, parts = len(training_set), step * size, []
        while start < (step + 1) * size:
            reading, offset = divmod(start, count)
            take = min((step + 1) * size - start, count - offset)
            parts.append(self._reading(training_set, reading)[offset : offset + take])
            start += take
        rows = torch.cat(parts)
        return _unmixed(training_set, rows, training_set.take(rows, generator=training_set.generator(step)))

    def _reading(self, training_set: TrainingSet, reading: int) -> Tensor:
        """(N,) the rows of one reading: those of a block stand where its first stood."""
        count, half = len(training_set), self.block // 2
        rows = training_set.rows(reading * count, count)
        labels, place = training_set.labels[rows].cpu(), torch.arange(count)
        for a, b in self._partners(training_set.seeds.numpy("partners", reading)):
            one, other = (place[labels == k] for k in (a, b))
            blocks = min(len(one), len(other)) // half
            one, other = (own[_evenly(len(own), blocks * half)].view(blocks, half) for own in (one, other))
            place[other] = place[one] = one[:, :1].expand_as(one).clone()
        return rows[place.argsort(stable=True).to(rows.device)]

    def _partners(self, draw: np.random.Generator) -> list[tuple[int, int]]:
        """Return pairs of which no class stands in two, drawn one after the other by their scores."""
        scores = np.nan_to_num([pair.score for pair in self.pairs], nan=1.0) + 1e-9
        free: set[int] = {k for pair in self.pairs for k in (pair.a, pair.b)}
        found = []
        for n in np.argsort(draw.exponential(size=len(scores)) / scores):
            pair = self.pairs[n]
            if {pair.a, pair.b} <= free:
                free -= {pair.a, pair.b}
                found.append((pair.a, pair.b))
        return found


@dataclass(frozen=True)
class InBatch:
    """mixup and CutMix: every image mixed with another of the same batch, whatever its class."""

    alpha: float  # Beta(α, α) of the weight
    cut: bool  # paste a box instead of blending

    def draw(self, training_set: TrainingSet, step: int, size: int) -> Mixed:
        """Return a batch mixed with itself in another order; one weight per image."""
        generator = training_set.generator(step)
        rows = training_set.rows(step * size, size)
        images = training_set.take(rows, generator=generator)
        other = torch.randperm(size, generator=generator, device=images.device)
        draws = training_set.seeds.numpy("weight", step).beta(self.alpha, self.alpha, size)
        weight = torch.from_numpy(draws).float().to(images.device)
        mask = weight[:, None, None, None]
        if self.cut:
            mask = _box_masks(weight, *images.shape[2:], generator=generator)
        mixed = torch.lerp(images[other], images, mask)
        labels = training_set.labels[rows]
        return Mixed(
            images=mixed,
            left=labels,
            right=labels[other],
            weight=mask.mean(dim=(1, 2, 3)),
            operator=torch.full_like(labels, -1),
            left_row=rows,
            right_row=rows[other],
        )


@dataclass(frozen=True)
class Composites:
    """Originals, sure composites and not-sure images, in fixed fractions of every batch."""

    pairs: Sequence[ClassPair]
    original_fraction: float = 0.0
    sure_fraction: float = 0.5  # the rest are not-sure images
    operators: tuple[str, ...] = DEFAULT_OPERATORS
    fades: bool = False  # at the end of the phase all images are originals; there are no sure composites then
    _pairs: Tensor = field(init=False, repr=False)  # (P, 2) int64

    def __post_init__(self) -> None:
        object.__setattr__(self, "_pairs", pair_tensor(self.pairs))

    def draw(self, training_set: TrainingSet, step: int, size: int) -> Mixed:
        """Return originals first, then sure composites, then not-sure images.

        All parents are augmented on their own, in one batch, before they are mixed.
        """
        generator = training_set.generator(step)
        first, originals = self._originals(training_set, step, size)
        sure = min(portion(step, size, self.sure_fraction)[1], size - originals)  # both may have rounded up
        sure_parents = draw_sure(training_set.index, sure, generator=generator)
        pairs = self._pairs.to(training_set.labels.device)
        parents = draw_not_sure(training_set.index, pairs, size - originals - sure, generator=generator)
        rows = training_set.rows(first, originals)
        left_row = torch.cat([rows, sure_parents.left, parents.left])
        right_row = torch.cat([sure_parents.right, parents.right])
        images = training_set.take(torch.cat([left_row, right_row]), generator=generator)
        plain, left, right = images[:originals], images[originals:size], images[size:]
        mixed, weight, operator = mix(left, right, self.operators, generator=generator)
        right_row = torch.cat([rows, right_row])
        return Mixed(
            images=torch.cat([plain, mixed]),
            left=training_set.labels[left_row],
            right=training_set.labels[right_row],
            weight=torch.cat([torch.ones(originals, device=weight.device), weight]),
            operator=torch.cat([torch.full_like(rows, -1), operator]),
            left_row=left_row,
            right_row=right_row,
        )

    def _originals(self, training_set: TrainingSet, step: int, size: int) -> tuple[int, int]:
        if not self.fades:
            return portion(step, size, self.original_fraction)
        mixed, count = fading(step, size, 1 - self.original_fraction, training_set.steps)
        return step * size - mixed, size - count


@dataclass(frozen=True)
class SoftMixtures:
    """Originals, and mixtures of two different classes in any proportion.

    Every pair of classes is drawn, those with a score more often, in proportion to it.
    """

    scores: Tensor  # (K, K), of :func:`~sit2.synthesis.mixer.score_matrix`
    emphasis: float  # fraction of the mixtures that are of pairs with a score; the rest are of all evenly
    alpha: float  # Beta(α, α) of the weight
    cut: float = 0.0  # fraction of the mixtures that get a pasted box instead of a blend
    original_fraction: float = 0.25

    def draw(self, training_set: TrainingSet, step: int, size: int) -> Mixed:
        """Return originals first, then mixtures; all parents are augmented before they are mixed."""
        generator = training_set.generator(step)
        first, originals = portion(step, size, self.original_fraction)
        pairs, weights = self._weights(training_set)
        count = size - originals if len(pairs) else 0
        parents = draw_not_sure(training_set.index, pairs, count, generator=generator, weights=weights)
        rows = training_set.rows(first, size - count)
        left_row = torch.cat([rows, parents.left])
        images = training_set.take(torch.cat([left_row, parents.right]), generator=generator)
        plain, left, right = images[: len(rows)], images[len(rows) : size], images[size:]
        draws = training_set.seeds.numpy("weight", step).beta(self.alpha, self.alpha, count)
        weight = torch.from_numpy(draws).float().to(images.device)
        mask = weight[:, None, None, None]
        if self.cut > 0:
            boxes = _box_masks(weight, *images.shape[2:], generator=generator)
            cut = torch.rand(count, 1, 1, 1, generator=generator, device=images.device) < self.cut
            mask = torch.where(cut, boxes, mask)
        right_row = torch.cat([rows, parents.right])
        ones = torch.ones(len(rows), device=images.device)
        return Mixed(
            images=torch.cat([plain, torch.lerp(right, left, mask)]),
            left=training_set.labels[left_row],
            right=training_set.labels[right_row],
            weight=torch.cat([ones, mask.mean(dim=(1, 2, 3))]),
            operator=torch.full_like(left_row, -1),
            left_row=left_row,
            right_row=right_row,
        )

    def _weights(self, training_set: TrainingSet) -> tuple[Tensor, Tensor]:
        """(P, 2) every pair of classes that have images, and (P,) how often each is drawn."""
        pairs = torch.combinations(training_set.index.count.nonzero()[:, 0])
        scores = self.scores.to(pairs.device)[pairs[:, 0], pairs[:, 1]]
        even = torch.full_like(scores, 1 / max(1, len(pairs)))
        if not scores.sum() > 0:
            return pairs, even
        return pairs, self.emphasis * scores / scores.sum() + (1 - self.emphasis) * even


def _evenly(count: int, wanted: int) -> Tensor:
    """(wanted,) int64: different places in [0, count), evenly spread."""
    return torch.arange(wanted) * count // max(1, wanted)


def _unmixed(training_set: TrainingSet, rows: Tensor, images: Tensor) -> Mixed:
    labels = training_set.labels[rows]
    ones = torch.ones(len(rows), device=images.device)
    return Mixed(images, labels, labels, ones, torch.full_like(rows, -1), rows, rows)


def _box_masks(weight: Tensor, height: int, width: int, *, generator: torch.Generator) -> Tensor:
    """CutMix's boxes (Yun et al. 2019, eq. 2): area 1 − weight, centre uniform, cut off at the border."""
    centre = torch.rand(2, len(weight), 1, generator=generator, device=weight.device)
    half = (1 - weight).sqrt()[:, None] / 2  # of a side
    rows = (torch.arange(height, device=weight.device) + 0.5) / height
    columns = (torch.arange(width, device=weight.device) + 0.5) / width
    inside_rows = (rows - centre[0]).abs() < half  # (N, H)
    inside_columns = (columns - centre[1]).abs() < half  # (N, W)
    box = inside_rows[:, None, :, None] & inside_columns[:, None, None, :]
    return 1 - box.float()
