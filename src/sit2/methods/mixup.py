"""The rivals that mix any two images: mixup, CutMix, and mixup before fine-tuning."""

from __future__ import annotations

from collections.abc import Sequence

from sit2.methods.batches import InBatch
from sit2.methods.method import Method, fine_tune
from sit2.methods.targets import class_shares
from sit2.records import ClassPair
from sit2.training.phase import Phase, cross_entropy


class Mixup(Method):
    """One phase of mixup (Zhang et al. 2018, arXiv 1710.09412)."""

    settings = ("mixup_alpha",)

    def phases(self, pairs: Sequence[ClassPair], num_classes: int) -> list[Phase]:
        """Return one phase; pairs are not used."""
        batches = InBatch(self.config.mixup_alpha, cut=False)
        return [Phase("train", batches, class_shares, cross_entropy, num_classes, share=1.0)]


class CutMix(Method):
    """One phase of CutMix (Yun et al. 2019, arXiv 1905.04899), α = 1 as published."""

    def phases(self, pairs: Sequence[ClassPair], num_classes: int) -> list[Phase]:
        """Return one phase; pairs are not used."""
        batches = InBatch(alpha=1.0, cut=True)
        return [Phase("train", batches, class_shares, cross_entropy, num_classes, share=1.0)]


class MixupFinetune(Method):
    """mixup on SIT²'s schedule: what pretraining on mixtures is worth without not-sure images."""

    settings = ("mixup_alpha", "pretrain_share", "finetune_lr")

    def phases(self, pairs: Sequence[ClassPair], num_classes: int) -> list[Phase]:
        """Return two phases; pairs are not used."""
        batches = InBatch(self.config.mixup_alpha, cut=False)
        share = self.config.pretrain_share
        pretrain = Phase("pretrain", batches, class_shares, cross_entropy, num_classes, share)
        return [pretrain, fine_tune(num_classes, self.config)]
