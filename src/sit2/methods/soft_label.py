"""Beyond SIT²: one phase on originals and on mixtures of two classes in any proportion."""

from __future__ import annotations

from collections.abc import Sequence

from sit2.methods.batches import SoftMixtures
from sit2.methods.method import Method
from sit2.methods.targets import SmoothedShares
from sit2.records import ClassPair
from sit2.synthesis.mixer import score_matrix
from sit2.training.phase import Phase, cross_entropy


class SoftLabel(Method):
    """Predict the share of each class; every pair of classes is mixed, confused ones more often.

    Unlike mixup it never mixes a class with itself, and every batch holds unmixed images.
    """

    uses_pairs = True
    settings = ("soft_originals", "soft_alpha", "soft_emphasis", "soft_cut", "soft_smoothing")

    def phases(self, pairs: Sequence[ClassPair], num_classes: int) -> list[Phase]:
        """Return one phase."""
        config = self.config
        batches = SoftMixtures(
            score_matrix(pairs, num_classes),
            emphasis=config.soft_emphasis,
            alpha=config.soft_alpha,
            cut=config.soft_cut,
            original_share=config.soft_originals,
        )
        targets = SmoothedShares(config.soft_smoothing)
        return [Phase("train", batches, targets, cross_entropy, num_classes, share=1.0)]
