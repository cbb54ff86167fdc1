"""Tests and verdicts: against scipy, statsmodels, full enumeration and hand-made cases."""

import json
import re
import subprocess
import sys
from dataclasses import replace
from typing import ClassVar

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from scipy.stats import binomtest

from sit2.errors import DataError
from sit2.evaluation.statistics import (
    COMPARISONS,
    LIMIT,
    LIMIT_OF_FOLDS,
    TestResult,
    bonferroni,
    compare_all,
    compare_models,
    group_sign_flip,
    holm,
    mcnemar,
    mcnemar_exact,
)
from sit2.records import Predictions
from sit2.seeds import Seeds


def model(correct, groups=()) -> Predictions:
    """Predictions on images of class 0 of two, right where ``correct`` says so."""
    right = np.asarray(correct, dtype=bool)
    probabilities = np.where(right[:, None], [0.8, 0.2], [0.4, 0.6])
    ids = tuple(f"{n}.png" for n in range(len(right)))
    return Predictions(ids, np.zeros(len(right), dtype=np.int64), probabilities, tuple(groups))


def outcome(both: int, only_a: int, only_b: int, neither: int) -> tuple[Predictions, Predictions]:
    counts = [both, only_a, only_b, neither]
    return model(np.repeat([1, 1, 0, 0], counts)), model(np.repeat([1, 0, 1, 0], counts))


def compare(a: Predictions, b: Predictions, **more):
    return compare_models("multi-label", a, "plain", b, generator=np.random.default_rng(0), **more)


bits = st.lists(st.tuples(st.booleans(), st.booleans()), min_size=1, max_size=30)


class TestMcNemar:
    @settings(deadline=None)
    @given(bits)
    def test_is_the_binomial_test_of_the_discordant_images(self, answers):
        a, b = np.array(answers).T
        only_a, only_b = int((a & ~b).sum()), int((b & ~a).sum())
        expected = binomtest(only_a, only_a + only_b).pvalue if only_a + only_b else 1.0
        assert mcnemar_exact(a, b) == pytest.approx(expected)

    def test_by_hand(self):
        a, b = outcome(90, 5, 0, 5)
        assert mcnemar(a, b) == pytest.approx(2 / 2**5)


@settings(deadline=None)
@given(bits)
def test_sign_flips_of_single_images_are_mcnemar(answers):
    a, b = (model(c) for c in np.array(answers).T)
    assert group_sign_flip(a, b) == pytest.approx(mcnemar(a, b))


@pytest.mark.parametrize("name", COMPARISONS)
def test_contract_of_every_comparison(name):
    """A p-value: 1 for equal models, the same when they swap, smaller for a clearer difference.

    And an interval that leaves out 0 just where p is below its level, whatever that is.
    """
    test = COMPARISONS[name]
    a, b = outcome(30, 12, 3, 5)
    clear, control = outcome(30, 14, 1, 5)
    assert test.p(a, a) == 1.0
    assert test.p(a, b) == test.p(b, a)
    assert 0 < test.p(clear, control) < test.p(a, b) < 1
    assert test.interval(a, b, 1.01 * test.p(a, b))[0] > 0 >= test.interval(a, b, 0.99 * test.p(a, b))[0]
    low, high = test.interval(a, b)
    assert test.interval(b, a) == pytest.approx((-high, -low))


class TestHolm:
    def test_by_hand(self):
        assert holm([0.01, 0.04, 0.03]) == pytest.approx([0.03, 0.06, 0.06])  # 3·.01; 2·.03; max(.06, 1·.04)
        assert holm([0.2]) == [0.2]
        assert holm([]) == []

    @settings(max_examples=20, deadline=None)  # statsmodels collects garbage at every call
    @given(st.lists(st.floats(1e-9, 1), min_size=1, max_size=8))
    def test_is_its_definition(self, p):
        order = np.argsort(p, kind="stable")
        stepped = np.maximum.accumulate([(len(p) - k) * p[n] for k, n in enumerate(order)])
        expected = np.empty(len(p))
        expected[order] = np.minimum(stepped, 1)
        assert holm(p) == pytest.approx(expected.tolist())


class TestBonferroni:
    def test_by_hand(self):
        assert bonferroni(0.01, 3) == pytest.approx(0.03)
        assert bonferroni(0.4, 3) == 1.0
        assert bonferroni(0.4, 1) == 0.4


