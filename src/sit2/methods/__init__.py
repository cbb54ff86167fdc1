"""DURING training: one file per method, each a list of phases over one budget. Loads no torch."""

from __future__ import annotations

from sit2.methods.confusion_batches import ConfusionBatches
from sit2.methods.confusion_margin import ConfusionMargin
from sit2.methods.confusion_smoothing import ConfusionSmoothing
from sit2.methods.linear import Linear
from sit2.methods.method import Method
from sit2.methods.mixup import CutMix, Mixup, MixupFinetune
from sit2.methods.multi_label import MultiLabel
from sit2.methods.not_sure import NotSure
from sit2.methods.not_sure_fading import NotSureFading
from sit2.methods.plain import LabelSmoothing, Plain, PlainRestart
from sit2.methods.soft_label import SoftLabel
from sit2.methods.sure_or_not import SureOrNot

METHODS: dict[str, type[Method]] = {
    "plain": Plain,
    "linear": Linear,
    "plain-restart": PlainRestart,
    "label-smoothing": LabelSmoothing,
    "mixup": Mixup,
    "cutmix": CutMix,
    "mixup-finetune": MixupFinetune,
    "not-sure": NotSure,
    "sure-or-not": SureOrNot,
    "multi-label": MultiLabel,
    "soft-label": SoftLabel,
    "confusion-smoothing": ConfusionSmoothing,
    "confusion-margin": ConfusionMargin,
    "confusion-batches": ConfusionBatches,
    "not-sure-fading": NotSureFading,
}
