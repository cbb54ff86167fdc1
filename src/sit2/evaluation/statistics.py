"""Is one model better than another, or was it chance? Tests of two models on one test set, and the verdict.

N samples, G groups of them. The question is always accuracy, because that has an exact test; the other metrics
get bootstrap intervals. This module never imports torch.
"""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any, Literal, Protocol

import numpy as np

from sit2.evaluation.bootstrap import METRICS, Difference, paired_bootstrap
from sit2.evaluation.class_figures import never_predicted
from sit2.evaluation.metrics import check_labelled
from sit2.evaluation.paired_test import sign_flip_exact, sign_flip_interval
from sit2.evaluation.words import p_value, percent, points
from sit2.records import BoolArray, IntArray, Predictions
from sit2.seeds import Seeds
from sit2.storage.reading import read_object, reading

ALPHA = 0.05
LIMIT = (
    "This holds for one split and one seed: it covers chance in the test images, not chance in training. "
    "Repeat with more splits and seeds before relying on it."
)
LIMIT_OF_FOLDS = (
    "This holds for one seed. The folds share most of their training images, so the interval is somewhat too "
    "narrow, and it does not cover chance in training. Repeat with more splits and seeds before relying on it."
)
Verdict = Literal["better", "worse", "no evidence"]
Told = Verdict | Literal["not judged"]
NOT_JUDGED = "not judged: training looks unfinished"


class Interval(Protocol):
    """Whatever has the two ends of an interval."""

    @property
    def lower(self) -> float:
        """Return the lower end."""
        ...

    @property
    def upper(self) -> float:
        """Return the upper end."""
        ...


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
    differences: dict[str, Difference]  # method minus control, by metric; that of "accuracy" by the test
    only_method_right: int  # images
    only_control_right: int
    p: float
    p_adjusted: float  # by Bonferroni, as the interval of the accuracy is
    comparisons: int = 1  # how many methods were compared together
    unfinished: tuple[str, ...] = ()  # those of the two whose training looks unfinished
    folds: int = 0  # of cross-validation, where the images were left out fold by fold

    @property
    def limit(self) -> str:
        """Say what the verdict does not cover."""
        return LIMIT_OF_FOLDS if self.folds else LIMIT

    @property
    def verdict(self) -> Verdict:
        """Better or worse where the interval of the accuracy says so, else no evidence (of either)."""
        return verdict_of(self.differences["accuracy"])

    @property
    def told(self) -> Told:
        """The verdict as it is told: no gain is made of trainings that look unfinished."""
        return "not judged" if self.verdict == "better" and self.unfinished else self.verdict

    @property
    def sentence(self) -> str:
        """The verdict for somebody who knows no statistics."""
        opening = {
            "better": f"{self.method} is better than {self.control}",
            "worse": f"{self.method} is worse than {self.control}",
            "no evidence": f"No evidence that {self.method} and {self.control} differ",
            "not judged": f"{self.method} against {self.control} {NOT_JUDGED} ({', '.join(self.unfinished)})",
        }[self.told]
        gap = self.differences["accuracy"]
        return (
            f"{opening}: {percent(self.accuracy)} against {percent(self.control_accuracy)} of "
            f"{self.n} images right, a difference of {points(gap.difference)} points "
            f"({how_sure(gap, self.p_adjusted, self.comparisons)}). {self.limit}"
        )

    def to_json(self) -> dict[str, Any]:
        """Return the entry of ``comparison.json``, of plain numbers, words and lists."""
        return {
            "control": self.control,
            "metric": "accuracy",
            "n": self.n,
            "groups": self.groups,
            "accuracy": self.accuracy,
            "control_accuracy": self.control_accuracy,
            **self.differences["accuracy"].to_json(),
            "test": self.test,
            "p": self.p,
            "p_adjusted": self.p_adjusted,
            "comparisons": self.comparisons,
            "verdict": self.verdict,
            "unfinished": list(self.unfinished),
            **({"folds": self.folds} if self.folds else {}),
            "sentence": self.sentence,
            "only_method_right": self.only_method_right,
            "only_control_right": self.only_control_right,
            "differences": {name: one.to_json() for name, one in self.differences.items()},
        }

    @classmethod
    def from_json(cls, method: str, content: Mapping[str, Any]) -> TestResult:
        """Return what :meth:`to_json` wrote. Raises KeyError, TypeError or ValueError for anything else."""
        return cls(
            method=method,
            control=str(content["control"]),
            n=int(content["n"]),
            groups=int(content["groups"]),
            test=str(content["test"]),
            accuracy=float(content["accuracy"]),
            control_accuracy=float(content["control_accuracy"]),
            differences={name: Difference.from_json(one) for name, one in content["differences"].items()},
            only_method_right=int(content["only_method_right"]),
            only_control_right=int(content["only_control_right"]),
            p=float(content["p"]),
            p_adjusted=float(content["p_adjusted"]),
            comparisons=int(content["comparisons"]),
            unfinished=tuple(str(name) for name in content.get("unfinished", ())),
            folds=int(content.get("folds", 0)),
        )


def read_tests(path: Path) -> dict[str, TestResult]:
    """Read the comparison.json of a run: method → its test; none where there is no such file.

    Raises:
        RunFolderError: when it is damaged.
    """
    content = read_object(path) or {}
    with reading(path):
        return {method: TestResult.from_json(method, entry) for method, entry in content.items()}


def verdict_of(gap: Interval) -> Verdict:
    """Better or worse where the interval leaves out 0, else no evidence: the two cannot disagree."""
    if gap.lower > 0:
        return "better"
    return "worse" if gap.upper < 0 else "no evidence"