class TestCompareModels:
    def test_better(self):
        result = compare(*outcome(380, 40, 10, 70))
        assert result.verdict == "better"
        assert (result.only_method_right, result.only_control_right) == (40, 10)
        gap = result.differences["accuracy"]
        assert gap.difference == pytest.approx(0.06)
        assert 0 < gap.lower < 0.06 < gap.upper
        assert result.sentence == (
            "multi-label is better than plain: 84.0 % against 78.0 % of 500 images right, "
            f"a difference of 6.0 points (95 % interval 3.0 to 8.9; p < 0.001). {LIMIT}"
        )

    def test_of_folds_it_says_that_they_share_training_images(self):
        result = replace(compare(*outcome(380, 40, 10, 70)), folds=5)
        assert result.sentence.endswith(LIMIT_OF_FOLDS)
        assert TestResult.from_json("multi-label", result.to_json()) == result

    def test_worse(self):
        result = compare(*reversed(outcome(380, 40, 10, 70)))
        assert result.verdict == "worse"
        assert result.sentence.startswith(
            "multi-label is worse than plain: 78.0 % against 84.0 % of 500 images right, "
            "a difference of −6.0 points "
        )

    def test_no_evidence(self):
        result = compare(*outcome(80, 6, 4, 10))
        assert result.verdict == "no evidence"
        assert result.sentence == (
            "No evidence that multi-label and plain differ: 86.0 % against 84.0 % of 100 images right, "
            "a difference of 2.0 points (95 % interval −5.7 to 9.4; p = 0.754). This holds for one split and "
            "one seed: it covers chance in the test images, not chance in training. Repeat with more splits "
            "and seeds before relying on it."
        )

    def test_identical_predictions(self):
        a, _ = outcome(80, 6, 4, 10)
        result = compare(a, a)
        assert (result.p, result.verdict) == (1.0, "no evidence")
        accuracy, *others = result.differences.values()
        assert accuracy.difference == 0.0
        assert accuracy.lower == -accuracy.upper == -1 / 43  # equal answers to 100 images, no equal models
        for d in others:
            assert (d.difference, d.lower, d.upper) == (0.0, 0.0, 0.0)
        assert "a difference of 0.0 points (95 % interval −2.3 to 2.3; p = 1)" in result.sentence

    def test_groups_choose_the_test_and_can_take_the_evidence_away(self):
        """40 better images are evidence; if all come from two patients, they are not."""
        a, b = outcome(60, 40, 10, 40)
        assert compare(a, b).test == "mcnemar"
        assert compare(a, b).verdict == "better"
        patients = ["p1"] * 60 + ["p2"] * 20 + ["p3"] * 20 + ["p4"] * 50
        a, b = replace(a, groups=tuple(patients)), replace(b, groups=tuple(patients))
        result = compare(a, b)
        assert (result.test, result.groups, result.verdict) == ("group-sign-flip", 4, "no evidence")
        assert result.p == pytest.approx(0.5)  # differences 20, 20, −10: 4 of 8 sign choices reach 30
        assert result.differences["accuracy"].lower <= 0
        assert compare(a, b, test="mcnemar").verdict == "better"

    def test_json_is_plain_and_complete(self):
        result = compare(*outcome(80, 6, 4, 10))
        entry = json.loads(json.dumps(result.to_json(), allow_nan=False))
        assert list(entry) == [
            "control", "metric", "n", "groups", "accuracy", "control_accuracy", "difference", "interval", "test",
            "p", "p_adjusted", "comparisons", "verdict", "unfinished",
            "sentence", "only_method_right", "only_control_right", "differences",
        ]  # fmt: skip
        assert entry["difference"] == pytest.approx(0.02)
        assert entry["interval"] == [
            result.differences["accuracy"].lower,
            result.differences["accuracy"].upper,
        ]
        assert list(entry["differences"]) == ["accuracy", "macro_f1", "balanced_accuracy", "log_loss"]

    def test_same_generator_same_result(self):
        a, b = outcome(80, 6, 4, 10)
        assert compare(a, b) == compare(a, b)

    @pytest.mark.parametrize("what", ["ids", "groups", "labels", "classes"])
    def test_predictions_that_cannot_be_paired(self, what):
        a, b = outcome(3, 2, 1, 1)
        other = {
            "ids": {"ids": b.ids[::-1]},
            "groups": {"groups": b.ids},
            "labels": {"labels": b.labels + 1},
            "classes": {"probabilities": np.column_stack([b.probabilities, np.zeros(7)])},
        }[what]
        with pytest.raises(
            ValueError, match=f"the {what} of the two predictions differ: they cannot be paired"
        ):
            compare(a, replace(b, **other))

    def test_nothing_to_compare(self):
        with pytest.raises(DataError, match="there are no predictions to evaluate"):
            compare(*outcome(0, 0, 0, 0))


