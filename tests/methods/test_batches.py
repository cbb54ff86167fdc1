"""What the batches of a phase are made of."""

import math

import numpy as np
import pytest
import torch
from hypothesis import given
from hypothesis import strategies as st
from scipy import stats

from sit2.methods.batches import Composites, InBatch, Originals, SoftMixtures, _box_masks, portion
from sit2.seeds import Seeds
from sit2.synthesis.mixer import pair_tensor
from sit2.training.augmentations import PRESETS
from sit2.training.training_set import Normalisation, TrainingSet

PLAIN = Normalisation((0.0,), (1.0,))


def numbered(labels, *, size=8, augment="none", seed=0):
    """A training set whose images are flat, each with its own row number as the value."""
    count = len(labels)
    images = np.broadcast_to(np.arange(count, dtype=np.uint8)[:, None, None, None], (count, 1, size, size))
    return TrainingSet.of(
        images,
        np.array(labels),
        max(labels) + 1,
        normalise=PLAIN,
        augment=PRESETS[augment],
        seeds=Seeds(seed).child("training", "phase"),
    )


def values(images):
    return images.mul(255).round().long()[:, 0, 0, 0]


class TestPortion:
    @given(st.integers(0, 10**6), st.integers(1, 512), st.floats(0, 1))
    def test_a_step_goes_on_where_the_step_before_ended(self, step, size, fraction):
        start, length = portion(step, size, fraction)
        assert portion(step + 1, size, fraction)[0] == start + length

    @given(st.integers(0, 10**6), st.integers(1, 512), st.floats(0, 1))
    def test_the_length_is_the_fraction_give_or_take_one(self, step, size, fraction):
        _, length = portion(step, size, fraction)
        assert 0 <= length <= size
        assert abs(length - size * fraction) < 1 + 1e-6

    @given(st.integers(1, 40), st.integers(1, 97), st.floats(0, 1))
    def test_lengths_sum_to_the_fraction_of_everything(self, steps, size, fraction):
        total = sum(portion(step, size, fraction)[1] for step in range(steps))
        assert total == math.floor(steps * size * fraction)

    def test_by_hand(self):
        assert [portion(step, 7, 0.5) for step in range(4)] == [(0, 3), (3, 4), (7, 3), (10, 4)]
        assert portion(5, 7, 0.0) == (0, 0)
        assert portion(5, 7, 1.0) == (35, 7)


class TestOriginals:
    def test_every_image_once_in_an_epoch_as_it_is(self):
        training_set = numbered([0, 1, 2, 0, 1, 2, 2, 2, 0, 1, 1])
        drawn = [Originals().draw(training_set, step, 7) for step in range(11)]  # 7 epochs of 11 images
        rows = torch.cat([m.left_row for m in drawn])
        assert all(sorted(part.tolist()) == list(range(11)) for part in rows.split(11))
        for m in drawn:
            assert torch.equal(values(m.images), m.left_row)
            assert torch.equal(m.left, training_set.labels[m.left_row])
            assert torch.equal(m.left, m.right)
            assert torch.equal(m.left_row, m.right_row)
            assert m.weight.tolist() == [1] * 7
            assert m.operator.tolist() == [-1] * 7


