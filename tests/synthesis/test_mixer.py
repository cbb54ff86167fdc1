"""Drawing parents, and mixing with several operators at once."""

from itertools import product

import pytest
import torch
from hypothesis import given
from hypothesis import strategies as st

from sit2.records import ClassPair
from sit2.synthesis import SYNTHESIZERS
from sit2.synthesis.mixer import ClassIndex, Mixed, draw_not_sure, draw_sure, mix, pair_tensor

LABELS = torch.tensor([2, 0, 1, 1, 2, 2, 0, 2, 4, 1, 2])  # class 3 has no image, class 4 has one
OPERATORS = tuple(SYNTHESIZERS)


def rng(seed=0):
    return torch.Generator().manual_seed(seed)


def index(labels=LABELS, num_classes=5):
    return ClassIndex.of(labels, num_classes)


@given(st.lists(st.integers(0, 6), min_size=1, max_size=30))
def test_the_index_holds_the_rows_of_each_class(labels):
    made = ClassIndex.of(torch.tensor(labels), 7)
    for k in range(7):
        part = made.order[made.start[k] : made.start[k] + made.count[k]]
        assert part.tolist() == [row for row, label in enumerate(labels) if label == k]


def test_rows_of_a_class_are_drawn_evenly():
    rows = index().draw(torch.full((5003,), 2), generator=rng())
    count = torch.bincount(rows, minlength=11)
    assert set(count.nonzero()[:, 0].tolist()) == {0, 4, 5, 7, 10}
    assert count[count > 0].min() > 5003 / 5 * 0.85


class TestSure:
    def test_parents_are_two_different_images_of_one_class(self):
        drawn = draw_sure(index(), 2003, generator=rng())
        assert torch.equal(LABELS[drawn.left], LABELS[drawn.right])
        assert (drawn.left != drawn.right).all()

    def test_classes_with_two_images_take_part_evenly(self):
        drawn = draw_sure(index(), 3001, generator=rng())
        count = torch.bincount(LABELS[drawn.left], minlength=5)
        assert count[[3, 4]].tolist() == [0, 0]
        assert count[:3].min() > 3001 / 3 * 0.9

    def test_every_ordered_pair_of_images_is_drawn(self):
        drawn = draw_sure(index(), 2003, generator=rng())
        expected = {(a, b) for a, b in product(range(11), repeat=2) if a != b and LABELS[a] == LABELS[b]}
        assert set(zip(drawn.left.tolist(), drawn.right.tolist(), strict=True)) == expected

    def test_where_no_class_has_two_images_an_image_is_its_own_partner(self):
        drawn = draw_sure(index(torch.tensor([4, 0, 2])), 101, generator=rng())
        assert torch.equal(drawn.left, drawn.right)
        assert set(drawn.left.tolist()) == {0, 1, 2}

    def test_none(self):
        for labels in (LABELS, torch.tensor([4, 0, 2])):
            assert len(draw_sure(index(labels), 0, generator=rng()).left) == 0


class TestNotSure:
    PAIRS = pair_tensor([(0, 2), (1, 2), (0, 4)])

    def test_all_pairs_in_both_orders_evenly(self):
        drawn = draw_not_sure(index(), self.PAIRS, 6007, generator=rng())
        seen = torch.stack([LABELS[drawn.left], LABELS[drawn.right]], dim=1)
        kinds, count = seen.unique(dim=0, return_counts=True)
        expected = [[0, 2], [0, 4], [1, 2], [2, 0], [2, 1], [4, 0]]
        assert kinds.tolist() == expected
        assert count.min() > 6007 / 6 * 0.9

    def test_every_two_images_of_a_pair_are_drawn(self):
        drawn = draw_not_sure(index(), self.PAIRS[1:2], 2003, generator=rng())
        ones, twos = {2, 3, 9}, {0, 4, 5, 7, 10}
        expected = {*product(ones, twos), *product(twos, ones)}
        assert set(zip(drawn.left.tolist(), drawn.right.tolist(), strict=True)) == expected

    def test_weights_decide_how_often_a_pair_is_drawn(self):
        weights = torch.tensor([0.0, 3.0, 1.0])
        drawn = draw_not_sure(index(), self.PAIRS, 4001, generator=rng(), weights=weights)
        pair = LABELS[drawn.left] + LABELS[drawn.right]  # 2, 3 or 4
        count = torch.bincount(pair, minlength=5)[2:]
        assert count[0] == 0
        assert count[1] / 4001 == pytest.approx(0.75, abs=0.03)


def test_pair_tensor_takes_pairs_and_tuples():
    pair = ClassPair(3, 5, "c", "e", 0.1, 0.0, 0.2, confused=2.0, samples=9)
    assert pair_tensor([pair]).tolist() == pair_tensor([(3, 5)]).tolist() == [[3, 5]]
    assert pair_tensor([]).shape == (0, 2)


class TestMix:
    def parents(self, count=211):
        return torch.rand(2, count, 3, 7, 11, generator=rng(5)).unbind()

    def test_operators_are_drawn_evenly(self):
        left, right = self.parents(3001)
        _, _, operator = mix(left, right, OPERATORS, generator=rng())
        assert torch.bincount(operator).min() > 3001 / 3 * 0.9
        assert len(torch.bincount(operator)) == 3

    def test_weight_is_the_true_share_of_the_left_parent(self):
        # A white left parent over a black right one shows the mask itself.
        left, right = torch.ones(211, 1, 7, 11), torch.zeros(211, 1, 7, 11)
        mixed, weight, _ = mix(left, right, OPERATORS, generator=rng())
        torch.testing.assert_close(weight, mixed.mean(dim=(1, 2, 3)))

    def test_the_named_operator_made_the_image(self):
        left, right = torch.ones(211, 1, 8, 8), torch.zeros(211, 1, 8, 8)
        mixed, _, operator = mix(left, right, OPERATORS, generator=rng())
        for image, number in zip(mixed[:, 0], operator.tolist(), strict=True):
            values = len(image.unique())
            straight = bool((image == image[:1]).all() or (image == image[:, :1]).all())
            kind = "blend" if values == 1 else "halves" if straight else "patches"
            assert OPERATORS[number] == kind

    def test_the_generator_alone_decides(self):
        left, right = self.parents()
        first = mix(left, right, OPERATORS, generator=rng())
        torch.manual_seed(99)
        again = mix(left, right, OPERATORS, generator=rng())
        other = mix(left, right, OPERATORS, generator=rng(1))
        assert all(torch.equal(a, b) for a, b in zip(first, again, strict=True))
        assert not torch.equal(first[0], other[0])

    def test_parents_stay_as_they_are(self):
        left, right = self.parents()
        mix(left, right, OPERATORS, generator=rng())
        assert torch.equal(left, self.parents()[0])
        assert torch.equal(right, self.parents()[1])


def test_not_sure_images_are_those_of_two_classes():
    rows = torch.arange(3)
    left, right = torch.tensor([0, 1, 2]), torch.tensor([0, 2, 1])
    mixed = Mixed(torch.zeros(3, 1, 2, 2), left, right, torch.ones(3), rows, rows, rows)
    assert mixed.not_sure.tolist() == [False, True, True]
