"""What many repeats say about each method on each data set, in figures and in words.

This module never imports torch.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np

from sit2.evaluation.bootstrap import METRICS, Difference
from sit2.evaluation.overlap import overlap_of
from sit2.evaluation.power import ENOUGH
from sit2.evaluation.repeated import MARGIN, TTest, corrected_t_test, effect_size, repeated_bootstrap
from sit2.evaluation.statistics import COMPARISONS, Verdict, bonferroni, how_sure, verdict_of
from sit2.evaluation.words import percent, points
from sit2.records import FloatArray, Predictions
from sit2.seeds import Seeds
from sit2.storage.reading import read_list, reading


@dataclass(frozen=True)
class PairedComparison:
    """A method and its control on one data set at one number of labels, repeat by repeat."""

    dataset: str
    labels: int | None  # training images a class; None: all
    method: str
    control: str
    metric: str  # a share of which more is better, such as accuracy
    method_scores: tuple[float, ...]  # R, one for each repeat
    control_scores: tuple[float, ...]  # R, of the same splits and seeds
    repeats: tuple[tuple[Predictions, Predictions], ...]  # R, (method's, control's)
    train_fraction: float  # of the data set's images
    test_fraction: float

    def tests(self) -> list[list[int]]:
        """Return the numbers of the repeats on each of T different test sets.

        Trainings that are tested on the same images are no repeats of the test: they share its chance.
        """
        found: dict[frozenset[str], list[int]] = {}
        for number, (a, _) in enumerate(self.repeats):
            found.setdefault(frozenset(a.ids), []).append(number)
        return list(found.values())

    def differences(self) -> FloatArray:
        """(T,) method minus control on each test set, its seeds averaged."""
        gaps = np.array(self.method_scores) - np.array(self.control_scores)
        return np.array([gaps[numbers].mean() for numbers in self.tests()])


@dataclass(frozen=True)
class RepeatedResult:
    """The outcome of a comparison; one entry of a comparison's ``comparison.json``."""

    dataset: str
    labels: int | None  # training images a class; None: all
    method: str
    control: str
    metric: str
    repeats: int
    score: float  # the method's mean over the repeats
    control_score: float
    train_fraction: float  # of the data set's images
    test_fraction: float
    test: TTest
    differences: dict[str, Difference]  # method minus control, by metric; that of ``metric`` by the test
    effect: tuple[float, float, float]  # Hedges' g and its interval
    single_p: tuple[float, ...]  # of each repeat alone: exact McNemar, or by groups
    p_adjusted: float  # by Bonferroni, as the interval of the test is
    comparisons: int = 1  # how many methods and data sets were compared together

    @property
    def verdict(self) -> Verdict:
        """Better or worse where the test's interval says so, else no evidence (of either)."""
        return verdict_of(self.test)

    @property
    def sentence(self) -> str:
        """The verdict for somebody who knows no statistics."""
        test, count = self.test, self.repeats
        opening = {
            "better": f"{self.method} is better than {self.control} on {self.dataset}",
            "worse": f"{self.method} is worse than {self.control} on {self.dataset}",
            "no evidence": f"No evidence that {self.method} and {self.control} differ on {self.dataset}",
        }[self.verdict]
        mean = percent(self.score), percent(self.control_score)
        text = (
            f"{opening}: {self.metric.replace('_', ' ')} {mean[0]} against {mean[1]} in the mean of {count} "
            f"{'repeat' if count == 1 else 'repeats'}, a difference of {points(test.difference)} points"
        )
        if count == 1:
            return text + "; one repeat cannot show whether it would come again."
        if test.n == 1:
            return (
                text
                + "; repeats that test the same images cannot show whether it would come again on others."
            )
        text += f" ({how_sure(test, self.p_adjusted, self.comparisons)})."
        if self.verdict == "no evidence" and test.n < ENOUGH:
            text += f" {test.n} splits can show large differences only: repeat it with more."
        if self.verdict == "no evidence" and test.not_worse:
            text += f" It is not worse by more than {points(MARGIN)} points."
        return text

    def to_json(self) -> dict[str, Any]:
        """Return plain numbers, words and lists."""
        test = self.test
        return {
            "dataset": self.dataset,
            "labels_per_class": self.labels,
            "method": self.method,
            "control": self.control,
            "metric": self.metric,
            "n": self.repeats,
            "score": self.score,
            "control_score": self.control_score,
            "test_sets": test.n,
            "difference": test.difference,
            "sd": test.sd,
            "interval": [test.lower, test.upper],
            "test": "corrected-resampled-t",
            "p": test.p,
            "p_adjusted": self.p_adjusted,
            "comparisons": self.comparisons,
            "verdict": self.verdict,
            "sentence": self.sentence,
            "margin": MARGIN,
            "p_not_worse": test.p_not_worse,
            "not_worse": test.not_worse,
            "effect_size": self.effect[0],
            "effect_size_interval": list(self.effect[1:]),
            "train_fraction": self.train_fraction,
            "test_fraction": self.test_fraction,
            "p_of_each_repeat": list(self.single_p),
            "differences": {name: one.to_json() for name, one in self.differences.items()},
        }

    @classmethod
    def from_json(cls, content: Mapping[str, Any]) -> RepeatedResult:
        """Return what :meth:`to_json` wrote. Raises KeyError, TypeError or ValueError for anything else."""
        mean = Difference.from_json(content)
        labels, effect = content["labels_per_class"], content["effect_size"]
        low, high = content["effect_size_interval"]
        return cls(
            dataset=str(content["dataset"]),
            labels=None if labels is None else int(labels),
            method=str(content["method"]),
            control=str(content["control"]),
            metric=str(content["metric"]),
            repeats=int(content["n"]),
            score=float(content["score"]),
            control_score=float(content["control_score"]),
            train_fraction=float(content["train_fraction"]),
            test_fraction=float(content["test_fraction"]),
            test=TTest(
                n=int(content["test_sets"]),
                difference=mean.difference,
                sd=float(content["sd"]),
                lower=mean.lower,
                upper=mean.upper,
                p=float(content["p"]),
                p_not_worse=float(content["p_not_worse"]),
            ),
            differences={name: Difference.from_json(one) for name, one in content["differences"].items()},
            effect=(
                float(np.copysign(np.inf, mean.difference)) if effect is None else float(effect),
                -np.inf if low is None else float(low),
                np.inf if high is None else float(high),
            ),
            single_p=tuple(float(p) for p in content["p_of_each_repeat"]),
            p_adjusted=float(content["p_adjusted"]),
            comparisons=int(content["comparisons"]),
        )


