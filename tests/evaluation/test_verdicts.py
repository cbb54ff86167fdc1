"""Verdicts over repeats: the figures' way into words."""

import json
from dataclasses import replace

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from sit2.evaluation.bootstrap import METRICS
from sit2.evaluation.metrics import compute_metrics
from sit2.evaluation.overlap import overlap_of
from sit2.evaluation.repeated import MARGIN, corrected_t_test
from sit2.evaluation.verdicts import PairedComparison, RepeatedResult, judge, tally
from sit2.records import Predictions
from sit2.seeds import Seeds


def predictions(share, n=200, seed=0, split=0):
    draw = np.random.default_rng(seed)
    labels = np.arange(n) % 2
    predicted = np.where(draw.random(n) < share, labels, 1 - labels)
    return Predictions(tuple(f"{split}-{k}" for k in range(n)), labels, 0.1 + 0.8 * np.eye(2)[predicted])


def comparison(shares, control_shares, *, dataset="eyes", method="not-sure", n=200):
    repeats = tuple(
        (predictions(a, n, seed=k, split=k), predictions(b, n, seed=100 + k, split=k))
        for k, (a, b) in enumerate(zip(shares, control_shares, strict=True))
    )
    return PairedComparison(
        dataset,
        50,
        method,
        "plain",
        "accuracy",
        tuple(float(a.correct.mean()) for a, _ in repeats),
        tuple(float(b.correct.mean()) for _, b in repeats),
        repeats,
        train_fraction=0.1,
        test_fraction=0.2,
    )


BETTER = comparison([0.95] * 5, [0.6] * 5)
LEVEL = comparison([0.8] * 5, [0.8] * 5, dataset="ears")
WORSE = comparison([0.5] * 5, [0.9] * 5, dataset="skin")


def test_each_verdict_and_its_words():
    better, level, worse = judge([BETTER, LEVEL, WORSE], seeds=Seeds(0), resamples=100)
    assert (better.verdict, level.verdict, worse.verdict) == ("better", "no evidence", "worse")
    assert better.sentence.startswith("not-sure is better than plain on eyes: accuracy ")
    assert "in the mean of 5 repeats" in better.sentence
    assert ", both after correction for 3 comparisons)." in better.sentence
    assert level.sentence.startswith("No evidence that not-sure and plain differ on ears")
    assert worse.sentence.startswith("not-sure is worse than plain on skin")
    assert tally([better, level, worse]) == {"not-sure": {"better": 1, "no evidence": 1, "worse": 1}}


def test_interval_and_p_allow_for_methods_and_data_sets_alike():
    results = judge([BETTER, LEVEL, WORSE], seeds=Seeds(0), resamples=50)
    for result, one in zip(results, [BETTER, LEVEL, WORSE], strict=True):
        assert result.p_adjusted == pytest.approx(min(1, 3 * result.test.p))
        assert result.test == corrected_t_test(one.differences(), overlap(one), step=1 / 200, comparisons=3)
        accuracy = result.differences["accuracy"]
        assert (accuracy.lower, accuracy.upper) == (result.test.lower, result.test.upper)
    alone = judge([LEVEL], seeds=Seeds(0), resamples=50)[0]
    assert alone.p_adjusted == alone.test.p == results[1].test.p
    assert np.ptp(interval(alone)) < np.ptp(interval(results[1]))


def overlap(one):
    tests = [[repeat] for repeat in one.repeats]
    return overlap_of(tests, METRICS[one.metric], train=one.train_fraction, test=one.test_fraction)


def interval(result):
    return result.test.lower, result.test.upper


def test_nothing_else_depends_on_who_takes_part():
    alone = judge([LEVEL], seeds=Seeds(0), resamples=50)[0]
    together = judge([BETTER, LEVEL], seeds=Seeds(0), resamples=50)[1]
    others = {name: gap for name, gap in alone.differences.items() if name != "accuracy"}
    assert together.differences == others | {"accuracy": together.differences["accuracy"]}
    assert (alone.test.p, alone.single_p) == (together.test.p, together.single_p)