class TestCompareAll:
    CONTROLS: ClassVar = {"good": "plain", "middling": "plain"}

    def test_interval_and_p_allow_for_all_methods_and_the_rest_for_none(self):
        good, plain = outcome(380, 40, 20, 60)
        middling = model(np.repeat([1, 0, 1, 0], [380, 20, 20, 80]) | (np.arange(500) >= 480))
        predictions = {"plain": plain, "good": good, "middling": middling}
        results = compare_all(predictions, self.CONTROLS, seeds=Seeds(1), resamples=200)
        assert list(results) == ["good", "middling"]
        for result in results.values():
            assert result.p_adjusted == pytest.approx(min(1, 2 * result.p))
            interval = COMPARISONS["mcnemar"].interval(predictions[result.method], plain, 0.05 / 2)
            accuracy = result.differences["accuracy"]
            assert (accuracy.lower, accuracy.upper) == interval
        assert (
            "(95 % interval 0.4 to 7.7, p = 0.027, both after correction for 2 comparisons)"
            in results["good"].sentence
        )
        alone = compare_all(predictions, {"good": "plain"}, seeds=Seeds(1), resamples=200)["good"]
        narrow, wide = alone.differences["accuracy"], results["good"].differences["accuracy"]
        assert wide.lower < narrow.lower < narrow.upper < wide.upper
        assert alone.differences == results["good"].differences | {"accuracy": narrow}
        assert "correction" not in alone.sentence

    def test_the_correction_can_take_the_verdict_away(self):
        good, plain = outcome(380, 16, 5, 99)  # p = 0.027
        predictions = {"plain": plain, "a": good, "b": good}
        results = compare_all(predictions, dict.fromkeys("ab", "plain"), seeds=Seeds(0), resamples=100)
        assert results["a"].p < 0.05 < results["a"].p_adjusted
        assert results["a"].verdict == "no evidence"
        assert results["a"].differences["accuracy"].lower <= 0

    def test_each_method_has_its_own_control(self):
        good, plain = outcome(380, 40, 10, 70)
        predictions = {"plain": plain, "plain+tta": good, "a": good, "a+tta": plain}
        controls = {"a": "plain", "a+tta": "plain+tta"}
        results = compare_all(predictions, controls, seeds=Seeds(0), resamples=100)
        assert {name: result.control for name, result in results.items()} == controls
        assert [result.verdict for result in results.values()] == ["better", "worse"]

    def test_no_control_and_an_unknown_one(self):
        a, _ = outcome(3, 1, 1, 1)
        assert compare_all({"plain": a}, {}, seeds=Seeds(0)) == {}
        with pytest.raises(ValueError, match="'plain' is not among mixup"):
            compare_all({"mixup": a}, {"mixup": "plain"}, seeds=Seeds(0))
        with pytest.raises(ValueError, match="'mixup' is not among plain"):
            compare_all({"plain": a}, {"mixup": "plain"}, seeds=Seeds(0))

    @settings(max_examples=150, deadline=None)
    @given(
        st.lists(st.tuples(st.booleans(), st.booleans(), st.integers(0, 9)), min_size=1, max_size=80),
        st.booleans(),
        st.integers(1, 40),
    )
    def test_verdict_interval_and_p_say_the_same(self, answers, grouped, comparisons):
        """Whatever the predictions, their groups and the number of comparisons."""
        a, b, patient = np.array(answers).T
        groups = tuple(f"p{n}" for n in patient) if grouped else ()
        method, control = model(a, groups), model(b, groups)
        result = compare(method, control, resamples=2, comparisons=comparisons)
        gap = result.differences["accuracy"]
        assert gap.lower <= gap.difference <= gap.upper
        expected = "better" if gap.lower > 0 else "worse" if gap.upper < 0 else "no evidence"
        assert result.verdict == expected
        assert (result.verdict != "no evidence") == (result.p_adjusted < 0.05)
        assert TestResult.from_json("0", json.loads(json.dumps(result.to_json()))).verdict == expected
        shown = re.search(r"95 % interval (\S+) to (\S+)[,;]", result.sentence)
        low, high = (float(end.replace("−", "-")) for end in shown.groups())
        assert (low > 0 or high < 0) == (result.verdict != "no evidence")  # rounded, it says so still


def test_a_fair_coin_is_called_better_or_worse_at_most_one_time_in_twenty():
    generator = np.random.default_rng(0)
    answers = generator.random((400, 2, 100)) < 0.7
    p = [mcnemar_exact(a, b) for a, b in answers]
    assert np.mean(np.array(p) < 0.05) <= 0.05


def test_statistics_never_import_torch():
    code = (
        "import sys, numpy as np, sit2.evaluation.statistics as s, sit2.records as r\n"
        "p = r.Predictions(('a', 'b'), np.array([0, 1]), np.array([[.9, .1], [.6, .4]]))\n"
        "s.compare_all({'plain': p, 'mixup': p}, {'mixup': 'plain'}, seeds=s.Seeds(0), resamples=10)\n"
        "assert 'torch' not in sys.modules"
    )
    subprocess.run([sys.executable, "-c", code], check=True)
