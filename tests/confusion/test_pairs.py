"""Pairs: against scikit-learn, hand-made cases and invariants."""

import itertools
import subprocess
import sys
import time

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from scipy.stats import binom, binomtest
from sklearn.datasets import load_digits
from sklearn.linear_model import LogisticRegression
from sklearn.metrics import confusion_matrix
from sklearn.model_selection import cross_val_predict

from sit2.confusion.matrix_file import matrix_table
from sit2.confusion.pairs import (
    all_pairs,
    choose_pairs,
    measure,
    random_pairs,
    rank_pairs,
    select_pairs,
)
from sit2.confusion.pairs_file import pairs_table
from sit2.errors import ConfigError, DataError
from sit2.records import ClassPair, Confusion

SOFTMAX = "expected probabilities that sum to 1; apply softmax to scores or logits first"
FINITE = "expected probabilities from 0 to 1"
SHAPE = "expected (samples, classes) with at least one sample and two classes, as predict_proba returns it"
ONE_NAME = "expected one name for each column, in the order of the columns"
NAMES = ("ant", "bee", "cat", "dog", "eel")


def scripted(labels: np.ndarray, takes_for: dict[tuple[int, int], float], num_classes: int) -> np.ndarray:
    """(N, K): a classifier that gives class j the share ``takes_for[i, j]`` of every sample of class i."""
    rows = np.eye(num_classes)
    for (i, j), share in takes_for.items():
        rows[i, j] += share
        rows[i, i] -= share
    return rows[labels]


def random_case(seed: int, n: int = 60, k: int = 5) -> tuple[np.ndarray, np.ndarray]:
    generator = np.random.default_rng(seed)
    return generator.dirichlet(np.full(k, 0.5), n), generator.integers(k, size=n)


def names(pairs: list[ClassPair]) -> list[tuple[str, str]]:
    return [(p.class_a, p.class_b) for p in pairs]


class TestMeasure:
    def test_one_hot_probabilities_give_the_confusion_matrix_of_scikit_learn(self):
        generator = np.random.default_rng(0)
        labels, predicted = generator.integers(5, size=(2, 211))
        confusion = measure(np.eye(5)[predicted], labels, NAMES)
        assert np.array_equal(confusion.mass, confusion_matrix(labels, predicted))
        assert np.array_equal(confusion.samples, np.bincount(labels))

    def test_soft_counts_by_hand(self):
        confusion = measure(np.array([[0.7, 0.3], [0.5, 0.5], [0.1, 0.9]]), np.array([0, 0, 1]), ("a", "b"))
        assert np.allclose(confusion.mass, [[1.2, 0.8], [0.1, 0.9]])
        assert confusion.samples.tolist() == [2, 1]
        assert confusion.samples.dtype == np.int64

    def test_shapes_and_labels_that_do_not_fit(self):
        with pytest.raises(ValueError, match=r"probabilities \(2, 3\) do not fit 2 labels of 2 classes"):
            measure(np.ones((2, 3)) / 3, np.array([0, 1]), ("a", "b"))
        with pytest.raises(ValueError, match="labels run from -1 to 1, classes from 0 to 1"):
            measure(np.ones((2, 2)) / 2, np.array([-1, 1]), ("a", "b"))


