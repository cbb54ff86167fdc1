"""What every method offers."""

from __future__ import annotations

from abc import ABC, abstractmethod
from collections.abc import Sequence
from dataclasses import dataclass
from typing import ClassVar

from sit2.config.schema import Config
from sit2.methods.batches import Originals
from sit2.methods.targets import one_class
from sit2.records import ClassPair
from sit2.training.phase import Phase, cross_entropy


@dataclass(frozen=True)
class Method(ABC):
    """A recipe for training: a list of phases that share one budget of image passes."""

    config: Config

    uses_pairs: ClassVar[bool] = False
    looks_again: ClassVar[bool] = False  # whether the model looks twice among classes that are pairs
    settings: ClassVar[
        tuple[str, ...]
    ] = ()  # of the sections "method" and "confusion" that the phases, or the second look, depend on

    @property
    def trains_as(self) -> str | None:
        """Return the method without pairs whose phases these are; None for a training of its own."""
        return None

    @abstractmethod
    def phases(self, pairs: Sequence[ClassPair], num_classes: int) -> list[Phase]:
        """Return the phases, in order; the last one trains a K-way softmax on original images.

        ``pairs`` are the class pairs to mix, never empty for a method that uses pairs.
        """


def train_plainly(num_classes: int, *, share: float = 1.0) -> Phase:
    """Return the phase of ordinary training: original images, one class each."""
    return Phase("train", Originals(), one_class, cross_entropy, outputs=num_classes, share=share)


def fine_tune(num_classes: int, config: Config) -> Phase:
    """Return the last phase of every pretraining method: encoder kept, head new, original images only."""
    return Phase(
        "fine-tune",
        Originals(),
        one_class,
        cross_entropy,
        outputs=num_classes,
        share=1 - config.pretrain_share,
        encoder_lr=config.finetune_lr,
    )
