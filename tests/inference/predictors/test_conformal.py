"""Sets of possible classes: against an independent reference, and against the law that they must follow."""

from __future__ import annotations

import itertools
import math

import numpy as np
import pytest
import torch
from opinions import context
from scipy import stats

from sit2.errors import ConfigError
from sit2.inference import chain
from sit2.inference.chain import Observations
from sit2.inference.decisions import guarantee, level, possible
from sit2.inference.predictors.conformal import Conformal
from sit2.inference.predictors.predictor import Promise
from sit2.inference.predictors.temperature import Temperature
from sit2.seeds import Seeds

CLASSES = ("ant", "bee", "cat", "dog")


def drawn(count, seed, *, right=1.0, groups=0):
    """Return labels and log-probabilities of images; those of one group are alike."""
    draw = np.random.default_rng(seed)
    labels = draw.integers(0, 4, count)
    member = draw.integers(0, groups, count) if groups else np.arange(count)
    ease = draw.normal(size=count)[member] if groups else 0.0
    scores = draw.normal(size=(count, 4))
    scores[np.arange(count), labels] += right + ease
    names = tuple(f"patient {n}" for n in member) if groups else ()
    return torch.from_numpy(labels), torch.from_numpy(scores).log_softmax(dim=1), names


def calibrated(labels, answers, groups=(), *, per_class=False, seed=0):
    seen = Observations(answers, (None,))
    (one,), _ = chain.calibrated(
        (Conformal(coverage_per_class=per_class),), seen, labels, groups, Seeds(seed)
    )
    return one


def p_values(one, answers):
    return chain.apply((one,), Observations(answers, (None,))).p_values.numpy()


def reference(labels, answers, new, coverage, *, per_class=False):
    """Split conformal prediction as textbooks have it (Angelopoulos & Bates 2021): a quantile of 1 − p."""
    labels, chances, new = labels.numpy(), answers.exp().numpy(), new.exp().numpy()
    scores = 1 - chances[np.arange(len(labels)), labels]
    inside = np.zeros(new.shape, dtype=bool)
    for k in range(new.shape[1]):
        own = np.sort(scores[labels == k] if per_class else scores)
        rank = math.ceil(round((len(own) + 1) * coverage, 9))
        inside[:, k] = 1 - new[:, k] <= (own[rank - 1] if rank <= len(own) else np.inf)
    return inside


@pytest.mark.parametrize("per_class", [False, True])
@pytest.mark.parametrize("coverage", [0.5, 0.8, 0.9, 0.95, 0.99])
def test_the_sets_are_those_of_an_independent_reference(coverage, per_class):
    for seed in range(8):
        labels, answers, _ = drawn(61 + seed, seed)
        new = drawn(200, 100 + seed)[1]
        found = possible(p_values(calibrated(labels, answers, per_class=per_class), new), coverage)
        assert np.array_equal(found, reference(labels, answers, new, coverage, per_class=per_class))


def test_coverage_over_calibrations_follows_the_beta_binomial_law():
    calibration, test, coverage, hits = 39, 50, 0.9, []
    for seed in range(600):
        labels, answers, _ = drawn(calibration + test, seed)
        one = calibrated(labels[:calibration], answers[:calibration])
        inside = possible(p_values(one, answers[calibration:]), coverage)
        hits.append(int(inside[np.arange(test), labels[calibration:].numpy()].sum()))
    law = stats.betabinom(test, 36, 4)  # 40 ranks, of which a tenth is left out
    counts = np.bincount(hits, minlength=test + 1)
    edges = [0, 41, 43, 45, 46, 47, 48, 49, test + 1]
    seen = [counts[a:b].sum() for a, b in itertools.pairwise(edges)]
    expected = [600 * (law.cdf(b - 1) - law.cdf(a - 1)) for a, b in itertools.pairwise(edges)]
    assert stats.chisquare(seen, expected, sum_check=False).pvalue > 0.001
    assert np.mean(hits) / test == pytest.approx(0.9, abs=0.01)


