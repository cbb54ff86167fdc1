"""Beyond SIT²: label smoothing that knows which classes look alike."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from typing import TYPE_CHECKING, ClassVar

from sit2.methods.method import METHOD
from sit2.methods.plain import SmoothedLabels
from sit2.parameters import parameter

if TYPE_CHECKING:
    from sit2.records import ClassPair
    from sit2.training.phase import Phase


@dataclass(frozen=True, kw_only=True)
class ConfusionSmoothing(SmoothedLabels):
    """Train on the original images with labels smoothed towards the classes that each is confused with."""

    uses_pairs: ClassVar[bool] = True

    smoothing_emphasis: float = parameter(
        0.5,
        "confusion-smoothing: fraction of the smoothing that goes to confused classes, the rest to all",
        low=0.0,
        high=1.0,
        tune=(0.0, 1.0),
        topic=METHOD,
    )

    def phases(self, pairs: Sequence[ClassPair], num_classes: int) -> list[Phase]:
        """Return one phase."""
        from sit2.methods.batches import Originals
        from sit2.methods.targets import SmoothedByConfusion
        from sit2.synthesis.mixer import score_matrix
        from sit2.training.phase import Phase, cross_entropy

        scores = score_matrix(pairs, num_classes)
        targets = SmoothedByConfusion(scores, self.label_smoothing, self.smoothing_emphasis)
        return [Phase("train", Originals(), targets, cross_entropy, num_classes, fraction=1.0)]
