"""Is one model better than another, or was it chance? Tests of two models on one test set, and the verdict.

N samples. The question is always accuracy, because that has an exact test; the other metrics get intervals.
This module never imports torch.
"""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass, replace
from typing import Any, Literal

import numpy as np

from sit2.evaluation.bootstrap import Difference, paired_bootstrap
from sit2.evaluation.metrics import check_labelled
from sit2.evaluation.words import p_value, percent, points
from sit2.records import BoolArray, IntArray, Predictions
from sit2.seeds import Seeds

ALPHA = 0.05
LIMIT = (
    "This holds for one split and one seed: it covers chance in the test images, not chance in training. "
    "Repeat with more splits and seeds before relying on it."
)
Verdict = Literal["better", "worse", "no evidence"]


@dataclass(frozen=True)
class TestResult:
    """A method against its control on the same test images; one entry of ``comparison.json``."""

    __test__ = False  # not a test class, whatever pytest thinks of its name

    method: str
    control: str
    n: int  # test images
    groups: int  # groups they come from; 0: none known
    test: str  # key of COMPARISONS
    accuracy: float  # of the method
    control_accuracy: float
    differences: dict[str, Difference]  # method minus control, by metric; "accuracy" among them
    only_method_right: int  # images
    only_control_right: int
    p: float
    p_adjusted: float  # by Holm, over all methods that were compared together
    comparisons: int = 1  # how many that were

    @property
    def verdict(self) -> Verdict:
        """Better or worse where the adjusted p is below 0.05, else no evidence (of either)."""
        if not self.p_adjusted < ALPHA:
            return "no evidence"
        return "better" if self.differences["accuracy"].difference > 0 else "worse"

    @property
    def sentence(self) -> str:
        """The verdict for somebody who knows no statistics."""
        opening = {
            "better": f"{self.method} is better than {self.control}",
            "worse": f"{self.method} is worse than {self.control}",
            "no evidence": f"No evidence that {self.method} and {self.control} differ",
        }[self.verdict]
        gap = self.differences["accuracy"]
        p = p_value(self.p_adjusted)
        if self.comparisons > 1:
            p += f" after correction for {self.comparisons} comparisons"
        return (
            f"{opening}: {percent(self.accuracy)} against {percent(self.control_accuracy)} of "
            f"{self.n} images right, a difference of {points(gap.difference)} points "
            f"(95 % interval {points(gap.lower)} to {points(gap.upper)}; {p}). {LIMIT}"
        )

    def to_json(self) -> dict[str, Any]:
        """Return the entry of ``comparison.json``, of plain numbers, words and lists."""
        gap = self.differences["accuracy"]
        return {
            "control": self.control,
            "metric": "accuracy",
            "n": self.n,
            "groups": self.groups,
            "difference": gap.difference,
            "interval": [gap.lower, gap.upper],
            "test": self.test,
            "p": self.p,
            "p_adjusted": self.p_adjusted,
            "comparisons": self.comparisons,
            "verdict": self.verdict,
            "sentence": self.sentence,
            "only_method_right": self.only_method_right,
            "only_control_right": self.only_control_right,
            "differences": {
                name: {"difference": d.difference, "interval": [d.lower, d.upper]}
                for name, d in self.differences.items()
            },
        }


def mcnemar_exact(correct_a: BoolArray, correct_b: BoolArray) -> float:
    """Return the two-sided p of the exact test of McNemar (1947): do two models err equally often?

    ``correct_a`` and ``correct_b`` are (N,) bool. Only images that exactly one model gets right tell
    anything: if the models were equal, each would be a fair coin. Images must be independent: where they come
    in groups, p is too small, and :func:`sign_flip_exact` is the test.
    """
    from statsmodels.stats import contingency_tables

    only_a = int((correct_a & ~correct_b).sum())
    only_b = int((correct_b & ~correct_a).sum())
    return float(contingency_tables.mcnemar([[0, only_a], [only_b, 0]], exact=True).pvalue)


def sign_flip_exact(differences: IntArray) -> float:
    """Return the two-sided p of the sign-flip permutation test (Fisher 1935); differences (G,) int64.

    If two models were equal, the difference of each group could as well have had the other sign. p is the
    share of all 2^G sign choices whose sum is at least as far from 0 as the observed one. The differences are
    whole, so the sums are few and their distribution is built exactly, group by group: nothing is drawn.
    Groups of one image each give McNemar's exact p.
    """
    sizes = np.abs(differences[differences != 0])
    chance = np.ones(1)  # chance[k]: that k of the total points up
    for size in sizes:
        up = np.concatenate([np.zeros(size), chance])
        down = np.concatenate([chance, np.zeros(size)])
        chance = (up + down) / 2
    sums = 2 * np.arange(len(chance)) - int(sizes.sum())
    return min(1.0, float(chance[np.abs(sums) >= abs(int(differences.sum()))].sum()))


