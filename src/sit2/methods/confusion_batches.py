"""Beyond SIT²: confused classes in the same batch."""

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
class ConfusionBatches(Method):
    """Train on the original images in an order that puts confused classes into the same batches."""

    uses_pairs: ClassVar[bool] = True

    batch_block: int = parameter(
        8,
        "confusion-batches: this many images of two confused classes stay together, half of each",
        low=2,
        high=256,
        tune=(2, 16),
        topic=METHOD,
    )

    def phases(self, pairs: Sequence[ClassPair], num_classes: int) -> list[Phase]:
        """Return one phase."""
        from sit2.methods.batches import Together
        from sit2.methods.targets import one_class
        from sit2.training.phase import Phase, cross_entropy

        batches = Together(pairs, self.batch_block)
        return [Phase("train", batches, one_class, cross_entropy, num_classes, fraction=1.0)]
