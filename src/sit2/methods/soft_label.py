"""Beyond SIT²: one phase on originals and on mixtures of two classes in any proportion."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from typing import TYPE_CHECKING, ClassVar

from sit2.methods.method import METHOD, Smoothable
from sit2.parameters import parameter

if TYPE_CHECKING:
    from sit2.records import ClassPair
    from sit2.training.phase import Phase


@dataclass(frozen=True, kw_only=True)
class SoftLabel(Smoothable):
    """Train on originals and on mixtures of two classes, to predict how much of each they hold.

    Every pair of classes is mixed, confused ones more often. Unlike mixup it never mixes a class with itself,
    and every batch holds unmixed images.
    """

    uses_pairs: ClassVar[bool] = True

    soft_originals: float = parameter(
        0.25,
        "soft-label: fraction of original images in every batch",
        low=0.0,
        high=0.95,
        tune=(0.0, 0.5),
        topic=METHOD,
    )
    soft_alpha: float = parameter(
        0.8,
        "soft-label: Beta(α, α) of how much of the first class a mixture holds",
        low=0.01,
        tune=(0.2, 2.0),
        topic=METHOD,
    )
    soft_emphasis: float = parameter(
        0.5,
        "soft-label: fraction of mixtures from confused pairs, the rest from all pairs",
        low=0.0,
        high=1.0,
        tune=(0.0, 1.0),
        topic=METHOD,
    )
    soft_cut: float = parameter(
        0.0,
        "soft-label: fraction of mixtures cut, not blended",
        low=0.0,
        high=1.0,
        tune=(0.0, 1.0),
        topic=METHOD,
    )

    def phases(self, pairs: Sequence[ClassPair], num_classes: int) -> list[Phase]:
        """Return one phase."""
        from sit2.methods.batches import SoftMixtures
        from sit2.methods.targets import class_proportions
        from sit2.synthesis.mixer import score_matrix
        from sit2.training.phase import Phase, cross_entropy

        batches = SoftMixtures(
            score_matrix(pairs, num_classes),
            emphasis=self.soft_emphasis,
            alpha=self.soft_alpha,
            cut=self.soft_cut,
            original_fraction=self.soft_originals,
        )
        return [Phase("train", batches, class_proportions, cross_entropy, num_classes, fraction=1.0)]
