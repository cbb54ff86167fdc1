"""The training set and its draws, which have no state."""

import numpy as np
import pytest
import torch
from hypothesis import given
from hypothesis import strategies as st

from sit2.seeds import Seeds
from sit2.training.augment import augment
from sit2.training.augmentations import PRESETS
from sit2.training.training_set import Normalisation, TrainingSet


def set_of(labels, *, balanced=False, seed=0, classes=None, name="phase"):
    images = np.random.default_rng(5).integers(0, 256, (len(labels), 3, 8, 8), np.uint8)
    return TrainingSet.of(
        images,
        np.asarray(labels),
        classes or max(labels) + 1,
        normalise=Normalisation.of(images),
        augment=PRESETS["flip"],
        seeds=Seeds(seed).child(name),
        balanced=balanced,
    )


class TestNormalisation:
    @pytest.mark.parametrize("channels", [1, 3])
    def test_is_numpys_mean_and_deviation(self, channels):
        images = np.random.default_rng(0).integers(3, 200, (11, channels, 7, 5), np.uint8)
        images[:, 0] //= 3
        made = Normalisation.of(images)
        values = images.astype(np.float64) / 255
        np.testing.assert_allclose(made.mean, values.mean(axis=(0, 2, 3)), rtol=1e-12)
        np.testing.assert_allclose(made.std, values.std(axis=(0, 2, 3)), rtol=1e-9)
        normal = made(torch.from_numpy(values).float())
        torch.testing.assert_close(normal.mean(dim=(0, 2, 3)), torch.zeros(channels), atol=1e-5, rtol=0)
        torch.testing.assert_close(normal.std(dim=(0, 2, 3), correction=0), torch.ones(channels))

    def test_a_flat_set_is_not_divided_by_zero(self):
        made = Normalisation.of(np.full((3, 1, 4, 4), 51, np.uint8))
        assert made.mean == pytest.approx((0.2,))
        assert made.std == (1 / 255,)


class TestRows:
    @given(st.integers(1, 23), st.lists(st.integers(1, 40), min_size=1, max_size=12), st.integers(0, 3))
    def test_every_image_once_an_epoch_whatever_the_batches(self, count, sizes, seed):
        training_set = set_of([0] * count, seed=seed)
        parts, place = [], 0
        for size in sizes:
            parts.append(training_set.rows(place, size))
            assert len(parts[-1]) == size
            place += size
        for epoch in torch.cat(parts).split(count):
            assert len(epoch.unique()) == len(epoch)
            assert set(epoch.tolist()) <= set(range(count))

    @given(st.integers(0, 300), st.integers(0, 60))
    def test_a_part_of_the_reading_is_that_part(self, first, count):
        whole = set_of([0, 1] * 8).rows(0, 400)
        assert torch.equal(set_of([0, 1] * 8).rows(first, count), whole[first : first + count])

    def test_epochs_and_phases_and_seeds_are_shuffled_differently(self):
        labels = [0] * 31
        orders = [set_of(labels).rows(31 * epoch, 31) for epoch in range(4)]
        orders += [set_of(labels, seed=1).rows(0, 31), set_of(labels, name="other").rows(0, 31)]
        assert len(torch.stack(orders).unique(dim=0)) == len(orders)

    def test_the_order_depends_on_nothing_read_before(self):
        labels, fresh = [0] * 13, [set_of([0] * 13).rows(7 * step, 7) for step in range(20)]
        training_set = set_of(labels)
        for step in reversed(range(20)):
            assert torch.equal(training_set.rows(7 * step, 7), fresh[step])


class TestBalanced:
    LABELS = [0] * 50 + [1] + [2] * 10

    def test_one_in_fifty_is_read_as_often(self):
        training_set = set_of(self.LABELS, balanced=True)
        count = torch.bincount(training_set.labels[training_set.rows(0, 61 * 50)], minlength=3)
        assert (count / count.sum()).tolist() == pytest.approx([1 / 3] * 3, abs=0.03)

    def test_images_of_a_class_are_read_evenly(self):
        count = torch.bincount(set_of(self.LABELS, balanced=True).rows(0, 61 * 50), minlength=61)
        assert count[:50].min() > 5
        assert count[51:].min() > 60

    def test_a_class_without_images_harms_nothing(self):
        training_set = set_of([0, 0, 2], balanced=True, classes=4)
        assert set(training_set.rows(0, 60).tolist()) == {0, 1, 2}


