"""SIT², strategy 2: pretrain on sure and not-sure composites."""

from __future__ import annotations

from collections.abc import Sequence

from sit2.methods.batches import Composites
from sit2.methods.method import Method, fine_tune
from sit2.methods.targets import class_or_not_sure, sure_or_not
from sit2.records import ClassPair
from sit2.training.phase import Phase, binary_cross_entropy, cross_entropy


class SureOrNot(Method):
    """Pretrain to tell composites of one class from composites of two.

    Both sides are made by the same operators, so only the content tells them apart.
    """

    uses_pairs = True
    settings = ("operators", "sure_classes", "pretrain_share", "finetune_lr", "phase_smoothing")

    def phases(self, pairs: Sequence[ClassPair], num_classes: int) -> list[Phase]:
        """Return pretraining on composites, half of them sure, then fine-tuning."""
        batches = Composites(pairs, sure_share=0.5, operators=self.config.operators)
        share = self.config.pretrain_share
        if self.config.sure_classes == "classes":
            pretrain = Phase("pretrain", batches, class_or_not_sure, cross_entropy, num_classes + 1, share)
        else:
            pretrain = Phase("pretrain", batches, sure_or_not, binary_cross_entropy, 1, share)
        return [pretrain, fine_tune(num_classes, self.config)]
