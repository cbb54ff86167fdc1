"""Settings of confusion: how it is measured, and which pairs are chosen."""

from __future__ import annotations

from dataclasses import dataclass

from sit2.parameters import parameter

CONFUSION = "confusion"


@dataclass(frozen=True, kw_only=True)
class ConfusionSettings:
    """How confusion is measured on the training images, and which pairs of classes are chosen."""

    confusion: str = parameter(
        "closed-form",
        "how to measure it: by a linear classifier on frozen features, in closed form, or by networks trained on "
        "folds, which takes several trainings",
        choices=("folds", "closed-form"),
        topic=CONFUSION,
        basic=True,
    )
    folds: int = parameter(5, "folds of the out-of-fold confusion", low=2, high=50, topic=CONFUSION)
    confusion_epochs: float | None = parameter(
        None, "epochs of each fold's training; default: half of epochs", low=0.01, topic=CONFUSION
    )
    pair_coverage: float = parameter(
        0.5,
        "choose the fewest pairs with this fraction of all confusion",
        low=0,
        high=1,
        topic=CONFUSION,
    )
    min_confused: float = parameter(
        1.0,
        "choose a pair only if at least this many images are confused within it (soft count)",
        low=0,
        topic=CONFUSION,
    )
    max_pairs: int | None = parameter(
        None, "choose at most this many pairs; default: twice the number of classes", low=1, topic=CONFUSION
    )