@settings(max_examples=40, deadline=None)
@given(
    st.lists(st.tuples(st.floats(0.3, 1), st.floats(0.3, 1)), min_size=1, max_size=6),
    st.integers(2, 60),
    st.sampled_from(["accuracy", "balanced_accuracy", "macro_f1"]),
    st.booleans(),
    st.integers(0, 5),
    st.integers(0, 1000),
)
def test_verdict_interval_and_p_say_the_same(shares, images, metric, grouped, others, seed):
    """Whatever the predictions, on splits that share images, in groups or not, and among any number of others."""
    draw = np.random.default_rng(seed)
    repeats = []
    for pair in shares:
        rows = draw.permutation(3 * images)[:images]
        ids, groups = tuple(map(str, rows)), tuple(str(n // 3) for n in rows) if grouped else ()
        repeats.append(
            tuple(replace(predictions(p, images, draw.integers(999)), ids=ids, groups=groups) for p in pair)
        )
    scores = [tuple(compute_metrics(one, [])[metric] for one in side) for side in zip(*repeats, strict=True)]
    one = PairedComparison("eyes", 5, "mixup", "plain", metric, *scores, tuple(repeats), 0.1, 1 / 3)
    result = judge([one, *[comparison([0.9], [0.9], n=4)] * others], seeds=Seeds(0), resamples=2)[0]
    low, high = interval(result)
    assert low <= result.test.difference <= high
    assert result.verdict == ("better" if low > 0 else "worse" if high < 0 else "no evidence")
    assert (result.verdict != "no evidence") == (result.p_adjusted < 0.05)
    assert (result.effect[1] > 0, result.effect[2] < 0) == (low > 0, high < 0)
    told = RepeatedResult.from_json(json.loads(json.dumps(result.to_json())))
    assert (told.verdict, told.sentence) == (result.verdict, result.sentence)
    assert ("is not worse by more than" in result.sentence) == (-MARGIN < low <= 0)


def test_one_repeat_is_no_verdict():
    one = judge([comparison([0.99], [0.5])], seeds=Seeds(0), resamples=50)[0]
    assert one.verdict == "no evidence"
    assert one.sentence.endswith("one repeat cannot show whether it would come again.")
    assert one.single_p[0] < 0.001  # of this one test set alone


def test_seeds_of_one_split_are_averaged():
    """Two splits of three seeds are two tests; six seeds of one split are none."""
    draw = np.random.default_rng(0)
    names = [tuple(f"{split}-{n}" for n in range(50)) for split in (0, 0, 0, 1, 1, 1)]
    made = [
        [replace(predictions(0.8, 50, seed=10 * n + m), ids=ids) for m in (1, 2)]
        for n, ids in enumerate(names)
    ]
    scores = draw.random((2, 6))
    both = PairedComparison(
        "eyes", 50, "mixup", "plain", "accuracy", *map(tuple, scores), tuple(map(tuple, made)), 0.1, 0.2
    )
    result = judge([both], seeds=Seeds(0), resamples=50)[0]
    gaps = (scores[0] - scores[1]).reshape(2, 3).mean(axis=1)
    known = overlap_of([made[:3], made[3:]], METRICS["accuracy"], train=0.1, test=0.2)
    assert result.test == corrected_t_test(gaps, known, step=1 / 50)
    assert (result.to_json()["n"], result.to_json()["test_sets"]) == (6, 2)
    one = replace(both, repeats=tuple((a, b) for a, b in made[:1] * 6))
    result = judge([one], seeds=Seeds(0), resamples=50)[0]
    assert (result.verdict, result.test.n) == ("no evidence", 1)
    assert result.sentence.endswith(
        "repeats that test the same images cannot show whether it would come again on others."
    )


def test_json_is_json():
    for one in judge([BETTER, LEVEL], seeds=Seeds(0), resamples=50):
        told = json.loads(json.dumps(one.to_json()))
        assert told["n"] == 5
        assert told["interval"][0] <= told["difference"] <= told["interval"][1]
        assert told["differences"]["accuracy"]["difference"] == pytest.approx(told["difference"])
        assert len(told["p_of_each_repeat"]) == 5


def test_nothing_to_judge():
    assert judge([], seeds=Seeds(0)) == []