class TestRank:
    def test_score_interval_and_counts_by_hand(self):
        probabilities = np.repeat([[0.9, 0.1], [0.3, 0.7]], [20, 10], axis=0)
        (pair,) = rank_pairs(measure(probabilities, np.repeat([0, 1], [20, 10]), ("a", "b")))
        low1, high1 = binomtest(2, 20).proportion_ci(method="wilson")  # scipy's Wilson, not statsmodels'
        low2, high2 = binomtest(3, 10).proportion_ci(method="wilson")
        assert pair.score == pytest.approx(0.4)
        assert pair.lower == pytest.approx(0.4 - np.hypot(0.1 - low1, 0.3 - low2))
        assert pair.upper == pytest.approx(0.4 + np.hypot(high1 - 0.1, high2 - 0.3))
        assert pair.confused == pytest.approx(5)
        assert pair.samples == 30
        assert not pair.chosen

    def test_a_class_without_samples_is_left_out_not_scored_zero(self):
        probabilities, labels = random_case(1)
        keep = labels != 2
        ranked = rank_pairs(measure(probabilities[keep], labels[keep], NAMES))
        assert len(ranked) == 6  # pairs of the four others
        assert all("cat" not in pair for pair in names(ranked))

    def test_equal_scores_stand_by_name(self):
        ranked = rank_pairs(Confusion(("zoo", "ant", "bee"), np.eye(3) * 4, np.array([4, 4, 4])))
        assert names(ranked) == [("ant", "bee"), ("zoo", "ant"), ("zoo", "bee")]

    def test_a_row_that_sums_to_a_little_more_than_one_has_an_interval(self):
        ranked = rank_pairs(measure(np.array([[0, 1.0009], [1, 0]]), np.array([0, 1]), ("a", "b")))
        assert ranked[0].score == ranked[0].upper == 2
        assert 0 < ranked[0].lower < 2

    @settings(max_examples=40, deadline=None)
    @given(seed=st.integers(0, 10_000), order=st.permutations(range(5)))
    def test_invariants(self, seed, order):
        probabilities, labels = random_case(seed)
        ranked = rank_pairs(measure(probabilities, labels, NAMES))
        scores = [p.score for p in ranked]
        assert scores == sorted(scores, reverse=True)
        for p in ranked:
            assert 0 <= p.lower <= p.score <= p.upper <= 2
            assert (p.class_a, p.class_b) == (NAMES[p.a], NAMES[p.b])
            assert p.a < p.b

        relabelled = rank_pairs(
            measure(probabilities[:, order], np.argsort(order)[labels], [NAMES[k] for k in order])
        )
        assert [set(p) for p in names(relabelled)] == [set(p) for p in names(ranked)]
        assert np.allclose([p.score for p in relabelled], scores)
        assert np.allclose([p.upper for p in relabelled], [p.upper for p in ranked])

        twice = rank_pairs(measure(np.tile(probabilities, (2, 1)), np.tile(labels, 2), NAMES))
        by_name = {(p.class_a, p.class_b): p for p in twice}
        for p in ranked:
            double = by_name[p.class_a, p.class_b]
            assert double.score == pytest.approx(p.score)
            assert double.confused == pytest.approx(2 * p.confused)
            assert double.upper - double.lower <= p.upper - p.lower + 1e-12  # more samples, no wider

    @pytest.mark.parametrize(
        ("n1", "n2", "mean", "least"), [(3, 3, 0.93, 0.85), (5, 7, 0.94, 0.89), (7, 50, 0.95, 0.91)]
    )
    def test_the_interval_covers_the_truth_for_all_or_nothing_samples(self, n1, n2, mean, least):
        """Exactly, by weighing every outcome, for every pair of true shares from 0.05 to 0.5."""
        intervals = np.array([[_interval(n1, n2, i, j) for j in range(n2 + 1)] for i in range(n1 + 1)])
        shares = np.arange(1, 11) / 20
        coverage = []
        for p1, p2 in itertools.product(shares, shares):
            chance = np.outer(binom.pmf(range(n1 + 1), n1, p1), binom.pmf(range(n2 + 1), n2, p2))
            covers = (intervals[..., 0] <= p1 + p2) & (p1 + p2 <= intervals[..., 1])
            coverage.append(chance[covers].sum())
        assert np.mean(coverage) >= mean
        assert np.min(coverage) >= least

    def test_the_interval_is_conservative_for_soft_counts(self):
        generator = np.random.default_rng(8)
        labels = np.repeat([0, 1], 12)
        covered = 0
        for wrong in generator.beta(2, 6, size=(500, 24)):  # probabilities of the other class, mean 1/4
            probabilities = np.where(labels[:, None] == [0, 1], 1 - wrong[:, None], wrong[:, None])
            (pair,) = rank_pairs(measure(probabilities, labels, ("a", "b")))
            covered += pair.lower <= 0.5 <= pair.upper
        assert covered / 500 >= 0.99

    def test_a_hundred_classes_take_milliseconds(self):
        probabilities, labels = random_case(3, n=2000, k=109)
        confusion = measure(probabilities, labels, [str(k) for k in range(109)])
        rank_pairs(confusion)  # imports
        start = time.process_time()
        assert len(rank_pairs(confusion)) == 5886
        assert time.process_time() - start < 0.3


