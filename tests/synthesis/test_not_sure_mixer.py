"""Pair mixing as one transform, in anybody's loop."""

import numpy as np
import pytest
import torch

from sit2.errors import ConfigError
from sit2.records import ClassPair
from sit2.synthesis.mixer import NotSureMixer

LABELS = torch.tensor([0, 1, 2, 0, 3, 1, 3])
IMAGES = torch.rand(7, 3, 5, 11, generator=torch.Generator().manual_seed(3))
PAIRS = [(0, 1), (1, 2)]


def rng(seed=0):
    return torch.Generator().manual_seed(seed)


def test_images_without_a_partner_stay_as_they_are():
    mixed = NotSureMixer(PAIRS)(IMAGES, LABELS, generator=rng())
    alone = [4, 6]  # class 3 is in no pair
    assert torch.equal(mixed.images[alone], IMAGES[alone])
    assert mixed.left[alone].tolist() == mixed.right[alone].tolist() == [3, 3]
    assert mixed.weight[alone].tolist() == [1, 1]
    assert mixed.operator[alone].tolist() == [-1, -1]
    assert mixed.right_row[alone].tolist() == alone
    assert mixed.not_sure.tolist() == [True, True, True, True, False, True, False]


def test_a_class_whose_partner_is_not_in_the_batch_stays_too():
    mixed = NotSureMixer([(0, 9)])(IMAGES, LABELS, generator=rng())
    assert torch.equal(mixed.images, IMAGES)
    assert torch.equal(mixed.left, mixed.right)
    assert not mixed.not_sure.any()


def test_partners_come_from_paired_classes_and_all_of_them_are_drawn():
    mixer, seen = NotSureMixer(PAIRS), set()
    for seed in range(101):
        mixed = mixer(IMAGES, LABELS, generator=rng(seed))
        assert torch.equal(mixed.left, LABELS)
        assert torch.equal(mixed.right, LABELS[mixed.right_row])
        assert mixed.left_row.tolist() == list(range(7))
        seen |= set(zip(mixed.left_row.tolist(), mixed.right_row.tolist(), strict=True))
    zeros, ones, twos, threes = {0, 3}, {1, 5}, {2}, {4, 6}
    expected = {(a, b) for a in zeros | twos for b in ones} | {(a, b) for a in ones for b in zeros | twos}
    assert seen == expected | {(n, n) for n in threes}


@pytest.mark.parametrize("operator", ["blend", "halves", "patches"])
def test_the_image_holds_what_the_record_says(operator):
    flat = torch.arange(7.0)[:, None, None, None].expand(7, 1, 5, 11).contiguous()
    mixed = NotSureMixer(PAIRS, operators=[operator])(flat, LABELS, generator=rng())
    share = (mixed.weight * mixed.left_row + (1 - mixed.weight) * mixed.right_row)[:, None]
    torch.testing.assert_close(mixed.images.mean(dim=(2, 3)), share)


def test_equal_generators_give_equal_images():
    mixer = NotSureMixer(PAIRS)
    first, again = (mixer(IMAGES, LABELS, generator=rng(4)) for _ in range(2))
    assert torch.equal(first.images, again.images)
    assert not torch.equal(first.images, mixer(IMAGES, LABELS, generator=rng(5)).images)


def test_without_a_generator_every_call_differs():
    mixer, weights = NotSureMixer(PAIRS, operators=["blend"]), []
    for _ in range(2):
        torch.manual_seed(0)
        weights.append(mixer(IMAGES, LABELS).weight)
    assert not torch.equal(*weights)


def test_takes_the_pairs_of_select_pairs():
    pair = ClassPair(0, 1, "a", "b", 0.3, 0.2, 0.4, confused=3.0, samples=9, chosen=True)
    mixed = NotSureMixer([pair])(IMAGES, LABELS, generator=rng())
    assert mixed.not_sure.tolist() == [True, True, False, True, False, True, False]


@pytest.mark.parametrize(
    ("pairs", "operators", "sentence"),
    [
        ([], ["blend"], "NotSureMixer got no pairs\nexpected at least one; sit2.select_pairs finds them"),
        (PAIRS, ["blnd"], "unknown operator 'blnd'\ndid you mean 'blend'?"),
        (PAIRS, ["x"], "unknown operator 'x'\nchoose from blend, halves, patches"),
        (PAIRS, [], "NotSureMixer got no operators\nchoose from blend, halves, patches"),
    ],
)
def test_what_it_refuses(pairs, operators, sentence):
    with pytest.raises(ConfigError) as error:
        NotSureMixer(pairs, operators=operators)
    assert str(error.value) == sentence


@pytest.mark.parametrize("pairs", [[(1, 1)], [(0, 1), (-1, 2)]])
def test_a_pair_is_two_classes(pairs):
    with pytest.raises(ConfigError, match="a pair holds a negative class index, or one class twice"):
        NotSureMixer(pairs)


def test_pairs_may_be_an_array():
    assert NotSureMixer(np.array([[0, 2], [1, 2]])).pairs.tolist() == [[0, 2], [1, 2]]


def test_targets_are_the_parents_shares():
    mixed = NotSureMixer(PAIRS)(IMAGES, LABELS, generator=rng())
    targets = mixed.targets(4)
    torch.testing.assert_close(targets.sum(dim=1), torch.ones(7))
    rows = torch.arange(7)
    torch.testing.assert_close(targets[rows, mixed.left], mixed.weight)  # 1 where it stayed as it is
    torch.testing.assert_close(targets[mixed.not_sure].amax(dim=1) < 1, torch.ones(5, dtype=torch.bool))


@pytest.mark.parametrize("workers", [0, 1])
def test_it_collates_the_batches_of_a_loader(workers):
    data = torch.utils.data.TensorDataset(IMAGES, LABELS)
    collate = NotSureMixer(PAIRS).collate_fn(4)

    def batch(seed):
        torch.manual_seed(seed)
        return next(iter(torch.utils.data.DataLoader(data, 7, collate_fn=collate, num_workers=workers)))

    images, targets = batch(0)
    assert (images.shape, targets.shape) == (IMAGES.shape, (7, 4))
    alone = [4, 6]
    assert torch.equal(images[alone], IMAGES[alone])
    assert not torch.equal(images, IMAGES)
    assert torch.equal(batch(0)[0], images)
    assert not torch.equal(batch(1)[0], images)
