"""From probabilities to what a person can act on: a class, "not sure: A or B", or "unlike the training images".

Knows NumPy only. Letters: N images, K classes.
"""

from __future__ import annotations

import math
from collections.abc import Sequence
from dataclasses import dataclass
from typing import Any

import numpy as np

from sit2.errors import ConfigError
from sit2.evaluation.selective import Said, SetReport
from sit2.inference.predictors.predictor import Promise
from sit2.records import BoolArray, ClassPair, FloatArray, Predictions

COVERAGE = 0.95  # where none is asked for
UNLIKE = "unlike the training images"
BETWEEN = " | "  # the classes of a set
SLACK = 1e-9  # of a p-value, which is a fraction of whole numbers


@dataclass(frozen=True)
class Answers:
    """What a model says of N images."""

    probabilities: FloatArray  # (N, K) float64; rows sum to 1
    p_values: FloatArray | None = None  # (N, K) float64; None: the model gives no sets
    unlike: BoolArray | None = None  # (N,); None: the model does not say

    @classmethod
    def of(cls, predictions: Predictions) -> Answers:
        """Return those of predictions."""
        return cls(predictions.probabilities, predictions.p_values, predictions.unlike)

    def part(self, start: int, stop: int) -> Answers:
        """Return what is said of the images from ``start`` to before ``stop``."""
        rows = slice(start, stop)
        p_values = None if self.p_values is None else self.p_values[rows]
        return Answers(self.probabilities[rows], p_values, None if self.unlike is None else self.unlike[rows])


@dataclass(frozen=True)
class Decision:
    """What is said of one image."""

    predicted: str  # the most probable class
    confidence: float  # its probability
    decision: str  # a class, "not sure: A or B", or "unlike the training images"
    set: tuple[str, ...]  # the possible classes, the most probable first; empty where the model gives no sets


def possible(p_values: FloatArray, coverage: float) -> BoolArray:
    """(N, K) bool: the classes that are possible at this coverage, by (N, K) p-values."""
    inside: BoolArray = p_values > 1 - coverage + SLACK
    return inside


def decided(answers: Answers, coverage: float | None) -> BoolArray:
    """(N,) bool: the images for which one class is decided on."""
    certain = np.ones(len(answers.probabilities), dtype=np.bool_)
    if answers.p_values is not None and coverage is not None:
        inside = possible(answers.p_values, coverage)
        best = answers.probabilities.argmax(axis=1)
        certain &= (inside.sum(axis=1) == 1) & inside[np.arange(len(inside)), best]
    return certain if answers.unlike is None else certain & ~answers.unlike


def decide(answers: Answers, classes: Sequence[str], coverage: float | None) -> list[Decision]:
    """Put the answers for N images into words; ``coverage`` is None where the model gives no sets."""
    n, order = len(answers.probabilities), np.argsort(-answers.probabilities, axis=1, kind="stable")
    inside = np.zeros((n, len(classes)), dtype=np.bool_)
    given = answers.p_values is not None and coverage is not None
    if answers.p_values is not None and coverage is not None:
        inside = possible(answers.p_values, coverage)
    found = []
    for row, chances in enumerate(answers.probabilities):
        best = int(order[row, 0])
        names = tuple(classes[k] for k in order[row] if inside[row, k])
        if answers.unlike is not None and answers.unlike[row]:
            words = UNLIKE
        elif not given or names == (classes[best],):
            words = classes[best]
        else:
            words = not_sure(names if len(names) > 1 else [classes[k] for k in order[row, :2]])
        found.append(Decision(classes[best], float(chances[best]), words, names))
    return found


def joined(parts: Sequence[Answers]) -> Answers:
    """Put the answers for several lots of images together."""

    def column(name: str) -> Any:
        given = [getattr(part, name) for part in parts if len(part.probabilities)]
        return None if not given or given[0] is None else np.concatenate(given)

    probabilities = np.concatenate([part.probabilities for part in parts])
    return Answers(probabilities, column("p_values"), column("unlike"))


def set_report(
    predictions: Predictions,
    classes: Sequence[str],
    pairs: Sequence[ClassPair],
    promise: Promise | None,
    coverage: float | None,
) -> SetReport:
    """Return how good the sets and decisions are on labelled images; ``coverage`` as :func:`level` gives it."""
    answers = Answers.of(predictions)
    sets = answers.p_values is not None and coverage is not None and promise is not None
    said = Said(
        decided(answers, coverage),
        possible(answers.p_values, coverage)
        if answers.p_values is not None and coverage is not None
        else None,
        answers.unlike,
    )
    words = guarantee(promise, coverage) if sets and promise and coverage else ""
    return SetReport.of(predictions, said, classes, pairs, coverage=coverage, guarantee=words)


def not_sure(names: Sequence[str]) -> str:
    """Return "not sure: A, B or C"."""
    return f"not sure: {', '.join(names[:-1])} or {names[-1]}"


def level(
    promise: Promise | None,
    asked: float | None,
    classes: Sequence[str],
    recipe: str,
) -> float | None:
    """Return the coverage to use: the one asked for, or 95 %, or the highest that can be promised if that is lower.

    None where the model, which is of this recipe, gives no sets and none was asked for.

    Raises:
        ConfigError: the model gives no sets, or cannot promise the coverage that is asked for.
    """
    if asked is not None and not (isinstance(asked, int | float | np.number) and 0 < asked < 1):
        raise ConfigError(f"coverage is {asked}\nexpected a number between 0 and 1, such as 0.95")
    if promise is None:
        if asked is None:
            return None
        raise ConfigError(
            "this model gives no sets of possible classes, so no coverage can be promised\n"
            f"train with the predictor that does: --method {recipe}+conformal"
        )
    if asked is None:
        return min(COVERAGE, promise.highest)
    if asked > promise.highest + SLACK:
        needed = math.ceil(asked / (1 - asked) - 1e-6)
        of = f" of {classes[promise.rarest]}" if promise.per_class else ""
        raise ConfigError(
            f"a coverage of {100 * asked:g} % needs {needed} calibration images"
            f"{' of each class' if promise.per_class else ''}, and the model has {promise.least}{of}\n"
            + (
                f"the highest that can be promised is --coverage {_floor(promise.highest)}"
                if promise.least
                else "no coverage can be promised"
            )
            + "; train with a larger --calibration-fraction for more"
        )
    return asked


def guarantee(promise: Promise, coverage: float) -> str:
    """Say in a sentence what a coverage means."""
    share = f"{100 * coverage:.4g} %"
    whose = "of the new images of each class" if promise.per_class else "of new images"
    on = f"{promise.images:,} calibration images"
    if promise.exact:
        return f"On average at least {share} {whose} have the true class in their set, if they are like the {on}."
    weaker = f"{max(0.0, 100 * (2 * coverage - 1)):.4g} %"
    return (
        f"About {share} {whose} have the true class in their set, if they are like the {on}. Certain is only "
        f"about {weaker}, because predictors were fitted to the same images, each left out in turn; "
        "--calibration-fraction keeps images for this alone."
    )


def _floor(value: float) -> str:
    return f"{math.floor(1000 * value + 1e-9) / 1000:g}"