def _interval(n1: int, n2: int, wrong1: int, wrong2: int) -> tuple[float, float]:
    mass = np.array([[n1 - wrong1, wrong1], [wrong2, n2 - wrong2]], dtype=float)
    (pair,) = rank_pairs(Confusion(("a", "b"), mass, np.array([n1, n2])))
    return pair.lower, pair.upper


def pair(a: int, b: int, score: float, confused: float = 5.0) -> ClassPair:
    return ClassPair(a, b, NAMES[a], NAMES[b], score, 0.0, 2.0, confused, 10)


class TestChoose:
    RANKED = (
        pair(0, 1, 0.5),
        pair(0, 2, 0.3),
        pair(1, 2, 0.1, confused=0.5),
        pair(0, 3, 0.1),
        pair(1, 3, 0.0),
    )

    @pytest.mark.parametrize(
        ("settings", "chosen"),
        [
            ({}, [0]),  # 0.5 of 1.0 is half
            ({"coverage": 0.51}, [0, 1]),
            ({"coverage": 1.0}, [0, 1, 3]),  # 2 confuses too few, 4 nothing
            ({"coverage": 1.0, "min_confused": 0.0}, [0, 1, 2, 3]),
            ({"coverage": 1.0, "max_pairs": 2}, [0, 1]),
            ({"coverage": 1.0, "num_classes": 1}, [0, 1]),  # default cap: twice the classes
            ({"coverage": 0.0}, []),
            ({"min_confused": 6}, []),
        ],
    )
    def test_by_hand(self, settings, chosen):
        result = choose_pairs(self.RANKED, **{"num_classes": 5, **settings})
        assert [n for n, p in enumerate(result) if p.chosen] == chosen
        assert names(result) == names(list(self.RANKED))

    def test_rounding_adds_no_pair(self):
        equal = choose_pairs([pair(0, 1, 0.3)] * 4, num_classes=5)  # 0.3 + 0.3 < half of their sum, in floats
        assert sum(p.chosen for p in equal) == 2

    def test_nothing_confused_and_nothing_measured_choose_nothing(self):
        assert choose_pairs([], num_classes=3) == []
        assert not any(p.chosen for p in choose_pairs([pair(0, 1, 0.0)], num_classes=5, min_confused=0))
        nan = float("nan")
        unmeasured = choose_pairs([pair(0, 1, nan, nan), pair(0, 2, 0.4)], num_classes=5)
        assert [p.chosen for p in unmeasured] == [False, True]
        assert not any(p.chosen for p in choose_pairs(all_pairs(NAMES), num_classes=5))

    @settings(max_examples=60, deadline=None)
    @given(
        scores=st.lists(st.floats(0.001, 2), min_size=1, max_size=10),
        coverage=st.floats(0.01, 1),
    )
    def test_the_chosen_hold_the_coverage_and_one_less_would_not(self, scores, coverage):
        ranked = [pair(0, 1, s) for s in sorted(scores, reverse=True)]
        result = choose_pairs(ranked, num_classes=5, coverage=coverage, min_confused=0)
        held = [p.score for p in result if p.chosen]
        wanted = coverage * sum(scores)
        assert sum(held) >= wanted * (1 - 1e-9)
        assert sum(held[:-1]) < wanted

    def test_settings_that_mean_nothing(self):
        with pytest.raises(ConfigError) as error:
            choose_pairs([], num_classes=3, coverage=float("nan"))
        assert str(error.value) == "coverage is nan\nexpected a share of all confusion, from 0 to 1"
        with pytest.raises(ConfigError) as error:
            choose_pairs([], num_classes=3, min_confused=-1)
        assert str(error.value) == "min_confused is -1\nexpected a count of samples, at least 0"
        with pytest.raises(ConfigError) as error:
            choose_pairs([], num_classes=3, max_pairs=0)
        assert str(error.value) == "max_pairs is 0\nexpected at least 1, or None for twice the classes"


