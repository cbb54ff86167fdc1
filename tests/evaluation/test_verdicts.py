"""Verdicts over repeats: the figures' way into words."""

import json
from dataclasses import replace

import numpy as np
import pytest

from sit2.evaluation.repeated import corrected_t_test
from sit2.evaluation.statistics import holm
from sit2.evaluation.verdicts import PairedComparison, judge, tally
from sit2.records import Predictions
from sit2.seeds import Seeds


def predictions(share, n=200, seed=0, split=0):
    draw = np.random.default_rng(seed)
    labels = np.arange(n) % 2
    predicted = np.where(draw.random(n) < share, labels, 1 - labels)
    return Predictions(tuple(f"{split}-{k}" for k in range(n)), labels, 0.1 + 0.8 * np.eye(2)[predicted])


def comparison(shares, control_shares, *, dataset="eyes", method="not-sure"):
    repeats = tuple(
        (predictions(a, seed=n, split=n), predictions(b, seed=100 + n, split=n))
        for n, (a, b) in enumerate(zip(shares, control_shares, strict=True))
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
        test_share=0.2,
    )


BETTER = comparison([0.95] * 5, [0.6] * 5)
LEVEL = comparison([0.8] * 5, [0.8] * 5, dataset="ears")
WORSE = comparison([0.5] * 5, [0.9] * 5, dataset="skin")


def test_each_verdict_and_its_words():
    better, level, worse = judge([BETTER, LEVEL, WORSE], seeds=Seeds(0), resamples=100)
    assert (better.verdict, level.verdict, worse.verdict) == ("better", "no evidence", "worse")
    assert better.sentence.startswith("not-sure is better than plain on eyes: accuracy ")
    assert "in the mean of 5 repeats" in better.sentence
    assert "after correction for 3 comparisons" in better.sentence
    assert level.sentence.startswith("No evidence that not-sure and plain differ on ears")
    assert worse.sentence.startswith("not-sure is worse than plain on skin")
    assert tally([better, level, worse]) == {"not-sure": {"better": 1, "no evidence": 1, "worse": 1}}


def test_holm_goes_over_methods_and_data_sets():
    results = judge([BETTER, LEVEL, WORSE], seeds=Seeds(0), resamples=50)
    assert [r.p_adjusted for r in results] == pytest.approx(holm([r.test.p for r in results]))
    assert judge([LEVEL], seeds=Seeds(0), resamples=50)[0].p_adjusted == results[1].test.p


def test_an_interval_does_not_depend_on_who_else_takes_part():
    alone = judge([LEVEL], seeds=Seeds(0), resamples=50)[0]
    together = judge([BETTER, LEVEL], seeds=Seeds(0), resamples=50)[1]
    assert alone.differences == together.differences


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
        "eyes", 50, "mixup", "plain", "accuracy", *map(tuple, scores), tuple(map(tuple, made)), 0.2
    )
    result = judge([both], seeds=Seeds(0), resamples=50)[0]
    gaps = (scores[0] - scores[1]).reshape(2, 3).mean(axis=1)
    assert result.test == corrected_t_test(gaps, test_share=0.2, step=1 / 50)
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
