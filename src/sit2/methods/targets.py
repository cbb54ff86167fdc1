"""What the network is asked to say about an image: (N mixed images, K classes) → (N, outputs) float32."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass, field

import torch
import torch.nn.functional as F
from torch import Tensor

from sit2.records import ClassPair
from sit2.synthesis.mixer import Mixed, pair_tensor
from sit2.training.phase import Targets


def one_class(mixed: Mixed, num_classes: int) -> Tensor:
    """(N, K): 1 at the class of an image that holds only one."""
    return F.one_hot(mixed.left, num_classes).float()


def class_proportions(mixed: Mixed, num_classes: int) -> Tensor:
    """(N, K): how much of the image is each class's, as mixup and CutMix ask for it."""
    left = F.one_hot(mixed.left, num_classes)
    right = F.one_hot(mixed.right, num_classes)
    return torch.lerp(right.float(), left.float(), mixed.weight[:, None])


def both_classes(mixed: Mixed, num_classes: int) -> Tensor:
    """(N, K): 1 at each class that composite n holds (once, where both parents agree)."""
    left = F.one_hot(mixed.left, num_classes)
    right = F.one_hot(mixed.right, num_classes)
    return (left | right).float()


def sure_or_not(mixed: Mixed, num_classes: int) -> Tensor:  # noqa: ARG001 (all targets are called alike)
    """(N, 1): 1 where the image holds two classes."""
    return mixed.not_sure[:, None].float()


def class_or_not_sure(mixed: Mixed, num_classes: int) -> Tensor:
    """(N, K + 1): the class, or the last place where the image holds two classes."""
    place = torch.where(mixed.not_sure, num_classes, mixed.left)
    return F.one_hot(place, num_classes + 1).float()


def class_or_none(mixed: Mixed, num_classes: int) -> Tensor:
    """(N, K): 1 at the class, and nothing where the image holds two."""
    return one_class(mixed, num_classes) * ~mixed.not_sure[:, None]


@dataclass(frozen=True)
class Smoothed:
    """Label smoothing (Szegedy et al. 2016): the class keeps 1 − ε, all K classes get equal parts of ε."""

    epsilon: float

    def __call__(self, mixed: Mixed, num_classes: int) -> Tensor:
        """(N, K)."""
        return one_class(mixed, num_classes) * (1 - self.epsilon) + self.epsilon / num_classes


@dataclass(frozen=True)
class SmoothedTargets:
    """Any targets that sum to 1, smoothed: all J outputs get equal parts of ε."""

    targets: Targets
    epsilon: float

    def __call__(self, mixed: Mixed, num_classes: int) -> Tensor:
        """(N, J)."""
        targets = self.targets(mixed, num_classes)
        return targets * (1 - self.epsilon) + self.epsilon / targets.shape[1]


@dataclass(frozen=True)
class SmoothedByConfusion:
    """Label smoothing whose mass goes to the classes that a class is confused with, as well as to all.

    The class keeps 1 − ε; of ε, the fraction ``emphasis`` is divided among the class's partners in the pairs, in
    proportion to the pairs' scores, and the rest evenly among all K. A class without a partner has ordinary
    label smoothing.
    """

    scores: Tensor  # (K, K), of :func:`~sit2.synthesis.mixer.score_matrix`
    epsilon: float
    emphasis: float
    _spread: Tensor = field(init=False, repr=False)  # (K, K) rows sum to 1

    def __post_init__(self) -> None:
        total, even = self.scores.sum(dim=1, keepdim=True), 1 / len(self.scores)
        partners = torch.where(total > 0, self.scores / total.clamp(min=1e-12), even)
        object.__setattr__(self, "_spread", self.emphasis * partners + (1 - self.emphasis) * even)

    def __call__(self, mixed: Mixed, num_classes: int) -> Tensor:
        """(N, K)."""
        spread = self._spread.to(mixed.left.device)[mixed.left]
        return one_class(mixed, num_classes) * (1 - self.epsilon) + self.epsilon * spread


@dataclass(frozen=True)
class ClassOrPair:
    """(N, K + P): the class, or the place of the pair whose two classes the image holds."""

    pairs: Sequence[ClassPair]
    _pairs: Tensor = field(init=False, repr=False)

    def __post_init__(self) -> None:
        object.__setattr__(self, "_pairs", pair_tensor(self.pairs))

    def __call__(self, mixed: Mixed, num_classes: int) -> Tensor:
        """Raise nothing: a mixture of classes that are no pair does not occur in a phase's batches."""
        pairs = self._pairs.to(mixed.left.device)
        place = torch.zeros(num_classes, num_classes, dtype=torch.int64, device=pairs.device)
        numbers = num_classes + torch.arange(len(pairs), device=pairs.device)
        place[pairs[:, 0], pairs[:, 1]] = numbers
        place[pairs[:, 1], pairs[:, 0]] = numbers
        classes = torch.where(mixed.not_sure, place[mixed.left, mixed.right], mixed.left)
        return F.one_hot(classes, num_classes + len(pairs)).float()
