"""What the network is asked to say, by hand and against torchvision."""

import pytest
import torch
import torch.nn.functional as F
from torchvision.transforms import v2

from sit2.methods.targets import (
    ClassOrPair,
    Smoothed,
    SmoothedByConfusion,
    SmoothedTargets,
    both_classes,
    class_or_not_sure,
    class_proportions,
    one_class,
    sure_or_not,
)
from sit2.records import ClassPair
from sit2.synthesis.mixer import Mixed

# An original of class 2, a sure composite of class 1, not-sure images of 0 and 2, 2 and 0, 1 and 2.
LEFT, RIGHT, WEIGHT = [2, 1, 0, 2, 1], [2, 1, 2, 0, 2], [1.0, 0.25, 0.25, 0.75, 0.5]


def mixed(left=LEFT, right=RIGHT, weight=WEIGHT):
    rows = torch.arange(len(left))
    return Mixed(
        images=torch.zeros(len(left), 1, 2, 2),
        left=torch.tensor(left),
        right=torch.tensor(right),
        weight=torch.tensor(weight),
        operator=torch.zeros_like(rows),
        left_row=rows,
        right_row=rows,
    )


def pair(a, b):
    return ClassPair(a, b, str(a), str(b), 0.1, 0.0, 0.2, confused=1.0, samples=9, chosen=True)


@pytest.mark.parametrize(
    ("targets", "expected"),
    [
        (both_classes, [[0, 0, 1], [0, 1, 0], [1, 0, 1], [1, 0, 1], [0, 1, 1]]),
        (class_proportions, [[0, 0, 1], [0, 1, 0], [0.25, 0, 0.75], [0.25, 0, 0.75], [0, 0.5, 0.5]]),
        (sure_or_not, [[0], [0], [1], [1], [1]]),
        (class_or_not_sure, [[0, 0, 1, 0], [0, 1, 0, 0], [0, 0, 0, 1], [0, 0, 0, 1], [0, 0, 0, 1]]),
        (
            ClassOrPair([pair(1, 2), pair(0, 2)]),
            [[0, 0, 1, 0, 0], [0, 1, 0, 0, 0], [0, 0, 0, 0, 1], [0, 0, 0, 0, 1], [0, 0, 0, 1, 0]],
        ),
    ],
)
def test_by_hand(targets, expected):
    made = targets(mixed(), 3)
    assert made.dtype == torch.float32
    assert made.tolist() == expected


def test_one_class_of_originals():
    originals = mixed([2, 0], [2, 0], [1.0, 1.0])
    assert one_class(originals, 3).tolist() == [[0, 0, 1], [1, 0, 0]]


def test_smoothing_is_what_cross_entropy_calls_label_smoothing():
    labels, logits = (
        torch.tensor([2, 0, 1, 2, 3]),
        torch.randn(5, 7, generator=torch.Generator().manual_seed(0)),
    )
    originals = mixed(labels.tolist(), labels.tolist(), [1.0] * 5)
    made = Smoothed(0.3)(originals, 7)
    torch.testing.assert_close(made.sum(dim=1), torch.ones(5))
    ours, theirs = F.cross_entropy(logits, made), F.cross_entropy(logits, labels, label_smoothing=0.3)
    torch.testing.assert_close(ours, theirs)


@pytest.mark.parametrize("transform", [v2.MixUp, v2.CutMix])
def test_class_proportions_are_torchvisions_labels(transform):
    """Torchvision mixes each image with the one before it; flat images tell by how much."""
    labels = torch.tensor([0, 1, 2, 1, 0])
    torch.manual_seed(5)
    numbers = torch.arange(5.0)[:, None, None, None].expand(5, 1, 11, 13).contiguous()
    images, theirs = transform(num_classes=3)(numbers, labels)
    before = numbers.roll(1, 0)
    weight = ((images - before) / (numbers - before)).mean(dim=(1, 2, 3))
    ours = class_proportions(mixed(labels.tolist(), labels.roll(1).tolist(), weight.tolist()), 3)
    assert 0.02 < weight[0] < 0.98
    torch.testing.assert_close(ours, theirs)


class TestSmoothedByConfusion:
    SCORES = torch.tensor([[0.0, 0.3, 0.1], [0.3, 0.0, 0.0], [0.1, 0.0, 0.0]])

    def test_by_hand(self):
        targets = SmoothedByConfusion(self.SCORES, epsilon=0.2, emphasis=0.5)(
            mixed([0, 1], [0, 1], [1, 1]), 3
        )
        first = [0.8 + 0.1 / 3, 0.1 * 0.75 + 0.1 / 3, 0.1 * 0.25 + 0.1 / 3]
        second = [0.1 + 0.1 / 3, 0.8 + 0.1 / 3, 0.1 / 3]
        assert torch.allclose(targets, torch.tensor([first, second]))

    def test_rows_sum_to_one(self):
        targets = SmoothedByConfusion(self.SCORES, epsilon=0.3, emphasis=0.7)(mixed(), 3)
        assert torch.allclose(targets.sum(dim=1), torch.ones(5))

    def test_without_emphasis_it_is_label_smoothing(self):
        ours = SmoothedByConfusion(self.SCORES, epsilon=0.1, emphasis=0.0)(mixed(), 3)
        assert torch.allclose(ours, Smoothed(0.1)(mixed(), 3))

    def test_a_class_without_partners_has_label_smoothing(self):
        lonely = SmoothedByConfusion(torch.zeros(3, 3), epsilon=0.1, emphasis=1.0)(mixed(), 3)
        assert torch.allclose(lonely, Smoothed(0.1)(mixed(), 3))


def test_smoothed_targets_are_targets_smoothed():
    ours = SmoothedTargets(class_proportions, 0.3)(mixed(), 3)
    assert torch.allclose(ours, class_proportions(mixed(), 3) * 0.7 + 0.1)
    assert torch.equal(SmoothedTargets(one_class, 0.2)(mixed(), 3), Smoothed(0.2)(mixed(), 3))
    assert SmoothedTargets(class_or_not_sure, 0.2)(mixed(), 3).shape == (5, 4)
