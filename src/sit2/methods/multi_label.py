"""SIT², strategy 3: pretrain to name every class that a composite holds."""

from __future__ import annotations

from collections.abc import Sequence

from sit2.methods.batches import Composites
from sit2.methods.method import Method, fine_tune
from sit2.methods.targets import both_classes
from sit2.records import ClassPair
from sit2.training.phase import Phase, binary_cross_entropy


class MultiLabel(Method):
    """Pretrain on composites with K sigmoids: one class for a sure composite, two for a not-sure image."""

    uses_pairs = True
    settings = ("operators", "pretrain_share", "finetune_lr", "phase_smoothing")

    def phases(self, pairs: Sequence[ClassPair], num_classes: int) -> list[Phase]:
        """Return pretraining on composites, half of them sure, then fine-tuning."""
        pretrain = Phase(
            "pretrain",
            Composites(pairs, sure_share=0.5, operators=self.config.operators),
            both_classes,
            binary_cross_entropy,
            outputs=num_classes,
            share=self.config.pretrain_share,
        )
        return [pretrain, fine_tune(num_classes, self.config)]
