"""Beyond SIT²: label smoothing that knows which classes look alike."""

from __future__ import annotations

from collections.abc import Sequence

from sit2.methods.batches import Originals
from sit2.methods.method import Method
from sit2.methods.targets import SmoothedByConfusion
from sit2.records import ClassPair
from sit2.synthesis.mixer import score_matrix
from sit2.training.phase import Phase, cross_entropy


class ConfusionSmoothing(Method):
    """One phase on the original images; part of a label's mass goes to the classes it is confused with."""

    uses_pairs = True
    settings = ("label_smoothing", "smoothing_emphasis")

    def phases(self, pairs: Sequence[ClassPair], num_classes: int) -> list[Phase]:
        """Return one phase."""
        config = self.config
        targets = SmoothedByConfusion(
            score_matrix(pairs, num_classes), config.label_smoothing, config.smoothing_emphasis
        )
        return [Phase("train", Originals(), targets, cross_entropy, num_classes, share=1.0)]
