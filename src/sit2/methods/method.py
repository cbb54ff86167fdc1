"""What every method offers. Nothing here or in a method's own file loads torch before phases are made."""

from __future__ import annotations

from abc import ABC, abstractmethod
from collections.abc import Sequence
from dataclasses import dataclass
from typing import TYPE_CHECKING, ClassVar

from sit2.errors import ConfigError
from sit2.parameters import check_fields, parameter
from sit2.synthesis import SYNTHESIZERS

if TYPE_CHECKING:
    from sit2.records import ClassPair
    from sit2.training.phase import Phase

METHOD = "method"  # a topic of the help
PAIR_SOURCES = ("chosen", "random", "all")  # which pairs of classes a recipe may use


@dataclass(frozen=True, kw_only=True)
class Method(ABC):
    """A way to train: a list of phases that share one budget. Its fields are its parameters."""

    uses_pairs: ClassVar[bool] = False
    in_closed_form: ClassVar[bool] = False  # nothing is trained: the head is solved for, on frozen features

    def __post_init__(self) -> None:
        check_fields(self)

    @abstractmethod
    def phases(self, pairs: Sequence[ClassPair], num_classes: int) -> list[Phase]:
        """Return the phases, in order; the last one trains a K-way softmax on original images.

        ``pairs`` are the class pairs to mix, never empty for a method that uses pairs.
        """


@dataclass(frozen=True, kw_only=True)
class TwoPhases(Method):
    """A method that pretrains on one thing and fine-tunes on the original images."""

    pretrain_fraction: float = parameter(
        0.5,
        "fraction of the budget for pretraining, the rest fine-tunes",
        low=0.05,
        high=0.95,
        tune=(0.25, 0.9),
        topic=METHOD,
    )
    finetune_lr: float = parameter(
        0.5,
        "the encoder's learning rate in fine-tuning, relative to lr",
        low=0.0001,
        high=10.0,
        tune=(0.05, 1.0),
        topic=METHOD,
    )

    def fine_tune(self, num_classes: int) -> Phase:
        """Return the last phase: encoder kept, head new, original images only."""
        from sit2.methods.batches import Originals
        from sit2.methods.targets import one_class
        from sit2.training.phase import Phase, cross_entropy

        return Phase(
            "fine-tune",
            Originals(),
            one_class,
            cross_entropy,
            outputs=num_classes,
            fraction=1 - self.pretrain_fraction,
            encoder_lr=self.finetune_lr,
        )


@dataclass(frozen=True, kw_only=True)
class Smoothable(Method):
    """A method whose softmax phases may have smoothed targets."""

    phase_smoothing: float = parameter(
        0.0,
        "label smoothing in every softmax phase of a method that mixes",
        low=0.0,
        high=0.9,
        tune=(0.0, 0.2),
        topic=METHOD,
    )


@dataclass(frozen=True, kw_only=True)
class MixesPairs(Method):
    """A method that makes not-sure images of confused pairs."""

    uses_pairs: ClassVar[bool] = True

    operators: tuple[str, ...] = parameter(
        tuple(SYNTHESIZERS),
        "how not-sure images are mixed",
        choices=tuple(SYNTHESIZERS),
        topic=METHOD,
    )

    def __post_init__(self) -> None:
        super().__post_init__()
        if not self.operators:
            raise ConfigError(f"operators is empty\nname at least one of {', '.join(SYNTHESIZERS)}")


@dataclass(frozen=True, kw_only=True)
class Mixing(MixesPairs, TwoPhases, Smoothable):
    """A method of SIT²: it pretrains on images that are mixed from confused pairs."""


def train_plainly(num_classes: int) -> Phase:
    """Return the phase of ordinary training: original images, one class each."""
    from sit2.methods.batches import Originals
    from sit2.methods.targets import one_class
    from sit2.training.phase import Phase, cross_entropy

    return Phase("train", Originals(), one_class, cross_entropy, outputs=num_classes, fraction=1.0)
