"""The rivals that mix any two images: mixup, CutMix, and mixup before fine-tuning."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from typing import TYPE_CHECKING

from sit2.methods.method import METHOD, Method, TwoPhases
from sit2.parameters import parameter

if TYPE_CHECKING:
    from sit2.records import ClassPair
    from sit2.training.phase import Phase


@dataclass(frozen=True, kw_only=True)
class Blending(Method):
    """A method that blends any two images of a batch."""

    mixup_alpha: float = parameter(
        0.2, "mixup: Beta(α, α) of the weight; cutmix uses α = 1", low=0.01, tune=(0.1, 1.0), topic=METHOD
    )


@dataclass(frozen=True, kw_only=True)
class Mixup(Blending):
    """Train on blends of any two images (mixup: Zhang et al. 2018, arXiv 1710.09412)."""

    def phases(self, pairs: Sequence[ClassPair], num_classes: int) -> list[Phase]:
        """Return one phase; pairs are not used."""
        return [_mixed_phase("train", self.mixup_alpha, num_classes)]


@dataclass(frozen=True, kw_only=True)
class CutMix(Method):
    """Train on images with a box of another image in each (CutMix: Yun et al. 2019, arXiv 1905.04899)."""

    def phases(self, pairs: Sequence[ClassPair], num_classes: int) -> list[Phase]:
        """Return one phase, with α = 1 as published; pairs are not used."""
        return [_mixed_phase("train", 1.0, num_classes, cut=True)]


@dataclass(frozen=True, kw_only=True)
class MixupFinetune(TwoPhases, Blending):
    """Pretrain with mixup, fine-tune on the original images: SIT²'s schedule without not-sure images."""

    def phases(self, pairs: Sequence[ClassPair], num_classes: int) -> list[Phase]:
        """Return two phases; pairs are not used."""
        pretrain = _mixed_phase("pretrain", self.mixup_alpha, num_classes, fraction=self.pretrain_fraction)
        return [pretrain, self.fine_tune(num_classes)]


def _mixed_phase(
    name: str, alpha: float, num_classes: int, *, cut: bool = False, fraction: float = 1.0
) -> Phase:
    from sit2.methods.batches import InBatch
    from sit2.methods.targets import class_proportions
    from sit2.training.phase import Phase, cross_entropy

    return Phase(name, InBatch(alpha, cut=cut), class_proportions, cross_entropy, num_classes, fraction)