class TestSelect:
    def test_a_scripted_classifier_gives_its_pairs_back(self):
        labels = np.repeat(np.arange(5), [40, 11, 23, 7, 31])
        probabilities = scripted(labels, {(0, 3): 0.2, (3, 0): 0.3, (1, 4): 0.4, (2, 4): 0.01}, 5)
        selected = select_pairs(probabilities, labels, classes=NAMES, coverage=0.9)
        assert names(selected) == [("ant", "dog"), ("bee", "eel")]
        assert [p.score for p in selected] == pytest.approx([0.5, 0.4])
        assert all(p.chosen for p in selected)

    def test_labels_as_indices_as_names_and_as_numbered_names_agree(self):
        probabilities, labels = random_case(5)
        by_index = select_pairs(probabilities, labels, classes=NAMES)
        assert by_index == select_pairs(probabilities, [NAMES[k] for k in labels], classes=NAMES)
        assert by_index == select_pairs(probabilities.tolist(), labels.tolist(), classes=list(NAMES))
        numbers = np.array([3, 5, 7, 11, 13])  # scikit-learn's classes_ of labels that are numbers
        by_number = select_pairs(probabilities, numbers[labels], classes=numbers)
        assert [(p.a, p.b) for p in by_number] == [(p.a, p.b) for p in by_index]
        assert {p.class_a for p in select_pairs(probabilities, labels)} <= set("01234")

    def test_logistic_regression_on_digits_gives_what_a_hand_computation_gives(self):
        images, labels = (array[:900] for array in load_digits(return_X_y=True))
        probabilities = cross_val_predict(
            LogisticRegression(C=0.1), images / 16, labels, cv=3, method="predict_proba"
        )
        score = {}
        for i in range(10):
            for j in range(i + 1, 10):
                score[str(i), str(j)] = sum(probabilities[labels == i, j]) / sum(labels == i) + sum(
                    probabilities[labels == j, i]
                ) / sum(labels == j)
        best = sorted(score, key=score.__getitem__, reverse=True)
        total, held, count = sum(score.values()), 0.0, 0
        while held < total / 2:
            held += score[best[count]]
            count += 1
        assert count < 20  # under the cap of two a class
        assert names(select_pairs(probabilities, labels)) == best[:count]

    @pytest.mark.parametrize(
        ("probabilities", "labels", "classes", "message"),
        [
            (
                [[0.5, 0.5], [0.2, 0.6]],
                [0, 1],
                None,
                f"row 1 of probabilities sums to 0.8\n{SOFTMAX}",
            ),
            (
                [[0.5, 0.5], [-2.0, 3.0]],
                [0, 1],
                None,
                f"row 1 of probabilities holds the negative number -2\n{SOFTMAX}",
            ),
            (
                [[np.nan, 0.5], [0.5, 0.5]],
                [0, 1],
                None,
                f"row 0 of probabilities holds a number that is not finite\n{FINITE}",
            ),
            (
                [0.5, 0.5],
                [0, 1],
                None,
                f"probabilities has shape (2,)\n{SHAPE}",
            ),
            (
                np.empty((0, 2)),
                [],
                None,
                f"probabilities has shape (0, 2)\n{SHAPE}",
            ),
            (
                [["a", "b"]],
                [0],
                None,
                "probabilities are not all numbers\nexpected an array (samples, classes)",
            ),
            (
                [[0.5, 0.5]],
                [0, 1],
                None,
                "labels has shape (2,)\nexpected (1,): one label for each row",
            ),
            (
                [[0.5, 0.5]],
                [2],
                None,
                "label 2 of row 0 is no class\nexpected whole numbers from 0 to 1, or names and classes=[…]",
            ),
            ([[0.5, 0.5]], [0.0], None, "labels are float64 numbers\nexpected whole numbers or class names"),
            (
                [[0.5, 0.5]],
                ["dog"],
                None,
                (
                    "label 'dog' of row 0 is no class\nlabels that are names need classes=[…]: the names in the "
                    "order of the columns (classes_ of a classifier)"
                ),
            ),
            (
                [[0.5, 0.5]],
                [None],
                ["cat", "dog"],
                (
                    "labels: 1 label of 1 is missing (None, NaN or empty), in row 0, counted from 0\n"
                    "expected a label for each image: fill them in, or leave the images out"
                ),
            ),
            (
                [[0.5, 0.5]],
                ["dgo"],
                ["cat", "dog"],
                "label 'dgo' of row 0 is no class\ndid you mean 'dog'?",
            ),
            (
                [[0.5, 0.5]],
                [0],
                ["cat", "cat"],
                f"classes has 1 different names, probabilities has 2 columns\n{ONE_NAME}",
            ),
        ],
    )
    def test_wrong_input_is_named_with_its_cure(self, probabilities, labels, classes, message):
        with pytest.raises(DataError) as error:
            select_pairs(probabilities, labels, classes=classes)
        assert str(error.value) == message