def test_each_class_is_covered_where_that_is_promised():
    """The third class is much harder: without the promise its images are covered too rarely."""

    def hard(count, seed):
        labels, answers, _ = drawn(count, seed, right=3.0)
        answers[labels == 2] = drawn(count, seed + 9)[1][labels == 2]
        return labels, answers.log_softmax(dim=1)

    covered = {False: [], True: []}
    for seed in range(60):
        labels, answers = hard(400, 10 * seed)
        for per_class, kept in covered.items():
            one = calibrated(labels[:200], answers[:200], per_class=per_class)
            inside = possible(p_values(one, answers[200:]), 0.9)
            own = np.flatnonzero(labels[200:].numpy() == 2)
            kept.append(inside[own, 2].mean())
    assert np.mean(covered[False]) < 0.85
    assert np.mean(covered[True]) > 0.885


def test_of_a_group_one_image_counts():
    labels, answers, groups = drawn(300, 0, groups=25)
    one = calibrated(labels, answers, groups)
    assert one.promise().images == len(set(groups)) == 25
    assert {float(s) for s in one.scores} <= {-float(a[k]) for a, k in zip(answers, labels, strict=True)}
    again, other = (calibrated(labels, answers, groups, seed=seed) for seed in (0, 1))
    assert torch.equal(one.scores, again.scores)
    assert not torch.equal(one.scores, other.scores)
    by_class = calibrated(labels, answers, groups, per_class=True)
    assert by_class.promise().images == len(set(zip(groups, labels.tolist(), strict=True)))


def test_over_new_groups_the_promise_holds():
    covered = []
    for seed in range(300):
        labels, answers, groups = drawn(200, seed, groups=40)
        names = sorted(set(groups))
        old = np.isin(groups, names[:20])
        one = calibrated(labels[old], answers[old], tuple(np.array(groups)[old]))
        new = np.random.default_rng(seed).permutation(np.flatnonzero(~old))
        first = new[np.unique(np.array(groups)[new], return_index=True)[1]]
        inside = possible(p_values(one, answers[first]), 0.9)
        covered.append(inside[np.arange(len(first)), labels[first].numpy()].mean())
    error = np.std(covered) / math.sqrt(len(covered))
    assert np.mean(covered) > 0.9 - 3 * error


class TestLeftOut:
    """Predictors were fitted to the images that calibrate: each image is judged by those fitted without it."""

    def fit(self, labels, answers, groups=()):
        seen, unfitted = Observations(answers, (None, None)), (Temperature(), Conformal())
        fitted = chain.fitted(unfitted, seen, labels)
        return chain.calibrated(fitted, seen, labels, groups, Seeds(0), unfitted=unfitted)

    def test_scores_and_p_values_are_of_predictors_fitted_without_the_image(self):
        labels, answers, _ = drawn(40, 0)
        new = drawn(30, 1)[1]
        (_, conformal), variants = self.fit(labels, answers)
        assert len(variants) == 5
        found = chain.apply(
            (Temperature(), conformal), Observations(new, (None, None)), variants
        ).p_values.numpy()
        poorer = np.ones((30, 4))
        for f, (temperature,) in enumerate(variants):
            own = (answers * temperature.inverse_temperature).log_softmax(dim=1)
            theirs = (new * temperature.inverse_temperature).log_softmax(dim=1)
            rows = torch.nonzero(conformal.part == f).flatten()
            expected = Temperature().fit(
                chain.Outputs(answers, answers[conformal.part != f]), None, labels[conformal.part != f]
            )
            assert temperature.inverse_temperature == expected.inverse_temperature
            scores = -own[rows, labels[rows]]
            assert torch.equal(conformal.scores[rows], scores)
            poorer += (scores[None, None] >= -theirs[:, :, None]).sum(dim=2).numpy()
        np.testing.assert_allclose(found, poorer / 41)

    def test_the_weaker_promise_is_said(self):
        labels, answers, _ = drawn(40, 0)
        (_, conformal), _ = self.fit(labels, answers)
        promise = conformal.promise()
        assert not promise.exact
        assert "Certain is only about 90 %" in guarantee(promise, 0.95)
        assert calibrated(labels, answers).promise().exact
        assert "Certain" not in guarantee(calibrated(labels, answers).promise(), 0.95)

    def test_at_least_that_is_kept(self):
        covered = []
        for seed in range(150):
            labels, answers, _ = drawn(80, seed)
            done, variants = self.fit(labels[:30], 3 * answers[:30])
            said = chain.apply(done, Observations(3 * answers[30:], (None, None)), variants)
            inside = possible(said.p_values.numpy(), 0.9)
            covered.append(inside[np.arange(50), labels[30:].numpy()].mean())
        assert 0.87 < np.mean(covered) < 0.95

    def test_a_single_group_promises_nothing(self):
        labels, answers, _ = drawn(20, 0)
        (_, conformal), variants = self.fit(labels, answers, ("one",) * 20)
        assert conformal.promise() is None
        assert variants == ()


