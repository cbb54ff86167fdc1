"""From a method and the chosen pairs to the phases that the loop runs."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import replace
from typing import TYPE_CHECKING

from sit2.methods.method import Method, Smoothable, train_plainly

if TYPE_CHECKING:
    from sit2.records import ClassPair
    from sit2.seeds import Seeds
    from sit2.training.phase import Phase


def pairs_from(
    source: str, chosen: Sequence[ClassPair], classes: Sequence[str], seeds: Seeds
) -> list[ClassPair]:
    """Return the pairs that a recipe uses.

    ``random`` takes as many pairs as were chosen, drawn evenly from those that were not, and gives them the
    scores of the chosen ones; ``all`` takes every pair.
    """
    from sit2.confusion.pairs import all_pairs, random_pairs

    if source == "random":
        drawn = random_pairs(classes, len(chosen), seeds.numpy("random pairs"), avoid=chosen)
        return [replace(pair, score=real.score) for pair, real in zip(drawn, chosen, strict=True)]
    return all_pairs(classes) if source == "all" else list(chosen)


def overlap(source: str, chosen: Sequence[ClassPair], num_classes: int) -> int:
    """Return how many of a recipe's pairs are chosen ones, though it asks for random ones: too few are left."""
    others = num_classes * (num_classes - 1) // 2 - len(chosen)
    return max(0, len(chosen) - others) if source == "random" else 0


def make_phases(method: Method, pairs: Sequence[ClassPair], num_classes: int) -> list[Phase]:
    """Return the phases of a method; one that has no pairs to train with trains plainly."""
    if method.uses_pairs and not pairs:
        return [train_plainly(num_classes)]
    phases = method.phases(pairs, num_classes)
    if isinstance(method, Smoothable) and method.phase_smoothing:
        phases = [_smoothed(phase, method.phase_smoothing) for phase in phases]
    return phases


def _smoothed(phase: Phase, epsilon: float) -> Phase:
    from sit2.methods.targets import SmoothedTargets
    from sit2.training.phase import cross_entropy

    if phase.loss is not cross_entropy:
        return phase
    return replace(phase, targets=SmoothedTargets(phase.targets, epsilon))