class TestControls:
    def test_all_pairs_are_chosen_and_unmeasured(self):
        pairs = all_pairs(NAMES)
        assert len(set(names(pairs))) == 10
        assert all(p.chosen and p.a < p.b and p.samples == 0 for p in pairs)
        assert np.isnan([[p.score, p.lower, p.upper, p.confused] for p in pairs]).all()

    def test_random_pairs_are_different_repeatable_and_uniform(self):
        drawn = names(random_pairs(NAMES, 4, np.random.default_rng(3)))
        assert drawn == names(random_pairs(NAMES, 4, np.random.default_rng(3)))
        assert len(set(drawn)) == 4
        assert set(names(random_pairs(NAMES, 10, np.random.default_rng(0)))) == set(names(all_pairs(NAMES)))
        generator = np.random.default_rng(4)
        seen = [name for _ in range(1000) for name in names(random_pairs(NAMES, 3, generator))]
        counts = [seen.count(name) for name in names(all_pairs(NAMES))]
        assert min(counts) > 240  # 300 expected, standard deviation 14.5
        assert max(counts) < 360

    def test_more_pairs_than_there_are(self):
        with pytest.raises(ValueError, match="11 pairs wanted, 5 classes have 10"):
            random_pairs(NAMES, 11, np.random.default_rng(0))


class TestTables:
    def test_pairs_table_has_the_columns_of_the_contract(self):
        table = pairs_table([pair(0, 1, 0.5)])
        contract = ["class_a", "class_b", "score", "lower", "upper", "confused", "samples", "chosen"]
        assert list(table.columns) == contract
        assert table.iloc[0].tolist() == ["ant", "bee", 0.5, 0.0, 2.0, 5.0, 10, False]
        assert list(pairs_table([]).columns) == contract

    def test_matrix_table_leaves_an_unsampled_row_empty(self):
        confusion = Confusion(("label", "b"), np.array([[1.5, 0.5], [0.0, 0.0]]), np.array([2, 0]))
        csv = matrix_table(confusion).to_csv(index=False, lineterminator="\n")
        assert csv == "label,label,b,samples\nlabel,1.5,0.5,2\nb,,,0\n"


def test_pairs_estimates_and_files_never_import_torch():
    code = (
        "import sys, sit2.confusion.pairs as p, sit2.confusion.out_of_fold, sit2.confusion.predictions_file\n"
        "assert not {'torch', 'pandas', 'statsmodels', 'sklearn'} & set(sys.modules), 'heavy at the start'\n"
        "from sit2.confusion.pairs_file import pairs_table\n"
        "pairs_table(p.select_pairs([[0.9, 0.1], [0.2, 0.8]], [0, 1]))\n"
        "assert 'torch' not in sys.modules"
    )
    subprocess.run([sys.executable, "-c", code], check=True)