def mcnemar(a: Predictions, b: Predictions) -> float:
    """Return p for independent images: :func:`mcnemar_exact`."""
    return mcnemar_exact(a.correct, b.correct)


def group_sign_flip(a: Predictions, b: Predictions) -> float:
    """Return p for images in groups: :func:`sign_flip_exact` on each group's difference in right answers.

    Few groups cannot show much: with five that differ, p is never below 0.0625.
    """
    names = a.groups or a.ids
    group = np.unique(names, return_inverse=True)[1]
    difference = np.zeros(int(group.max()) + 1, dtype=np.int64)
    np.add.at(difference, group, a.correct.astype(np.int64) - b.correct)
    return sign_flip_exact(difference)


COMPARISONS: dict[str, Callable[[Predictions, Predictions], float]] = {
    "mcnemar": mcnemar,
    "group-sign-flip": group_sign_flip,
}


def holm(p_values: Sequence[float]) -> list[float]:
    """Return the p-values adjusted by Holm (1979): together they err once in 20 times at most, at 0.05."""
    from statsmodels.stats.multitest import multipletests

    return [float(p) for p in multipletests(p_values, method="holm")[1]] if len(p_values) else []


def compare_models(
    method: str,
    a: Predictions,
    control: str,
    b: Predictions,
    *,
    generator: np.random.Generator,
    resamples: int = 2000,
    test: str | None = None,
) -> TestResult:
    """Compare the predictions ``a`` of ``method`` with ``b`` of ``control`` on the same images.

    ``test`` names one of :data:`COMPARISONS`; by default it follows from whether the images have groups. The
    intervals are :func:`paired_bootstrap`'s, drawn from ``generator``; they are not adjusted for the number
    of comparisons, and near 0 they may disagree with p: the verdict follows p.

    Raises:
        DataError: no predictions.
        ValueError: the two are not of the same images in the same order.
        KeyError: unknown ``test``.
    """
    check_paired(a, b)
    test = test or ("group-sign-flip" if a.groups else "mcnemar")
    p = COMPARISONS[test](a, b)
    return TestResult(
        method=method,
        control=control,
        n=len(a.ids),
        groups=len(set(a.groups)),
        test=test,
        accuracy=float(a.correct.mean()),
        control_accuracy=float(b.correct.mean()),
        differences=paired_bootstrap(a, b, generator=generator, resamples=resamples),
        only_method_right=int((a.correct & ~b.correct).sum()),
        only_control_right=int((b.correct & ~a.correct).sum()),
        p=p,
        p_adjusted=p,
    )


def compare_all(
    predictions: Mapping[str, Predictions],
    controls: Mapping[str, str],
    *,
    seeds: Seeds,
    resamples: int = 2000,
) -> dict[str, TestResult]:
    """Compare each method that has a control with it; p adjusted by Holm over all of them.

    Each method draws from its own generator: its interval does not depend on which others take part.

    Args:
        predictions: of every method, on the same images.
        controls: method -> its control, both among the predictions.
        seeds: the only source of chance.
        resamples: see :func:`compare_models`.

    Raises:
        DataError, ValueError: as :func:`compare_models`; also an unknown method or control.
    """
    if unknown := sorted({*controls, *controls.values()} - set(predictions)):
        raise ValueError(f"{unknown[0]!r} is not among {', '.join(predictions)}")
    results = [
        compare_models(
            name,
            predictions[name],
            control,
            predictions[control],
            generator=seeds.numpy("bootstrap", name),
            resamples=resamples,
        )
        for name, control in controls.items()
    ]
    adjusted = holm([result.p for result in results])
    return {
        result.method: replace(result, p_adjusted=p, comparisons=len(results))
        for result, p in zip(results, adjusted, strict=True)
    }


def check_paired(a: Predictions, b: Predictions) -> None:
    """Raise :class:`ValueError` unless both are of the same images and labels, in the same order."""
    check_labelled(a)
    for what in ("ids", "groups"):
        if getattr(a, what) != getattr(b, what):
            raise ValueError(f"the {what} of the two predictions differ: they cannot be paired")
    if not np.array_equal(a.labels, b.labels):
        raise ValueError("the labels of the two predictions differ: they cannot be paired")
    if a.probabilities.shape != b.probabilities.shape:
        raise ValueError("the classes of the two predictions differ: they cannot be paired")
