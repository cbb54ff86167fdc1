"""What many repeats say about each method on each data set, in figures and in words.

This module never imports torch.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass, replace
from typing import Any

import numpy as np

from sit2.evaluation.bootstrap import Difference
from sit2.evaluation.repeated import MARGIN, TTest, corrected_t_test, effect_size, repeated_bootstrap
from sit2.evaluation.statistics import ALPHA, COMPARISONS, Verdict, holm
from sit2.evaluation.words import p_value, percent, points
from sit2.records import FloatArray, Predictions
from sit2.seeds import Seeds


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
    test_share: float  # of the data set's images

    def differences(self) -> FloatArray:
        """(T,) method minus control on each of the T different test sets, its seeds averaged.

        Trainings that are tested on the same images are no repeats of the test: they share its chance.
        """
        tests = [frozenset(a.ids) for a, _ in self.repeats]
        gaps = np.array(self.method_scores) - np.array(self.control_scores)
        number = np.array([list(dict.fromkeys(tests)).index(test) for test in tests])
        means: FloatArray = np.bincount(number, gaps) / np.bincount(number)
        return means


@dataclass(frozen=True)
class RepeatedResult:
    """The outcome of a comparison; one entry of a comparison's ``comparison.json``."""

    comparison: PairedComparison
    test: TTest
    differences: dict[str, Difference]  # method minus control, with bootstrap intervals
    effect: tuple[float, float, float]  # Hedges' g and its interval
    single_p: tuple[float, ...]  # of each repeat alone: exact McNemar, or by groups
    p_adjusted: float
    comparisons: int = 1

    @property
    def verdict(self) -> Verdict:
        """Better or worse where the adjusted p is below 0.05, else no evidence (of either)."""
        if not self.p_adjusted < ALPHA:
            return "no evidence"
        return "better" if self.test.difference > 0 else "worse"

    @property
    def sentence(self) -> str:
        """The verdict for somebody who knows no statistics."""
        one, test = self.comparison, self.test
        opening = {
            "better": f"{one.method} is better than {one.control} on {one.dataset}",
            "worse": f"{one.method} is worse than {one.control} on {one.dataset}",
            "no evidence": f"No evidence that {one.method} and {one.control} differ on {one.dataset}",
        }[self.verdict]
        mean = percent(float(np.mean(one.method_scores))), percent(float(np.mean(one.control_scores)))
        count = len(one.repeats)
        text = (
            f"{opening}: {one.metric.replace('_', ' ')} {mean[0]} against {mean[1]} in the mean of {count} "
            f"{'repeat' if count == 1 else 'repeats'}, a difference of {points(test.difference)} points"
        )
        if count == 1:
            return text + "; one repeat cannot show whether it would come again."
        if test.n == 1:
            return (
                text
                + "; repeats that test the same images cannot show whether it would come again on others."
            )
        p = p_value(self.p_adjusted)
        if self.comparisons > 1:
            p += f" after correction for {self.comparisons} comparisons"
        text += f" (95 % interval {points(test.lower)} to {points(test.upper)}; {p})."
        if self.verdict == "no evidence" and test.not_worse:
            text += f" It is not worse by more than {points(MARGIN)} points."
        return text

    def to_json(self) -> dict[str, Any]:
        """Return plain numbers, words and lists."""
        one, test = self.comparison, self.test
        return {
            "dataset": one.dataset,
            "labels_per_class": one.labels,
            "method": one.method,
            "control": one.control,
            "metric": one.metric,
            "n": len(one.repeats),
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
            "test_share": one.test_share,
            "p_of_each_repeat": list(self.single_p),
            "differences": {
                name: {"difference": d.difference, "interval": [d.lower, d.upper]}
                for name, d in self.differences.items()
            },
        }


def judge(
    paired_comparisons: Sequence[PairedComparison], *, seeds: Seeds, resamples: int = 1000
) -> list[RepeatedResult]:
    """Test every comparison; p adjusted by Holm over all of them, data sets and methods alike.

    A comparison of one repeat, or on one set of test images, is no test: its p is 1. Each comparison draws its
    bootstrap from a generator of its own name, so its interval does not depend on which others take part.
    """
    results = [_test(comparison, seeds, resamples) for comparison in paired_comparisons]
    adjusted = holm([result.test.p for result in results])
    return [
        replace(result, p_adjusted=p, comparisons=len(results))
        for result, p in zip(results, adjusted, strict=True)
    ]


def _test(comparison: PairedComparison, seeds: Seeds, resamples: int) -> RepeatedResult:
    differences = comparison.differences()
    step = 1 / float(np.mean([len(a.ids) for a, _ in comparison.repeats]))
    test = corrected_t_test(differences, test_share=comparison.test_share, step=step)
    name = (comparison.dataset, comparison.labels or 0, comparison.method)
    single = COMPARISONS["group-sign-flip" if comparison.repeats[0][0].groups else "mcnemar"]
    return RepeatedResult(
        comparison,
        test,
        repeated_bootstrap(
            comparison.repeats, generator=seeds.numpy("bootstrap", *name), resamples=resamples
        ),
        effect_size(differences),
        tuple(single(a, b) for a, b in comparison.repeats),
        p_adjusted=test.p,
    )


def tally(results: Sequence[RepeatedResult]) -> Mapping[str, dict[Verdict, int]]:
    """Count each method's verdicts over data sets."""
    counts: dict[str, dict[Verdict, int]] = {}
    for result in results:
        own = counts.setdefault(result.comparison.method, {"better": 0, "no evidence": 0, "worse": 0})
        own[result.verdict] += 1
    return counts
