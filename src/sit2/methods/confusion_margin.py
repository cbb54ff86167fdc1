"""Beyond SIT²: borders pushed hardest where classes touch."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from typing import TYPE_CHECKING, ClassVar

from sit2.methods.method import METHOD, Method
from sit2.parameters import parameter

if TYPE_CHECKING:
    from sit2.records import ClassPair
    from sit2.training.phase import Phase


@dataclass(frozen=True, kw_only=True)
class ConfusionMargin(Method):
    """Train on the original images, each ahead of the classes it is confused with by a margin.

    While training, α times the confusion of two classes is added to the logit of the wrong one.
    """

    uses_pairs: ClassVar[bool] = True

    margin_alpha: float = parameter(
        2.0,
        "confusion-margin: α, of the margin α · confusion in logits",
        low=0.0,
        high=100.0,
        tune=(0.5, 8.0),
        topic=METHOD,
    )

    def phases(self, pairs: Sequence[ClassPair], num_classes: int) -> list[Phase]:
        """Return one phase."""
        from sit2.methods.batches import Originals
        from sit2.methods.targets import one_class
        from sit2.synthesis.mixer import score_matrix
        from sit2.training.phase import CrossEntropyWithMargins, Phase

        loss = CrossEntropyWithMargins(self.margin_alpha * score_matrix(pairs, num_classes))
        return [Phase("train", Originals(), one_class, loss, num_classes, fraction=1.0)]
