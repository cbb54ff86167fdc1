"""Draw pairs, parents and operators; mix; remember what each image is made of."""

from __future__ import annotations

import math
from collections.abc import Callable, Sequence
from dataclasses import dataclass
from typing import Any

import torch
from torch import Tensor

from sit2.errors import ConfigError, did_you_mean
from sit2.records import ClassPair
from sit2.synthesis import SYNTHESIZERS

DEFAULT_OPERATORS = ("blend", "halves", "patches")


@dataclass(frozen=True)
class Mixed:
    """Images and what they are made of.

    An original image is the special case ``left == right``, ``weight == 1``, ``operator == -1``. A *sure*
    composite has two parents of one class; a *not-sure* image has parents of two classes.
    """

    images: Tensor  # (N, C, H, W) float32
    left: Tensor  # (N,) int64: class of the left parent
    right: Tensor  # (N,) int64: class of the right parent
    weight: Tensor  # (N,) float32 in [0, 1]: the left parent's share of the image
    operator: Tensor  # (N,) int64: index of the operator that was used, -1 for none
    left_row: Tensor  # (N,) int64: the left parent among the images that the parents were drawn from
    right_row: Tensor  # (N,) int64

    @property
    def not_sure(self) -> Tensor:
        """(N,) bool: which images hold two classes."""
        return self.left != self.right

    def targets(self, num_classes: int) -> Tensor:
        """(N, K) float32, rows sum to 1: the left parent's class has its share, the right one's the rest."""
        shares = torch.zeros(len(self.left), num_classes, device=self.left.device)
        rows = torch.arange(len(self.left), device=self.left.device)
        shares[rows, self.left] = self.weight
        shares[rows, self.right] += 1 - self.weight
        return shares


@dataclass(frozen=True)
class Parents:
    """Which image goes with which: rows into a set of images, not yet mixed."""

    left: Tensor  # (N,) int64 rows
    right: Tensor  # (N,) int64 rows


@dataclass(frozen=True)
class ClassIndex:
    """The rows of each class, so that drawing n parents of n given classes is one indexing operation."""

    order: Tensor  # (N,) int64: rows sorted by class
    start: Tensor  # (K,) int64: where each class begins in ``order``
    count: Tensor  # (K,) int64

    @classmethod
    def of(cls, labels: Tensor, num_classes: int) -> ClassIndex:
        """Index labels (N,) int64 in [0, num_classes)."""
        count = torch.bincount(labels, minlength=num_classes)
        return cls(torch.argsort(labels, stable=True), count.cumsum(0) - count, count)

    def draw(self, classes: Tensor, *, generator: torch.Generator) -> Tensor:
        """Draw one row of each class in ``classes`` (n,), uniformly; every class must have a row."""
        uniform = torch.rand(len(classes), generator=generator, device=classes.device)
        return self.order[self.start[classes] + (uniform * self.count[classes]).long()]

    def draw_other(self, rows: Tensor, classes: Tensor, *, generator: torch.Generator) -> Tensor:
        """Draw a second row of the class of each row: a different one wherever the class has two or more."""
        count = self.count[classes]
        place = torch.empty_like(self.order)
        place[self.order] = torch.arange(len(self.order), device=self.order.device)
        uniform = torch.rand(len(rows), generator=generator, device=rows.device)
        step = 1 + (uniform * (count - 1)).long()  # 1 … count − 1 places on, around the class
        offset = (place[rows] - self.start[classes] + step) % count
        return self.order[self.start[classes] + offset]


def pair_tensor(pairs: Sequence[ClassPair] | Sequence[tuple[int, int]]) -> Tensor:
    """Return class indices (P, 2) int64."""
    indices = [(p.a, p.b) if isinstance(p, ClassPair) else (int(p[0]), int(p[1])) for p in pairs]
    return torch.tensor(indices, dtype=torch.int64).reshape(-1, 2)


def score_matrix(pairs: Sequence[ClassPair], num_classes: int) -> Tensor:
    """Return (K, K) float32: the score of each pair, both ways; 0 where there is none.

    Pairs that were never measured (all pairs, the control) count alike: 1.
    """
    scores = torch.zeros(num_classes, num_classes)
    for pair in pairs:
        scores[pair.a, pair.b] = scores[pair.b, pair.a] = 1.0 if math.isnan(pair.score) else pair.score
    return scores


def draw_not_sure(
    index: ClassIndex, pairs: Tensor, count: int, *, generator: torch.Generator, weights: Tensor | None = None
) -> Parents:
    """Draw parents of two classes: a pair, evenly or by ``weights`` (P,), its order, a row of each class."""
    device = index.order.device
    if weights is None:
        drawn = torch.randint(len(pairs), (count,), generator=generator, device=device)
    else:
        drawn = torch.multinomial(weights, count, replacement=True, generator=generator)
    classes = pairs[drawn]
    swap = torch.rand(count, 1, generator=generator, device=device) < 0.5
    classes = torch.where(swap, classes.flip(1), classes)
    left = index.draw(classes[:, 0], generator=generator)
    return Parents(left, index.draw(classes[:, 1], generator=generator))