class TestComposites:
    LABELS = (0, 1, 2, 0, 1, 2, 2, 2, 0, 1, 3)

    def test_originals_then_sure_then_not_sure(self):
        training_set = numbered(self.LABELS)
        batches = Composites([(0, 2), (1, 3)], original_fraction=0.3, sure_fraction=0.3)
        count = np.zeros(3, int)
        for step in range(50):
            m = batches.draw(training_set, step, 7)
            assert len(m.images) == 7
            original = m.operator == -1
            kind = torch.where(original, 0, torch.where(m.not_sure, 2, 1))
            assert torch.equal(kind, kind.sort().values)
            assert torch.equal(m.left, training_set.labels[m.left_row])
            assert torch.equal(m.right, training_set.labels[m.right_row])
            assert torch.equal(m.left_row[original], m.right_row[original])
            assert (m.left_row[~original] != m.right_row[~original]).all()
            pairs = {tuple(sorted(p)) for p in zip(m.left.tolist(), m.right.tolist(), strict=True)}
            assert {p for p in pairs if p[0] != p[1]} <= {(0, 2), (1, 3)}
            count += np.bincount(kind.numpy(), minlength=3)
        assert count.tolist() == [105, 105, 140]

    def test_a_batch_without_not_sure_images_is_never_too_long(self):
        training_set = numbered(self.LABELS)
        batches = Composites(
            [(0, 2)], original_fraction=0.25, sure_fraction=0.75
        )  # 2 and 6 of 7 in some steps
        for step in range(8):
            assert len(batches.draw(training_set, step, 7).images) == 7

    def test_images_hold_what_the_record_says(self):
        training_set = numbered(self.LABELS)
        m = Composites([(0, 2)], original_fraction=0.25, sure_fraction=0.25).draw(training_set, 3, 31)
        fraction = m.weight * m.left_row + (1 - m.weight) * m.right_row
        torch.testing.assert_close(m.images.mean(dim=(1, 2, 3)) * 255, fraction)

    def test_originals_go_on_from_step_to_step(self):
        training_set = numbered(self.LABELS)
        batches = Composites([(0, 2)], original_fraction=0.4, sure_fraction=0.0)
        rows = [
            batches.draw(training_set, step, 11).left_row[: portion(step, 11, 0.4)[1]] for step in range(5)
        ]
        read = torch.cat(rows)  # 22 images: two epochs
        assert len(read) == 22
        assert sorted(read[:11].tolist()) == sorted(read[11:].tolist()) == list(range(11))

    def test_all_parents_take_part(self):
        training_set = numbered(self.LABELS)
        batches = Composites([(0, 2), (1, 3)], sure_fraction=0.0)
        drawn = [batches.draw(training_set, step, 31) for step in range(5)]
        assert torch.cat([m.left_row for m in drawn]).unique().tolist() == list(range(11))
        assert torch.cat([m.right_row for m in drawn]).unique().tolist() == list(range(11))
        kinds = torch.stack([torch.cat([m.left for m in drawn]), torch.cat([m.right for m in drawn])])
        assert kinds.unique(dim=1).T.tolist() == [[0, 2], [1, 3], [2, 0], [3, 1]]

    def test_parents_are_augmented_each_on_its_own(self):
        generator = np.random.default_rng(0)
        images = np.repeat(generator.integers(0, 256, (1, 1, 8, 8), np.uint8), 2, axis=0)
        training_set = TrainingSet.of(
            images, np.array([0, 1]), 2, normalise=PLAIN, augment=PRESETS["flip"], seeds=Seeds(0)
        )
        mixed = Composites([(0, 1)], sure_fraction=0.0, operators=("halves",)).draw(training_set, 0, 13)
        # Both parents are one picture, so without augmentation all mixtures would be that picture.
        assert len(mixed.images.flatten(1).unique(dim=0)) == 13

    def test_a_single_image_of_each_class_is_enough(self):
        m = Composites([(0, 1)], sure_fraction=0.5).draw(numbered([0, 1, 2]), 0, 8)
        assert m.not_sure.sum() == 4
        assert m.left_row[:4].tolist() == m.right_row[:4].tolist()

    def test_operators_are_the_named_ones(self):
        m = Composites([(0, 2)], operators=("halves",)).draw(numbered(self.LABELS), 0, 31)
        assert m.operator.tolist() == [0] * 31
        assert set(m.weight.tolist()) == {0.5}