def how_sure(gap: Interval, p_adjusted: float, comparisons: int) -> str:
    """Return the interval and p in words, and how many comparisons both allow for."""
    interval = f"95 % interval {points(gap.lower)} to {points(gap.upper)}"
    if comparisons == 1:
        return f"{interval}; {p_value(p_adjusted)}"
    return f"{interval}, {p_value(p_adjusted)}, both after correction for {comparisons} comparisons"


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


def mcnemar(a: Predictions, b: Predictions) -> float:
    """Return p for independent images: :func:`mcnemar_exact`."""
    return mcnemar_exact(a.correct, b.correct)


def group_sign_flip(a: Predictions, b: Predictions) -> float:
    """Return p for images in groups: :func:`sign_flip_exact` on each group's difference in right answers.

    Few groups cannot show much: with five that differ, p is never below 0.0625.
    """
    return sign_flip_exact(_by_unit(a, b, a.groups or a.ids)[0])


@dataclass(frozen=True)
class PairedTest:
    """A test of two models on the same images, with the interval of what it does not reject."""

    p: Callable[[Predictions, Predictions], float]  # two-sided
    units: Callable[[Predictions], Sequence[str]]  # N names of what is independent: images, or their groups

    def interval(self, a: Predictions, b: Predictions, alpha: float = ALPHA) -> tuple[float, float]:
        """Return the differences in accuracy whose p is at least ``alpha``; 0 is among them if p is."""
        return sign_flip_interval(*_by_unit(a, b, self.units(a)), alpha)


COMPARISONS: dict[str, PairedTest] = {
    "mcnemar": PairedTest(mcnemar, lambda one: one.ids),
    "group-sign-flip": PairedTest(group_sign_flip, lambda one: one.groups or one.ids),
}


def _by_unit(a: Predictions, b: Predictions, names: Sequence[str]) -> tuple[IntArray, IntArray]:
    """(G,) int64 right answers of a minus those of b in each unit, and (G,) int64 its images."""
    unit = np.unique(names, return_inverse=True)[1]
    difference = np.zeros(int(unit.max()) + 1, dtype=np.int64)
    np.add.at(difference, unit, a.correct.astype(np.int64) - b.correct)
    return difference, np.bincount(unit).astype(np.int64)


def holm(p_values: Sequence[float]) -> list[float]:
    """Return the p-values adjusted by Holm (1979): together they err once in 20 times at most, at 0.05.

    For p-values that stand beside no interval: intervals that agree with Holm's verdicts say of most
    differences that are shown nothing but their sign. Where there is an interval, see :func:`bonferroni`.
    """
    from statsmodels.stats.multitest import multipletests

    return [float(p) for p in multipletests(p_values, method="holm")[1]] if len(p_values) else []


def bonferroni(p: float, comparisons: int) -> float:
    """Return p adjusted for that many comparisons: it is below 0.05 where p is below 0.05 / ``comparisons``.

    So is said what intervals at that level say, of which all hold the truth 19 times in 20.
    """
    return min(1.0, comparisons * p)


def compare_models(
    method: str,
    a: Predictions,
    control: str,
    b: Predictions,
    *,
    generator: np.random.Generator,
    resamples: int = 2000,
    test: str | None = None,
    comparisons: int = 1,
) -> TestResult:
    """Compare the predictions ``a`` of ``method`` with ``b`` of ``control`` on the same images.

    ``test`` names one of :data:`COMPARISONS`; by default it follows from whether the images have groups. The
    interval of the accuracy holds what this test does not reject, and allows for ``comparisons`` as the
    adjusted p does. Those of the other metrics, of which nothing is said, are :func:`paired_bootstrap`'s,
    drawn from ``generator``, each for itself. A model that never predicts a class of the test looks unfinished.

    Raises:
        DataError: no predictions.
        ValueError: the two are not of the same images in the same order.
        KeyError: unknown ``test``.
    """
    check_paired(a, b)
    test = test or ("group-sign-flip" if a.groups else "mcnemar")
    paired = COMPARISONS[test]
    p = paired.p(a, b)
    gap = float(a.correct.mean() - b.correct.mean())
    accuracy = Difference(gap, *paired.interval(a, b, ALPHA / comparisons))
    others = {name: metric for name, metric in METRICS.items() if name != "accuracy"}
    drawn = paired_bootstrap(a, b, others, generator=generator, resamples=resamples)
    return TestResult(
        method=method,
        control=control,
        n=len(a.ids),
        groups=len(set(a.groups)),
        test=test,
        accuracy=float(a.correct.mean()),
        control_accuracy=float(b.correct.mean()),
        differences={"accuracy": accuracy, **drawn},
        only_method_right=int((a.correct & ~b.correct).sum()),
        only_control_right=int((b.correct & ~a.correct).sum()),
        p=p,
        p_adjusted=bonferroni(p, comparisons),
        comparisons=comparisons,
        unfinished=tuple(name for name, one in ((method, a), (control, b)) if never_predicted(one)),
    )


def compare_all(
    predictions: Mapping[str, Predictions],
    controls: Mapping[str, str],
    *,
    seeds: Seeds,
    resamples: int = 2000,
) -> dict[str, TestResult]:
    """Compare each method that has a control with it; intervals and p allow for the number of them.

    Each method draws from its own generator: nothing else depends on which others take part.

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
    return {
        name: compare_models(
            name,
            predictions[name],
            control,
            predictions[control],
            generator=seeds.numpy("bootstrap", name),
            resamples=resamples,
            comparisons=len(controls),
        )
        for name, control in controls.items()
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
