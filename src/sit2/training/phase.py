"""A phase: batches, targets, a loss, a head, a fraction of the budget.

A method is a list of phases; the loop runs them and knows nothing else about the method.
"""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass
from typing import Protocol

import torch
import torch.nn.functional as F
from torch import Tensor

from sit2.synthesis.mixer import Mixed
from sit2.training.training_set import TrainingSet


class Batches(Protocol):
    """Makes the batches of a phase."""

    def draw(self, training_set: TrainingSet, step: int, size: int) -> Mixed:
        """Return exactly ``size`` images for step ``step``: each is one image pass of the budget."""
        ...


Targets = Callable[[Mixed, int], Tensor]  # (mixed of N images, K classes) -> (N, outputs) float32 in [0, 1]
Loss = Callable[[Tensor, Tensor, Tensor | None], Tensor]  # (logits, targets, weight of each output) -> scalar


@dataclass(frozen=True)
class Phase:
    """One stretch of training under one objective."""

    name: str
    batches: Batches
    targets: Targets
    loss: Loss
    outputs: int  # of the head, which is new in every phase
    fraction: float  # of the budget
    encoder_lr: float = 1.0  # relative to the configured learning rate, which the new head always has


def cross_entropy(logits: Tensor, targets: Tensor, weight: Tensor | None) -> Tensor:
    """Softmax cross-entropy with soft targets (N, J); ``weight`` (J,) multiplies each class's part."""
    return F.cross_entropy(logits, targets, weight=weight)


def binary_cross_entropy(logits: Tensor, targets: Tensor, weight: Tensor | None) -> Tensor:
    """Independent sigmoids (N, J), mean over samples and outputs; ``weight`` (J,) as above."""
    return F.binary_cross_entropy_with_logits(logits, targets, weight=weight)


def cross_entropy_or_none(logits: Tensor, targets: Tensor, weight: Tensor | None) -> Tensor:
    """Softmax cross-entropy over J outputs and one more whose logit is 0, which has what a target lacks to 1.

    A softmax does not change when one number is added to all its logits, so an output held at 0 learns as well as
    another; left out at the end, nothing else has to change. ``weight`` (J,) as above, 1 for the last.
    """
    wider = F.pad(logits, (0, 1))
    whole = torch.cat([targets, 1 - targets.sum(dim=1, keepdim=True)], dim=1)
    return F.cross_entropy(wider, whole, weight=None if weight is None else F.pad(weight, (0, 1), value=1.0))


@dataclass(frozen=True)
class CrossEntropyWithMargins:
    """Softmax cross-entropy whose wrong classes have a head start: the margin by which they must be beaten.

    Logit adjustment (Menon et al. 2021) by pairs of classes in place of how common a class is.
    """

    margins: Tensor  # (J, J) float32: what is added to each column's logit for an image of each row's class

    def __call__(self, logits: Tensor, targets: Tensor, weight: Tensor | None) -> Tensor:
        """Logits and targets (N, J); ``weight`` (J,) as above."""
        return cross_entropy(logits + targets @ self.margins.to(logits), targets, weight)


def steps_of(phases: list[Phase], total: int) -> list[int]:
    """Part ``total`` steps among the phases by their fractions; the parts always sum to ``total``.

    The last phase has at least one: its head is the classifier's. What is solved has no phases, and no steps.
    """
    if not phases:
        return []
    whole = sum(p.fraction for p in phases)
    ends, done = [], 0.0
    for phase in phases:
        done += phase.fraction / whole
        ends.append(min(round(done * total), max(0, total - 1)))
    ends[-1] = total
    return [end - start for start, end in zip([0, *ends[:-1]], ends, strict=True)]