@pytest.mark.parametrize("cut", [False, True])
class TestInBatch:
    LABELS = tuple(n % 3 for n in range(23))

    def test_images_hold_what_the_record_says(self, cut):
        training_set = numbered(self.LABELS, size=16)
        m = InBatch(1.0, cut=cut).draw(training_set, 2, 11)
        assert torch.equal(m.left, training_set.labels[m.left_row])
        assert torch.equal(m.right, training_set.labels[m.right_row])
        assert sorted(m.left_row.tolist()) == sorted(m.right_row.tolist())
        fraction = m.weight * m.left_row + (1 - m.weight) * m.right_row
        torch.testing.assert_close(m.images.mean(dim=(1, 2, 3)) * 255, fraction)

    def test_left_parents_are_the_shuffled_reading(self, cut):
        training_set = numbered(self.LABELS)
        rows = torch.cat([InBatch(1.0, cut=cut).draw(training_set, step, 5).left_row for step in range(23)])
        assert all(sorted(part.tolist()) == list(range(23)) for part in rows.split(23))

    def test_the_step_alone_decides(self, cut):
        batches = InBatch(1.0, cut=cut)
        one, other = (batches.draw(numbered(self.LABELS), step, 11) for step in (3, 4))
        again = batches.draw(numbered(self.LABELS), 3, 11)
        assert torch.equal(one.images, again.images)
        assert torch.equal(one.weight, again.weight)
        assert not torch.equal(one.weight, other.weight)


def test_mixups_weight_is_beta_distributed():
    training_set = numbered([0, 1])
    weight = torch.cat(
        [InBatch(0.4, cut=False).draw(training_set, step, 500).weight for step in range(8)]
    ).double()
    assert weight.mean() == pytest.approx(0.5, abs=0.02)
    assert weight.var() == pytest.approx(1 / (4 * (2 * 0.4 + 1)), abs=0.01)  # of Beta(α, α)


class TestCutMixBoxes:
    def masks(self, weight, height=64, width=64, count=2003):
        weights = torch.full((count,), weight)
        return _box_masks(weights, height, width, generator=torch.Generator().manual_seed(0))

    def test_a_box_inside_the_image_has_the_asked_area(self):
        masks = self.masks(0.75)  # a box of half the side
        area = (1 - masks).mean(dim=(1, 2, 3))
        assert area.max() == pytest.approx(0.25, abs=0.01)
        whole = ~((masks[:, 0, [0, -1]] == 0).any((1, 2)) | (masks[:, 0, :, [0, -1]] == 0).any((1, 2)))
        assert whole.sum() > 100
        assert area[whole].sub(0.25).abs().max() < 0.01

    def test_boxes_are_rectangles_of_the_images_shape(self):
        for mask in self.masks(0.6, height=22, width=55, count=97)[:, 0]:
            inside = mask == 0
            rows, columns = inside.any(dim=1), inside.any(dim=0)
            assert torch.equal(inside, rows[:, None] & columns)
            assert rows.nonzero()[:, 0].diff().unique().tolist() in ([1], [])
            assert columns.nonzero()[:, 0].diff().unique().tolist() in ([1], [])
            assert rows.sum() <= math.ceil(22 * math.sqrt(0.4))
            assert columns.sum() <= math.ceil(55 * math.sqrt(0.4))

    def test_the_centre_is_uniform(self):
        inside = (1 - self.masks(0.96))[:, 0].mean(dim=0)  # how often a pixel is in a box of 0.2 of the side
        assert inside[16:48, 16:48].mean() == pytest.approx(0.04, abs=0.004)
        assert inside[0, 0] == pytest.approx(0.01, abs=0.008)  # a corner: a quarter of that

    def test_extreme_weights(self):
        assert self.masks(1.0).min() == 1
        assert torch.equal(self.masks(0.0).mean(dim=(1, 2, 3)) < 1, torch.ones(2003, dtype=torch.bool))


def test_pairs_go_to_the_device_of_the_images():
    made = Composites([(0, 2)])
    assert torch.equal(made._pairs, pair_tensor([(0, 2)]))


