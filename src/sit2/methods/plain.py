"""The controls on original images: one phase, or the two-phase schedule of SIT²."""

from __future__ import annotations

from collections.abc import Sequence

from sit2.methods.batches import Originals
from sit2.methods.method import Method, fine_tune, train_plainly
from sit2.methods.targets import Smoothed, one_class
from sit2.records import ClassPair
from sit2.training.phase import Phase, cross_entropy


class Plain(Method):
    """One phase on the original images."""

    def phases(self, pairs: Sequence[ClassPair], num_classes: int) -> list[Phase]:
        """Return one phase; pairs are not used."""
        return [train_plainly(num_classes)]


class PlainRestart(Method):
    """SIT²'s schedule and head reset, on original images only: what the schedule alone is worth."""

    settings = ("pretrain_share", "finetune_lr")

    def phases(self, pairs: Sequence[ClassPair], num_classes: int) -> list[Phase]:
        """Return two phases; pairs are not used."""
        share = self.config.pretrain_share
        pretrain = Phase("pretrain", Originals(), one_class, cross_entropy, num_classes, share)
        return [pretrain, fine_tune(num_classes, self.config)]


class LabelSmoothing(Method):
    """One phase on the original images, labels smoothed (Szegedy et al. 2016)."""

    settings = ("label_smoothing",)

    def phases(self, pairs: Sequence[ClassPair], num_classes: int) -> list[Phase]:
        """Return one phase; pairs are not used."""
        targets = Smoothed(self.config.label_smoothing)
        return [Phase("train", Originals(), targets, cross_entropy, num_classes, share=1.0)]
