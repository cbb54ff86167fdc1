"""The controls on original images: one phase, or the two-phase schedule of SIT²."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from typing import TYPE_CHECKING

from sit2.methods.method import METHOD, Method, TwoPhases, train_plainly
from sit2.parameters import parameter

if TYPE_CHECKING:
    from sit2.records import ClassPair
    from sit2.training.phase import Phase


@dataclass(frozen=True, kw_only=True)
class Plain(Method):
    """Train on the original images: ordinary fine-tuning, the control of all others."""

    def phases(self, pairs: Sequence[ClassPair], num_classes: int) -> list[Phase]:
        """Return one phase; pairs are not used."""
        return [train_plainly(num_classes)]


@dataclass(frozen=True, kw_only=True)
class PlainRestart(TwoPhases):
    """Train on the original images by SIT²'s two-phase schedule: what the schedule alone is worth."""

    def phases(self, pairs: Sequence[ClassPair], num_classes: int) -> list[Phase]:
        """Return two phases; pairs are not used."""
        from sit2.methods.batches import Originals
        from sit2.methods.targets import one_class
        from sit2.training.phase import Phase, cross_entropy

        fraction = self.pretrain_fraction
        pretrain = Phase("pretrain", Originals(), one_class, cross_entropy, num_classes, fraction)
        return [pretrain, self.fine_tune(num_classes)]


@dataclass(frozen=True, kw_only=True)
class SmoothedLabels(Method):
    """A method whose labels are smoothed all the time."""

    label_smoothing: float = parameter(
        0.1,
        "fraction of a label that goes to the other classes (label-smoothing, confusion-smoothing)",
        low=0.0,
        high=0.9,
        tune=(0.02, 0.3),
        topic=METHOD,
    )


@dataclass(frozen=True, kw_only=True)
class LabelSmoothing(SmoothedLabels):
    """Train on the original images with smoothed labels (Szegedy et al. 2016)."""

    def phases(self, pairs: Sequence[ClassPair], num_classes: int) -> list[Phase]:
        """Return one phase; pairs are not used."""
        from sit2.methods.batches import Originals
        from sit2.methods.targets import Smoothed
        from sit2.training.phase import Phase, cross_entropy

        targets = Smoothed(self.label_smoothing)
        return [Phase("train", Originals(), targets, cross_entropy, num_classes, fraction=1.0)]