def draw_sure(index: ClassIndex, count: int, *, generator: torch.Generator) -> Parents:
    """Draw two different images of one class, classes evenly among those that have two images.

    Where no class has two, an image is its own partner.
    """
    able = (index.count >= min(2, int(index.count.max()))).nonzero()[:, 0]
    drawn = torch.randint(len(able), (count,), generator=generator, device=able.device)
    classes = able[drawn]
    left = index.draw(classes, generator=generator)
    return Parents(left, index.draw_other(left, classes, generator=generator))


def mix(
    left: Tensor, right: Tensor, operators: Sequence[str], *, generator: torch.Generator
) -> tuple[Tensor, Tensor, Tensor]:
    """Mix two batches (N, C, H, W) float32, each image by an operator drawn evenly.

    Returns:
        images (N, C, H, W); weight (N,), the left parent's share; operator (N,) int64, into ``operators``.
    """
    count, _, height, width = left.shape
    operator = torch.randint(len(operators), (count,), generator=generator, device=left.device)
    mask = torch.zeros(count, 1, height, width, device=left.device)
    for number, name in enumerate(operators):
        # Every operator draws for the whole batch: a mask costs less than finding out which rows need it.
        masks = SYNTHESIZERS[name]().masks(count, height, width, generator=generator)
        mask = torch.where((operator == number)[:, None, None, None], masks, mask)
    return torch.lerp(right, left, mask), mask.mean(dim=(1, 2, 3)), operator


class NotSureMixer:
    """Pair mixing as one transform, for anybody's own training loop.

    Each image of a batch is mixed with another image of the batch whose class is confused with its own; an
    image without such a partner stays as it is (``left == right``). ::

        mixer = sit2.NotSureMixer(pairs)
        mixed = mixer(images, labels)
        loss = criterion(model(mixed.images), both_labels(mixed.left, mixed.right))

    Args:
        pairs: class pairs, best from :func:`sit2.select_pairs`, or tuples of class indices.
        operators: names of synthesizers, drawn evenly.

    Raises:
        ConfigError: for no pairs, a pair of one class, no operators, or an unknown one.
    """

    def __init__(
        self,
        pairs: Sequence[ClassPair] | Sequence[tuple[int, int]],
        *,
        operators: Sequence[str] = DEFAULT_OPERATORS,
    ) -> None:
        if len(pairs) == 0:
            raise ConfigError(
                "NotSureMixer got no pairs\nexpected at least one; sit2.select_pairs finds them"
            )
        if not operators:
            raise ConfigError(f"NotSureMixer got no operators\nchoose from {', '.join(SYNTHESIZERS)}")
        for name in operators:
            if name not in SYNTHESIZERS:
                raise ConfigError(f"unknown operator {name!r}\n{did_you_mean(name, SYNTHESIZERS)}")
        self.pairs = pair_tensor(pairs)
        if (self.pairs < 0).any() or (self.pairs[:, 0] == self.pairs[:, 1]).any():
            raise ConfigError("a pair holds a negative class index, or one class twice\nexpected two classes")
        self.operators = tuple(operators)

    def __call__(self, images: Tensor, labels: Tensor, *, generator: torch.Generator | None = None) -> Mixed:
        """Mix a batch.

        Args:
            images: (N, C, H, W) float32.
            labels: (N,) int64.
            generator: source of randomness on the images' device; a fresh unpredictable one if None.
        """
        if generator is None:
            generator = torch.Generator(images.device)
            generator.seed()
        size = 1 + max(int(labels.max()), int(self.pairs.max()))
        allowed = torch.zeros(size, size, dtype=torch.bool, device=labels.device)
        a, b = self.pairs.to(labels.device).unbind(1)
        allowed[a, b] = allowed[b, a] = True
        partners = allowed[labels][:, labels]  # (N, N): who may be mixed with whom
        alone = ~partners.any(dim=1)
        own = torch.arange(len(labels), device=labels.device)
        partners[own, own] |= alone
        right_row = torch.multinomial(partners.float(), 1, generator=generator)[:, 0]
        mixed, weight, operator = mix(images, images[right_row], self.operators, generator=generator)
        keep = alone[:, None, None, None]
        return Mixed(
            images=torch.where(keep, images, mixed),
            left=labels,
            right=labels[right_row],
            weight=torch.where(alone, torch.ones_like(weight), weight),
            operator=torch.where(alone, torch.full_like(operator, -1), operator),
            left_row=own,
            right_row=right_row,
        )

    def collate_fn(self, num_classes: int) -> Callable[[Sequence[Any]], tuple[Tensor, Tensor]]:
        """Return a ``collate_fn`` for a ``DataLoader`` of samples (image (C, H, W) float32, label).

        Its batches are (images (N, C, H, W), targets (N, K) float32), mixed, for a loss that takes probabilities,
        such as ``torch.nn.functional.cross_entropy``. What it draws follows torch's own generator, so that
        ``torch.manual_seed`` repeats it, in worker processes too.
        """
        return _Collate(self, num_classes)


@dataclass(frozen=True)
class _Collate:
    """Collates and mixes; it can be sent to worker processes."""

    mixer: NotSureMixer
    num_classes: int

    def __call__(self, samples: Sequence[Any]) -> tuple[Tensor, Tensor]:
        """Return images (N, C, H, W) and targets (N, K)."""
        images, labels = torch.utils.data.default_collate(list(samples))
        generator = torch.Generator().manual_seed(int(torch.randint(2**62, ())))
        mixed = self.mixer(images, labels.long(), generator=generator)
        return mixed.images, mixed.targets(self.num_classes)