class TestSoftMixtures:
    LABELS = [0, 1, 2, 3] * 8

    def scores(self, **pairs):
        scores = torch.zeros(4, 4)
        for name, score in pairs.items():
            a, b = int(name[1]), int(name[2])
            scores[a, b] = scores[b, a] = score
        return scores

    def draw(self, step=0, size=64, **settings):
        made = SoftMixtures(**{"scores": self.scores(p01=1.0), "emphasis": 0.5, "alpha": 0.8, **settings})
        return made.draw(numbered(self.LABELS), step, size)

    def test_originals_come_first_and_are_not_mixed(self):
        mixed = self.draw(original_fraction=0.25)
        assert len(mixed.images) == 64
        assert not mixed.not_sure[:16].any()
        assert mixed.not_sure[16:].all()
        assert torch.equal(values(mixed.images[:16]), mixed.left_row[:16])

    def test_an_image_is_what_it_says_it_is_made_of(self):
        mixed = self.draw(cut=0.0)
        blend = mixed.weight * mixed.left_row + (1 - mixed.weight) * mixed.right_row
        assert torch.allclose(mixed.images[:, 0, 0, 0] * 255, blend, atol=1e-3)
        assert torch.equal(mixed.left, torch.tensor(self.LABELS)[mixed.left_row])

    def test_cut_ones_hold_whole_pixels_of_either_parent(self):
        mixed = self.draw(cut=1.0, original_fraction=0.0)
        pixels = mixed.images.mul(255).round().long().flatten(1)
        left, right = mixed.left_row[:, None], mixed.right_row[:, None]
        assert ((pixels == left) | (pixels == right)).all()
        assert torch.allclose((pixels == left).float().mean(dim=1), mixed.weight, atol=1e-6)

    @pytest.mark.parametrize(("emphasis", "expected"), [(1.0, 1.0), (0.5, 0.5 + 0.5 / 6), (0.0, 1 / 6)])
    def test_emphasis_is_the_fraction_of_confused_pairs(self, emphasis, expected):
        draws = [self.draw(step, emphasis=emphasis, original_fraction=0.0) for step in range(40)]
        pairs = torch.cat([torch.stack([d.left, d.right], dim=1).sort(dim=1).values for d in draws])
        fraction = (pairs == torch.tensor([0, 1])).all(dim=1).float().mean()
        assert float(fraction) == pytest.approx(expected, abs=0.035)  # 2,560 draws: four deviations

    def test_pairs_are_drawn_in_proportion_to_their_scores(self):
        scores = self.scores(p01=3.0, p23=1.0)
        draws = [self.draw(step, scores=scores, emphasis=1.0, original_fraction=0.0) for step in range(40)]
        first = torch.cat([(d.left + d.right) == 1 for d in draws]).float().mean()
        assert float(first) == pytest.approx(0.75, abs=0.035)

    def test_without_any_score_all_pairs_are_alike(self):
        draws = [self.draw(step, scores=torch.zeros(4, 4), emphasis=1.0) for step in range(10)]
        assert (
            len({(a, b) for d in draws for a, b in zip(d.left.tolist(), d.right.tolist(), strict=True)}) == 16
        )

    def test_a_class_without_images_is_never_drawn(self):
        training_set = numbered([0, 2, 3] * 8)
        mixed = SoftMixtures(self.scores(p01=1.0), emphasis=1.0, alpha=0.8).draw(training_set, 0, 32)
        assert 1 not in {*mixed.left.tolist(), *mixed.right.tolist()}

    def test_the_same_step_gives_the_same_batch(self):
        assert torch.equal(self.draw(3).images, self.draw(3).images)
        assert not torch.equal(self.draw(3).images, self.draw(4).images)

    def test_weights_are_beta(self):
        draws = torch.cat([self.draw(step, alpha=0.8, original_fraction=0.0).weight for step in range(40)])
        assert stats.kstest(draws.double().numpy(), stats.beta(0.8, 0.8).cdf).pvalue > 0.01
