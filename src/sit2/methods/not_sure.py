"""SIT², strategy 1: pretrain on original images and not-sure images."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from typing import TYPE_CHECKING

from sit2.methods.method import METHOD, Mixing
from sit2.parameters import parameter

if TYPE_CHECKING:
    from sit2.records import ClassPair
    from sit2.training.phase import Phase


@dataclass(frozen=True, kw_only=True)
class NotSure(Mixing):
    """Pretrain with "not sure" as a class of its own beside the K classes, then fine-tune (SIT², strategy 1).

    The not-sure classes get the fraction of the batch that M of K + M equal classes have, so none dominates.
    """

    not_sure_classes: str = parameter(
        "one",
        "not-sure: one class for all not-sure images, or one for each pair",
        choices=("one", "pairs"),
        topic=METHOD,
    )

    def phases(self, pairs: Sequence[ClassPair], num_classes: int) -> list[Phase]:
        """Return pretraining on originals and not-sure images, then fine-tuning."""
        from sit2.methods.batches import Composites
        from sit2.methods.targets import ClassOrPair, class_or_not_sure
        from sit2.training.phase import Phase, cross_entropy

        a_class_each = self.not_sure_classes == "pairs"
        extra = len(pairs) if a_class_each else 1
        batches = Composites(
            pairs,
            original_fraction=num_classes / (num_classes + extra),
            sure_fraction=0.0,
            operators=self.operators,
        )
        pretrain = Phase(
            "pretrain",
            batches,
            ClassOrPair(pairs) if a_class_each else class_or_not_sure,
            cross_entropy,
            outputs=num_classes + extra,
            fraction=self.pretrain_fraction,
        )
        return [pretrain, self.fine_tune(num_classes)]
