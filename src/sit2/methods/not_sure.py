"""SIT², strategy 1: pretrain on original images and not-sure images."""

from __future__ import annotations

from collections.abc import Sequence

from sit2.methods.batches import Composites
from sit2.methods.method import Method, fine_tune
from sit2.methods.targets import ClassOrPair, class_or_not_sure
from sit2.records import ClassPair
from sit2.training.phase import Phase, Targets, cross_entropy


class NotSure(Method):
    """Pretrain with not-sure as a class of its own (or one for each pair), beside the K classes.

    The not-sure classes get the share of the batch that M of K + M equal classes have, so none dominates.
    """

    uses_pairs = True
    settings = ("operators", "not_sure_classes", "pretrain_share", "finetune_lr", "phase_smoothing")

    def phases(self, pairs: Sequence[ClassPair], num_classes: int) -> list[Phase]:
        """Return pretraining on originals and not-sure images, then fine-tuning."""
        a_class_each = self.config.not_sure_classes == "pairs"
        extra = len(pairs) if a_class_each else 1
        targets: Targets = ClassOrPair(pairs) if a_class_each else class_or_not_sure
        batches = Composites(
            pairs,
            original_share=num_classes / (num_classes + extra),
            sure_share=0.0,
            operators=self.config.operators,
        )
        pretrain = Phase(
            "pretrain",
            batches,
            targets,
            cross_entropy,
            outputs=num_classes + extra,
            share=self.config.pretrain_share,
        )
        return [pretrain, fine_tune(num_classes, self.config)]
