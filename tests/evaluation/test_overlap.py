"""What repeats share, as their predictions tell it: by hand for shares of images, by resampling for the rest."""

import numpy as np
import pytest

from sit2.evaluation.bootstrap import METRICS, paired_bootstrap
from sit2.evaluation.overlap import Overlap, overlap_of
from sit2.records import Predictions


def predictions(labels, predicted, ids, groups=()):
    return Predictions(tuple(ids), np.asarray(labels), np.eye(3)[predicted], tuple(groups))


def splits(count, images=400, tested=120, seed=0, *, size=1, certain=False):
    """Pairs of predictions on random parts of one pool, where some images are harder for one of two models."""
    draw = np.random.default_rng(seed)
    labels = draw.choice(3, images, p=[0.6, 0.3, 0.1])
    chance = np.clip(0.8 + draw.normal(0, 0.25, (2, images)), 0, 1)
    if certain:
        chance = (draw.random((2, images)) < chance).astype(float)
    for _ in range(count):
        rows = draw.permutation(images)[:tested]
        ids, groups = [str(n) for n in rows], [str(n // size) for n in rows] if size > 1 else ()
        right = draw.random((2, tested)) < chance[:, rows]
        yield tuple(
            predictions(labels[rows], np.where(one, labels[rows], (labels[rows] + 1) % 3), ids, groups)
            for one in right
        )


def of(pairs, metric="accuracy"):
    return overlap_of([[pair] for pair in pairs], METRICS[metric], train=0.1, test=0.3)


def gains(pairs):
    """For each test: unit → (sum of gains, images), and the mean gain."""
    for a, b in pairs:
        gain = a.correct.astype(float) - b.correct
        units = {}
        for unit, value in zip(a.groups or a.ids, gain, strict=True):
            total, count = units.get(unit, (0, 0))
            units[unit] = total + value, count + 1
        yield units, gain.mean()


def test_accuracy_by_hand():
    pairs = list(splits(3))
    found = of(pairs)
    tests = list(gains(pairs))
    own = [sum((value - mean) ** 2 for value, _ in units.values()) / (120 * 119) for units, mean in tests]
    assert found.images == pytest.approx(np.mean(own))
    common = []
    for (units_a, mean_a), (units_b, mean_b) in (
        (tests[0], tests[1]),
        (tests[0], tests[2]),
        (tests[1], tests[2]),
    ):
        products = [
            (units_a[u][0] - mean_a) * (units_b[u][0] - mean_b) for u in units_a.keys() & units_b.keys()
        ]
        common.append(sum(products) / (120 * 119))
    assert found.shared == pytest.approx(np.mean(common))
    assert (found.train, found.test) == (0.1, 0.3)


def test_groups_move_it_together():
    """Patients of five images are taken out whole, and count as one where they come again."""
    pairs = list(splits(2, size=5))
    tests = list(gains(pairs))
    moves = []
    for units, mean in tests:
        total = mean * 120
        without = {u: (total - value) / (120 - count) for u, (value, count) in units.items()}
        centre, scale = np.mean(list(without.values())), np.sqrt((len(units) - 1) / len(units))
        moves.append({u: scale * (centre - value) for u, value in without.items()})
    found = of(pairs)
    assert found.images == pytest.approx(np.mean([sum(m**2 for m in one.values()) for one in moves]))
    assert found.shared == pytest.approx(
        max(0, sum(moves[0][u] * moves[1][u] for u in moves[0].keys() & moves[1].keys()))
    )


@pytest.mark.parametrize("metric", ["accuracy", "balanced_accuracy", "macro_f1"])
@pytest.mark.parametrize("size", [1, 4])
def test_variance_by_images_is_what_drawing_them_anew_gives(metric, size):
    pair = next(splits(1, images=1500, tested=1000, size=size))
    found = of([pair, pair], metric)
    gap = paired_bootstrap(*pair, {metric: METRICS[metric]}, generator=np.random.default_rng(0))[metric]
    assert np.sqrt(found.images) == pytest.approx((gap.upper - gap.lower) / 3.92, rel=0.1)


def test_the_same_test_twice_shares_everything_and_others_nothing():
    pair, other = splits(2)
    again = of([pair, pair])
    assert again.shared == pytest.approx(again.images)
    apart = tuple(
        Predictions(tuple(f"x{n}" for n in one.ids), one.labels, one.probabilities) for one in other
    )
    assert of([pair, apart]).shared == 0.0


def test_where_every_answer_is_the_images_it_is_the_common_part_of_their_variance():
    """Tests of 80 of 200 images have two fifths in common, and here nothing else makes a difference."""
    own, shared = [], []
    for seed in range(150):
        found = of(list(splits(3, images=200, tested=80, seed=seed, certain=True)))
        own.append(found.images)
        shared.append(found.shared)
    assert np.mean(shared) == pytest.approx(0.4 * np.mean(own), rel=0.05)


def test_trainings_on_one_test_are_averaged():
    """Two trainings whose answers are independent of each other halve what chance in answering adds."""
    (a, b), (c, d) = splits(2, tested=400, images=400)
    order = [c.ids.index(name) for name in a.ids]
    c, d = c.take(np.array(order)), d.take(np.array(order))
    one = overlap_of([[(a, b)], [(a, b)]], METRICS["accuracy"], train=0, test=1 / 2)
    both = overlap_of([[(a, b), (c, d)]] * 2, METRICS["accuracy"], train=0, test=1 / 2)
    gain = (a.correct.astype(float) - b.correct + c.correct - d.correct) / 2
    assert both.images == pytest.approx(gain.var(ddof=1) / 400)
    assert both.images < one.images


def test_where_nothing_can_be_left_out_nothing_is_known():
    (a, b), *_ = splits(1, tested=5)
    single = tuple(Predictions(one.ids, one.labels, one.probabilities, ("one",) * 5) for one in (a, b))
    assert of([single, single]) == Overlap(0.1, 0.3)
    assert of([(a, b)]) == Overlap(0.1, 0.3)