def read_verdicts(path: Path) -> tuple[RepeatedResult, ...]:
    """Read the comparison.json of a comparison; nothing where there is no such file.

    Raises:
        RunFolderError: when it is damaged.
    """
    content = read_list(path) or []
    with reading(path):
        return tuple(RepeatedResult.from_json(entry) for entry in content)


def judge(
    paired_comparisons: Sequence[PairedComparison], *, seeds: Seeds, resamples: int = 1000
) -> list[RepeatedResult]:
    """Test every comparison; intervals and p allow for the number of them, data sets and methods alike.

    A comparison of one repeat, or on one set of test images, is no test: its p is 1. Each comparison draws its
    bootstrap from a generator of its own name: nothing else depends on which others take part.
    """
    return [_test(one, len(paired_comparisons), seeds, resamples) for one in paired_comparisons]


def _test(comparison: PairedComparison, count: int, seeds: Seeds, resamples: int) -> RepeatedResult:
    repeats, metric = comparison.repeats, comparison.metric
    overlap = overlap_of(
        [[repeats[number] for number in numbers] for numbers in comparison.tests()],
        METRICS[metric],
        train=comparison.train_fraction,
        test=comparison.test_fraction,
    )
    step = 1 / float(np.mean([len(a.ids) for a, _ in repeats]))
    test = corrected_t_test(comparison.differences(), overlap, step=step, comparisons=count)
    name = (comparison.dataset, comparison.labels or 0, comparison.method)
    drawn = repeated_bootstrap(repeats, generator=seeds.numpy("bootstrap", *name), resamples=resamples)
    paired = COMPARISONS["group-sign-flip" if repeats[0][0].groups else "mcnemar"]
    return RepeatedResult(
        dataset=comparison.dataset,
        labels=comparison.labels,
        method=comparison.method,
        control=comparison.control,
        metric=metric,
        repeats=len(repeats),
        score=float(np.mean(comparison.method_scores)),
        control_score=float(np.mean(comparison.control_scores)),
        train_fraction=comparison.train_fraction,
        test_fraction=comparison.test_fraction,
        test=test,
        differences=drawn | {metric: Difference(test.difference, test.lower, test.upper)},
        effect=effect_size(test, comparisons=count),
        single_p=tuple(paired.p(a, b) for a, b in repeats),
        p_adjusted=bonferroni(test.p, count),
        comparisons=count,
    )


def tally(results: Sequence[RepeatedResult]) -> Mapping[str, dict[Verdict, int]]:
    """Count each method's verdicts over data sets."""
    counts: dict[str, dict[Verdict, int]] = {}
    for result in results:
        own = counts.setdefault(result.method, {"better": 0, "no evidence": 0, "worse": 0})
        own[result.verdict] += 1
    return counts
