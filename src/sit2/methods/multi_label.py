"""SIT², strategy 3: pretrain to name every class that a composite holds."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from typing import TYPE_CHECKING

from sit2.methods.method import Mixing

if TYPE_CHECKING:
    from sit2.records import ClassPair
    from sit2.training.phase import Phase


@dataclass(frozen=True, kw_only=True)
class MultiLabel(Mixing):
    """Pretrain to name the one or two classes that a composite holds, then fine-tune (SIT², strategy 3)."""

    def phases(self, pairs: Sequence[ClassPair], num_classes: int) -> list[Phase]:
        """Return pretraining with K sigmoids on composites, half of them sure, then fine-tuning."""
        from sit2.methods.batches import Composites
        from sit2.methods.targets import both_classes
        from sit2.training.phase import Phase, binary_cross_entropy

        pretrain = Phase(
            "pretrain",
            Composites(pairs, sure_fraction=0.5, operators=self.operators),
            both_classes,
            binary_cross_entropy,
            outputs=num_classes,
            fraction=self.pretrain_fraction,
        )
        return [pretrain, self.fine_tune(num_classes)]
