"""SIT², strategy 2: pretrain on sure and not-sure composites."""

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
class SureOrNot(Mixing):
    """Pretrain to tell composites of one class from those of two, then fine-tune (SIT², strategy 2).

    Both kinds are made by the same operators, so only the content tells them apart.
    """

    sure_classes: str = parameter(
        "one",
        "sure-or-not: one class for all sure images, or the K classes",
        choices=("one", "classes"),
        topic=METHOD,
    )

    def phases(self, pairs: Sequence[ClassPair], num_classes: int) -> list[Phase]:
        """Return pretraining on composites, half of them sure, then fine-tuning."""
        from sit2.methods.batches import Composites
        from sit2.methods.targets import class_or_not_sure, sure_or_not
        from sit2.training.phase import Phase, binary_cross_entropy, cross_entropy

        batches = Composites(pairs, sure_fraction=0.5, operators=self.operators)
        fraction = self.pretrain_fraction
        if self.sure_classes == "classes":
            pretrain = Phase("pretrain", batches, class_or_not_sure, cross_entropy, num_classes + 1, fraction)
        else:
            pretrain = Phase("pretrain", batches, sure_or_not, binary_cross_entropy, 1, fraction)
        return [pretrain, self.fine_tune(num_classes)]