class TestStateless:
    def test_step_17_alone_is_step_17_after_the_others(self):
        def see(training_set, step):
            rows = training_set.rows(7 * step, 7)
            return rows, training_set.take(rows, generator=training_set.generator(step))

        walked, alone = set_of([0, 1] * 9), set_of([0, 1] * 9)
        for step in range(18):
            last = see(walked, step)
        torch.manual_seed(3)
        assert all(torch.equal(a, b) for a, b in zip(last, see(alone, 17), strict=True))

    def test_steps_and_phases_have_their_own_generators(self):
        training_set = set_of([0, 1])
        seeds = [training_set.generator(step).initial_seed() for step in range(5)]
        seeds += [
            training_set.for_phase(0).generator(0).initial_seed(),
            training_set.for_phase(1).generator(0).initial_seed(),
        ]
        assert len(set(seeds)) == 7
        assert training_set.for_phase(0).generator(0).initial_seed() == seeds[5]

    def test_a_phase_has_the_same_images(self):
        training_set = set_of([0, 1, 1], balanced=True, classes=5)
        other = training_set.for_phase(0)
        assert other.pixels is training_set.pixels
        assert other.labels is training_set.labels
        assert (other.num_classes, other.balanced) == (5, True)
        assert (other.normalise, other.augment) == (training_set.normalise, training_set.augment)


def test_images_are_taken_augmented_and_then_normalised():
    training_set = set_of([0, 1, 1, 0, 1])
    rows = torch.tensor([3, 1, 1])
    pixels = training_set.pixels.view(-1, 8, 8, 3)[rows].permute(0, 3, 1, 2).float() / 255
    augmented = augment(pixels, PRESETS["flip"], generator=training_set.generator(2))
    expected = (augmented.double().numpy() - np.reshape(training_set.normalise.mean, (3, 1, 1))) / np.reshape(
        training_set.normalise.std, (3, 1, 1)
    )
    np.testing.assert_allclose(
        training_set.take(rows, generator=training_set.generator(2)), expected, atol=1e-5
    )


def test_what_the_set_holds_is_not_the_callers_labels():
    labels = np.array([0, 1, 1])
    training_set = TrainingSet.of(
        np.zeros((3, 1, 4, 4), np.uint8),
        labels,
        2,
        normalise=Normalisation((0.0,), (1.0,)),
        augment=PRESETS["none"],
        seeds=Seeds(0),
    )
    labels[:] = 0
    assert training_set.labels.tolist() == [0, 1, 1]


class TestStore:
    """The training set of some images of a store, which is not copied."""

    ROWS = np.array([9, 2, 5, 11])

    def store(self):
        """Return 13 images as the store keeps them, channels last in memory, and their labels."""
        draw = np.random.default_rng(3)
        return draw.integers(0, 256, (13, 7, 5, 3), np.uint8).transpose(0, 3, 1, 2), np.arange(13) % 4

    def training_set(self, images, labels, **settings):
        return TrainingSet.of(
            images,
            labels,
            4,
            normalise=Normalisation((0.1, 0.2, 0.3), (0.4, 0.5, 0.6)),
            augment=PRESETS["flip"],
            seeds=Seeds(0),
            **settings,
        )

    def test_is_the_set_of_those_images_alone(self):
        images, labels = self.store()
        some, alone = (
            self.training_set(images, labels[self.ROWS], rows=self.ROWS),
            self.training_set(images[self.ROWS], labels[self.ROWS]),
        )
        assert len(some) == 4
        assert some.labels.tolist() == labels[self.ROWS].tolist()
        assert some.index.count.tolist() == alone.index.count.tolist()
        rows = some.rows(0, 11)
        assert torch.equal(rows, alone.rows(0, 11))
        seen, expected = (f.take(rows, generator=f.generator(0)) for f in (some, alone))
        assert torch.equal(seen, expected)

    def test_pixels_are_not_copied(self):
        images, labels = self.store()
        assert (
            self.training_set(images, labels[self.ROWS], rows=self.ROWS).pixels.data_ptr()
            == images.ctypes.data
        )

    def test_a_memory_map_that_is_only_read(self, tmp_path):
        images, labels = self.store()
        np.save(tmp_path / "store.npy", images.transpose(0, 2, 3, 1))
        mapped = np.load(tmp_path / "store.npy", mmap_mode="r").transpose(0, 3, 1, 2)
        there, here = (self.training_set(x, labels[self.ROWS], rows=self.ROWS) for x in (mapped, images))
        assert there.pixels.data_ptr() == mapped.ctypes.data
        rows = torch.arange(4)
        one, other = (f.take(rows, generator=f.generator(0)) for f in (there, here))
        assert torch.equal(one, other)

    def test_normalisation_is_measured_on_those_images_alone(self):
        images, _ = self.store()
        assert Normalisation.of(images, self.ROWS) == Normalisation.of(images[self.ROWS])
        assert Normalisation.of(images, self.ROWS) != Normalisation.of(images)

    def test_normalisation_of_more_images_than_it_reads_at_once(self):
        images = np.random.default_rng(0).integers(0, 256, (2500, 1, 2, 2), np.uint8)
        rows = np.arange(2499, -1, -1)
        np.testing.assert_allclose(Normalisation.of(images, rows).mean, [images.mean() / 255])
