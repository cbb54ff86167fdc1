"""The bootstrap: against scikit-learn on explicit resamples, the normal approximation, and itself."""

import time
from dataclasses import replace

import numpy as np
import pytest
from sklearn.metrics import f1_score, recall_score
from sklearn.metrics import log_loss as sklearn_log_loss

from sit2.evaluation import bootstrap
from sit2.evaluation.bootstrap import METRICS, Difference, paired_bootstrap
from sit2.evaluation.metrics import compute_metrics
from sit2.records import Predictions


def two_models(n: int, k: int, seed: int = 0) -> tuple[Predictions, Predictions]:
    """Two models that are right about half the time, and partly agree."""
    generator = np.random.default_rng(seed)
    labels = generator.integers(k, size=n)
    ids = tuple(map(str, range(n)))
    shared = generator.dirichlet(np.full(k, 0.5), n) + 0.5 * np.eye(k)[labels]
    both = []
    for _ in range(2):
        p = shared + 0.5 * generator.dirichlet(np.full(k, 0.5), n)
        both.append(Predictions(ids, labels, p / p.sum(axis=1, keepdims=True)))
    return both[0], both[1]


def run(a: Predictions, b: Predictions, seed: int = 0, **more) -> dict[str, Difference]:
    return paired_bootstrap(a, b, generator=np.random.default_rng(seed), **more)


def test_point_differences_are_those_of_the_metrics():
    a, b = two_models(203, 5)
    metrics_a, metrics_b = compute_metrics(a, []), compute_metrics(b, [])
    for name, d in run(a, b, resamples=10).items():
        assert d.difference == pytest.approx(metrics_a[name] - metrics_b[name])


@pytest.mark.parametrize("grouped", [False, True])
def test_every_resample_gives_what_scikit_learn_gives(grouped):
    """Also where a class is missing from a resample, and with groups of different sizes."""
    a, b = two_models(23, 5, seed=1)
    groups = tuple(str(n**2 % 7) for n in range(23)) if grouped else ()
    a, b = replace(a, groups=groups), replace(b, groups=groups)
    units = [[n for n in range(23) if groups[n] == g] for g in sorted(set(groups))] or [
        [n] for n in range(23)
    ]
    drawn = np.random.default_rng(5).integers(len(units), size=(60, len(units)))
    expected: dict[str, list[float]] = {name: [] for name in METRICS}
    for resample in drawn:
        rows = np.concatenate([units[u] for u in resample])
        values = []
        for p in (a.take(rows), b.take(rows)):
            y, predicted = p.labels, p.predicted
            present = np.unique(y)
            values.append(
                {
                    "accuracy": (y == predicted).mean(),
                    "macro_f1": f1_score(y, predicted, labels=present, average="macro"),
                    "balanced_accuracy": recall_score(y, predicted, labels=present, average="macro"),
                    "log_loss": sklearn_log_loss(y, p.probabilities, labels=range(5)),
                }
            )
        for name in METRICS:
            expected[name].append(values[0][name] - values[1][name])
    for name, d in run(a, b, seed=5, resamples=60).items():
        assert (d.lower, d.upper) == pytest.approx(np.quantile(expected[name], [0.025, 0.975]))


def test_interval_of_accuracy_is_near_the_normal_approximation():
    a, b = two_models(1500, 3, seed=2)
    gap = a.correct.astype(float) - b.correct
    half = 1.96 * gap.std() / np.sqrt(1500)
    d = run(a, b)["accuracy"]
    assert d.difference == pytest.approx(gap.mean())
    assert d.lower == pytest.approx(gap.mean() - half, abs=0.15 * half)
    assert d.upper == pytest.approx(gap.mean() + half, abs=0.15 * half)


def test_swapping_the_models_mirrors_the_interval():
    a, b = two_models(200, 3)
    for d, mirrored in zip(run(a, b).values(), run(b, a).values(), strict=True):
        assert (d.difference, d.lower, d.upper) == pytest.approx(
            (-mirrored.difference, -mirrored.upper, -mirrored.lower)
        )


def test_groups_widen_the_interval():
    """Ten copies of each image are no more evidence than one."""
    a, b = two_models(60, 3)
    tenfold_a, tenfold_b = a.take(np.repeat(np.arange(60), 10)), b.take(np.repeat(np.arange(60), 10))
    groups = tenfold_a.ids
    naive = run(tenfold_a, tenfold_b)["accuracy"]
    honest = run(replace(tenfold_a, groups=groups), replace(tenfold_b, groups=groups))["accuracy"]
    single = run(a, b)["accuracy"]
    assert honest.upper - honest.lower == pytest.approx(single.upper - single.lower, rel=0.15)
    assert naive.upper - naive.lower < 0.5 * (honest.upper - honest.lower)


def test_identical_models_differ_by_exactly_nothing():
    a, _ = two_models(301, 7)
    assert set(run(a, replace(a, probabilities=a.probabilities.copy())).values()) == {
        Difference(0.0, 0.0, 0.0)
    }


def test_same_generator_same_bits_whatever_the_block(monkeypatch):
    a, b = two_models(50, 3)
    first = run(a, b, seed=3)
    assert run(a, b, seed=3) == first
    assert run(a, b, seed=4) != first
    monkeypatch.setattr(bootstrap, "BLOCK", 50 * 7)
    for d, blocked in zip(first.values(), run(a, b, seed=3).values(), strict=True):
        assert (d.lower, d.upper) == pytest.approx((blocked.lower, blocked.upper), abs=1e-12)


def test_two_thousand_resamples_take_less_than_two_seconds():
    a, b = two_models(2000, 10)
    start = time.process_time()
    run(a, b, resamples=2000)
    assert time.process_time() - start < 2
