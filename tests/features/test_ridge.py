"""Ridge regression in closed form: its left-out answers are those of really leaving out, prior included."""

import numpy as np
import pytest
import torch
from sklearn.linear_model import Ridge as ReferenceRidge

from sit2.errors import DataError
from sit2.features import ridge as module
from sit2.features.ridge import INVERSE_TEMPERATURES, PENALTIES, Columns, LeftOut, _blocks, fit_ridge

torch.set_num_threads(1)


def problem(count=61, features=7, classes=3, *, seed=0, informative=1.0):
    draw = np.random.default_rng(seed)
    labels = draw.choice(classes, count, p=np.array([5, 2, 1][:classes]) / sum([5, 2, 1][:classes]))
    values = draw.normal(0, 1, (count, features)) + informative * labels[:, None] * draw.normal(
        0, 1, features
    )
    return torch.from_numpy(values), labels.astype(np.int64)


def left_out_scores(features, target, groups=()):
    """Return, for every penalty, the (N, K) scores of ridge regression that left out each block's labels."""
    left_out = LeftOut.of(Columns.of(features, scaled=False), target)
    found = [torch.empty_like(target) for _ in PENALTIES]
    for rows in _blocks(groups, len(target), features.device):
        for scores, part in zip(found, left_out(rows), strict=True):
            scores[rows.flatten()] = part
    return found


def entropy(fractions):
    return float(-(fractions * np.log(fractions)).sum())


def log_loss(probabilities, labels):
    return float(-np.log(probabilities[np.arange(len(labels)), labels]).mean())


class TestPrior:
    def test_on_pure_noise_it_answers_with_the_class_frequencies(self):
        """90 : 10 on noise: 0.325 is the best that anybody can do; without an intercept it was 0.695."""
        draw = np.random.default_rng(3)
        labels = (np.arange(1000) % 10 == 0).astype(np.int64)
        ridge, left_out = fit_ridge(torch.from_numpy(draw.normal(size=(1000, 13))), labels, 2)
        assert log_loss(left_out, labels) == pytest.approx(entropy(np.array([0.9, 0.1])), abs=0.02)
        others = torch.from_numpy(draw.normal(size=(500, 13)))
        assert ridge(others).exp().mean(dim=0).tolist() == pytest.approx([0.9, 0.1], abs=0.03)

    @pytest.mark.parametrize("fractions", [(0.5, 0.5), (0.8, 0.2), (0.6, 0.3, 0.1)])
    def test_whatever_the_frequencies_are(self, fractions):
        draw = np.random.default_rng(5)
        labels = np.repeat(np.arange(len(fractions)), [round(600 * f) for f in fractions])
        _, left_out = fit_ridge(torch.from_numpy(draw.normal(size=(600, 5))), labels, len(fractions))
        assert log_loss(left_out, labels) == pytest.approx(entropy(np.array(fractions)), abs=0.03)


class TestLeftOut:
    @pytest.mark.parametrize("grouped", [False, True])
    def test_scores_are_those_of_a_ridge_with_intercept_that_never_saw_the_block(self, grouped):
        features, labels = problem()
        groups = tuple(str(n // 3) for n in range(len(labels))) if grouped else ()
        target = torch.nn.functional.one_hot(torch.from_numpy(labels), 3).double()
        for penalty, scores in list(zip(PENALTIES, left_out_scores(features, target, groups), strict=True))[
            ::4
        ]:
            for first in (0, 9, 33):
                out = [n for n in range(len(labels)) if (n // 3 == first // 3 if grouped else n == first)]
                kept = np.setdiff1d(np.arange(len(labels)), out)
                reference = ReferenceRidge(alpha=penalty, solver="cholesky").fit(features[kept], target[kept])
                np.testing.assert_allclose(scores[out], reference.predict(features[out]), atol=1e-7)

    def test_groups_may_be_of_any_sizes(self):
        draw = np.random.default_rng(0)
        features = draw.normal(size=(23, 7))
        target = np.eye(3)[draw.integers(0, 3, 23)]
        groups = np.array([str(n) for n in draw.integers(0, 6, 23)])
        assert len(set(np.unique(groups, return_counts=True)[1])) > 2
        all_scores = left_out_scores(torch.from_numpy(features), torch.from_numpy(target), tuple(groups))
        assert len(all_scores) == len(PENALTIES)
        for penalty, scores in zip(PENALTIES, all_scores, strict=True):
            expected = np.empty_like(target)
            for group in set(groups):
                out = groups == group
                expected[out] = (
                    ReferenceRidge(alpha=penalty).fit(features[~out], target[~out]).predict(features[out])
                )
            np.testing.assert_allclose(scores.numpy(), expected, atol=1e-8)

    def test_no_row_depends_on_its_own_label(self):
        features, labels = problem(informative=0.1)
        changed = labels.copy()
        changed[17] = (changed[17] + 1) % 3
        target = [torch.nn.functional.one_hot(torch.from_numpy(y), 3).double() for y in (labels, changed)]
        for before, after in zip(*(left_out_scores(features, t) for t in target), strict=True):
            torch.testing.assert_close(before[17], after[17], atol=1e-9, rtol=0)

    def test_probabilities_are_the_best_of_all_penalties_and_temperatures(self):
        features, labels = problem()
        _, left_out = fit_ridge(features, labels, 3)
        target = torch.nn.functional.one_hot(torch.from_numpy(labels), 3).double()
        every = [
            float(-((scores * t).log_softmax(dim=1) * target).sum(dim=1).mean())
            for scores in left_out_scores(features, target)
            for t in INVERSE_TEMPERATURES
        ]
        assert log_loss(left_out, labels) == pytest.approx(min(every))


def test_one_group_cannot_be_left_out():
    features, labels = problem()
    with pytest.raises(DataError, match="all images are of one group"):
        fit_ridge(features, labels, 3, groups=("a",) * len(labels))


@pytest.mark.parametrize("grouped", [False, True])
@pytest.mark.parametrize("scaled", [False, True])
def test_a_part_at_a_time_it_is_the_same(grouped, scaled, monkeypatch):
    features, labels = problem()
    groups = tuple(str(n % 9) for n in range(len(labels))) if grouped else ()
    whole = fit_ridge(features, labels, 3, groups=groups, scaled=scaled)
    monkeypatch.setattr(module, "AT_ONCE", 8)
    parts = fit_ridge(features, labels, 3, groups=groups, scaled=scaled)
    torch.testing.assert_close(parts[0].slope, whole[0].slope)
    torch.testing.assert_close(parts[0].offset, whole[0].offset)
    np.testing.assert_allclose(parts[1], whole[1], atol=1e-9)


def test_scaled_it_is_that_of_standardised_features():
    features, labels = problem()
    features = features * torch.linspace(0.1, 20, features.shape[1]) + 3
    spread = features.std(dim=0, correction=0) + 1e-3
    standard = (features - features.mean(dim=0)) / spread / features.shape[1] ** 0.5
    ridge, left_out = fit_ridge(features, labels, 3, scaled=True)
    expected, probabilities = fit_ridge(standard, labels, 3)
    torch.testing.assert_close(ridge(features), expected(standard))
    np.testing.assert_allclose(left_out, probabilities, atol=1e-9)