class TestLevel:
    @pytest.mark.parametrize(("images", "highest"), [(19, 0.95), (9, 0.9), (99, 0.99)])
    def test_so_many_images_are_enough(self, images, highest):
        promise = Promise(images, images, per_class=False, exact=True)
        assert level(promise, highest, CLASSES, "plain") == highest
        labels, answers, _ = drawn(images, 0)
        found = possible(p_values(calibrated(labels, answers), drawn(500, 1)[1]), highest)
        assert not found.all(axis=1).all()  # the sets say something
        fewer = Promise(images - 1, images - 1, per_class=False, exact=True)
        with pytest.raises(ConfigError) as refused:
            level(fewer, highest, CLASSES, "plain")
        first, second = str(refused.value).split("\n")
        assert f"needs {images} calibration images, and the model has {images - 1}" in first
        named = float(second.split("--coverage ")[1].split(";")[0])
        assert level(fewer, named, CLASSES, "plain") == named

    def test_of_each_class_where_that_is_promised(self):
        promise = Promise(60, 4, per_class=True, exact=True, rarest=2)
        with pytest.raises(
            ConfigError, match=r"of each class, and the model has 4 of cat\n.*--coverage 0\.8;"
        ):
            level(promise, 0.95, CLASSES, "plain")
        assert level(promise, None, CLASSES, "plain") == 0.8

    @pytest.mark.parametrize("wrong", [0, 1, -0.5, 95, math.nan])
    def test_what_is_no_coverage(self, wrong):
        with pytest.raises(ConfigError, match="expected a number between 0 and 1"):
            level(Promise(50, 50, per_class=False, exact=True), wrong, CLASSES, "plain")

    def test_a_model_without_sets(self):
        assert level(None, None, CLASSES, "plain") is None
        with pytest.raises(ConfigError, match="gives no sets"):
            level(None, 0.9, CLASSES, "plain")


class TestKept:
    def test_taken_apart_and_put_together_it_is_the_same(self):
        labels, answers, _ = drawn(30, 0)
        new = drawn(20, 1)[1]
        for per_class in (False, True):
            one = calibrated(labels, answers, per_class=per_class)
            again = Conformal.from_state({"coverage_per_class": per_class}, one.state(), context())
            assert np.array_equal(p_values(again, new), p_values(one, new))
            assert again.promise() == one.promise()

    @pytest.mark.parametrize("key", ["scores", "labels", "part"])
    @pytest.mark.parametrize("change", ["missing", "short", "float", "high", "nan"])
    def test_state_that_does_not_fit_is_refused(self, key, change):
        state = calibrated(*drawn(30, 0)[:2]).state()
        tensor = state.pop(key)
        if change != "missing":
            state[key] = {
                "short": tensor[:-1],
                "float": tensor.bool(),
                "high": tensor + 4 if key != "scores" else tensor[None],
                "nan": tensor * torch.nan,
            }[change]
        with pytest.raises(ValueError):
            Conformal.from_state({}, state, context())
