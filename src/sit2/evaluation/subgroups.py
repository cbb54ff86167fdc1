"""How good a model is for every value of a column: for each hospital, device, sex, age group.

This module never imports torch.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from typing import Any

import numpy as np

from sit2.evaluation.class_figures import balanced_accuracy, class_figures
from sit2.evaluation.proportions import Share
from sit2.records import Predictions


@dataclass(frozen=True)
class Subgroup:
    """The images that have one value."""

    value: str
    classes: int  # that have images here; the balanced accuracy is the mean over them
    accuracy: Share
    balanced_accuracy: tuple[float, float, float]  # and its 95 % interval

    @property
    def images(self) -> int:
        """How many have the value."""
        return self.accuracy.n

    @property
    def row(self) -> dict[str, Any]:
        """Return the same as :meth:`to_json` with a column for each end of an interval."""
        flat: dict[str, Any] = {}
        for name, value in self.to_json().items():
            if name.endswith("_interval"):
                of = name.removesuffix("_interval")
                flat |= {f"{of}_lower": value[0], f"{of}_upper": value[1]}
            else:
                flat[name] = value
        return flat

    def to_json(self) -> dict[str, Any]:
        """Return plain numbers and words."""
        balanced, *interval = self.balanced_accuracy
        return {
            "value": self.value,
            "n": self.images,
            "classes": self.classes,
            "accuracy": self.accuracy.value,
            "accuracy_interval": [self.accuracy.lower, self.accuracy.upper],
            "balanced_accuracy": balanced,
            "balanced_accuracy_interval": interval,
        }


def subgroups(predictions: Predictions, values: Sequence[str]) -> tuple[Subgroup, ...]:
    """Return the figures for each of the values, which name one for every image; in the order of the alphabet."""
    given = np.array(values, dtype=object)
    names = [str(k) for k in range(predictions.probabilities.shape[1])]
    found = []
    for value in sorted(set(values)):
        own = predictions.take(given == value)
        figures = class_figures(own, names)
        present = sum(one.images > 0 for one in figures)
        found.append(Subgroup(value, present, Share.of(own.correct, own.groups), balanced_accuracy(figures)))
    return tuple(found)
