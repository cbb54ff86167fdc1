"""The closed-form classifier against leaving out for real, and what it sees against the images themselves."""

import numpy as np
import pytest
import torch
from scipy.special import softmax
from sklearn.kernel_ridge import KernelRidge
from sklearn.preprocessing import KernelCenterer

from sit2.confusion.pairs import measure, rank_pairs
from sit2.errors import DataError
from sit2.features import closed_form
from sit2.features.closed_form import (
    ClosedForm,
    closed_form_probabilities,
    fit_closed_form,
    kernel_columns,
)
from sit2.features.random_features import RandomFeatures
from sit2.features.ridge import INVERSE_TEMPERATURES, PENALTIES
from sit2.seeds import Seeds

FLIPS = [(), (3,), (2,), (2, 3)]


def textures(per_class=40, size=16, channels=3, seed=0):
    """Four classes of stripes: two of nearly one angle, two that nothing else looks like."""
    rng = np.random.default_rng(seed)
    y, x = np.mgrid[0:size, 0:size] / size
    images, labels = [], []
    for label, angle in enumerate((0.0, 0.12, 0.8, 1.5)):
        for _ in range(per_class):
            wave = np.sin(20 * (x * np.cos(angle) + y * np.sin(angle)) + rng.uniform(0, 6))
            picture = 128 + 60 * wave + rng.normal(0, 25, (channels, size, size))
            images.append(picture.clip(0, 255).astype(np.uint8))
            labels.append(label)
    return np.stack(images), np.array(labels)


@pytest.mark.parametrize("flips", [FLIPS[:1], FLIPS[:2], FLIPS])
@pytest.mark.parametrize("channels", [1, 3])
def test_flipped_features_are_those_of_the_flipped_images(flips, channels):
    generator = torch.Generator().manual_seed(0)
    images = torch.rand(11, channels, 23, 23, generator=generator)
    seen = RandomFeatures.of(images, flips, generator)
    for flip, features in zip(flips, seen.flipped(seen(images)), strict=True):
        torch.testing.assert_close(seen(images.flip(flip)), features, rtol=1e-3, atol=1e-3)


def test_columns_give_the_kernel():
    images, _ = textures(per_class=7)
    rows = np.arange(len(images))
    _, _, columns = kernel_columns(images, rows, FLIPS[:1], Seeds(0), device=torch.device("cpu"))
    columns = columns - columns.mean(dim=0)  # which leaves the distances as they are
    inner = (columns @ columns.T).numpy()
    distance = np.diag(inner)[:, None] + np.diag(inner)[None] - 2 * inner  # 2 − 2 k: a Gaussian kernel's
    kernel = 1 - distance / 2
    np.testing.assert_allclose(np.diag(kernel), 1)
    assert kernel.min() > -0.001
    assert np.median(kernel[np.triu_indices(len(images), 1)]) == pytest.approx(np.exp(-1), abs=0.01)


def test_few_landmarks_approximate_the_kernel(monkeypatch):
    images, labels = textures()
    exact = closed_form_probabilities(images, labels, 4, seeds=Seeds(0))
    monkeypatch.setattr(closed_form, "LANDMARKS", 100)
    approximate = closed_form_probabilities(images, labels, 4, seeds=Seeds(0))
    assert np.abs(exact - approximate).mean() < 0.08


@pytest.mark.parametrize("options", [{}, {"mirror": True}, {"dihedral": True}])
@pytest.mark.parametrize("channels", [1, 3])
def test_it_names_the_pair_that_looks_alike(options, channels):
    images, labels = textures(channels=channels)
    probabilities = closed_form_probabilities(images, labels, 4, seeds=Seeds(0), **options)
    assert probabilities.shape == (160, 4)
    np.testing.assert_allclose(probabilities.sum(axis=1), 1)
    assert (probabilities.argmax(axis=1) == labels).mean() > 0.6
    first = rank_pairs(measure(probabilities, labels, list("abcd")))[0]
    assert (first.class_a, first.class_b) == ("a", "b")


def test_labels_without_meaning_are_not_learned():
    images, labels = textures()
    shuffled = np.random.default_rng(0).permutation(labels)
    probabilities = closed_form_probabilities(images, shuffled, 4, seeds=Seeds(0))
    assert (probabilities.argmax(axis=1) == shuffled).mean() < 0.35


def test_a_group_does_not_teach_its_own_members():
    rng = np.random.default_rng(0)
    scenes = rng.integers(0, 256, (20, 3, 16, 16))
    member = np.repeat(np.arange(20), 5)
    images = (scenes[member] + rng.normal(0, 4, (100, 3, 16, 16))).clip(0, 255).astype(np.uint8)
    labels = rng.integers(0, 2, 20)[member]  # the scene says nothing but its own label
    alone = closed_form_probabilities(images, labels, 2, seeds=Seeds(0))
    grouped = closed_form_probabilities(images, labels, 2, groups=[str(m) for m in member], seeds=Seeds(0))
    assert (alone.argmax(axis=1) == labels).mean() > 0.95
    assert (grouped.argmax(axis=1) == labels).mean() < 0.75


def test_one_group_cannot_be_left_out():
    images, labels = textures(per_class=3)
    with pytest.raises(DataError, match=r"^all images are of one group, so none can be left out\n"):
        closed_form_probabilities(images, labels, 4, groups=["a"] * 12, seeds=Seeds(0))


def test_rows_are_the_only_images_that_count():
    images, labels = textures(per_class=11)
    rows = np.arange(1, 44, 2)
    part = closed_form_probabilities(images, labels[rows], 4, rows=rows, seeds=Seeds(0))
    np.testing.assert_array_equal(
        part, closed_form_probabilities(images[rows], labels[rows], 4, seeds=Seeds(0))
    )


def test_the_seed_decides():
    images, labels = textures(per_class=11)
    one, again, other = (closed_form_probabilities(images, labels, 4, seeds=Seeds(s)) for s in (0, 0, 1))
    np.testing.assert_array_equal(one, again)
    assert not np.array_equal(one, other)


@pytest.mark.parametrize("size", [8, 13, 64])
@pytest.mark.parametrize("channels", [1, 3])
def test_any_size_and_hardly_any_images(size, channels):
    images = np.random.default_rng(0).integers(0, 256, (3, channels, size, size), dtype=np.uint8)
    probabilities = closed_form_probabilities(images, np.array([0, 1, 1]), 2, mirror=True, seeds=Seeds(0))
    assert np.isfinite(probabilities).all()


def test_images_that_are_all_alike():
    images = np.full((7, 3, 16, 16), 99, np.uint8)
    probabilities = closed_form_probabilities(images, np.arange(7) % 2, 2, seeds=Seeds(0))
    assert np.isfinite(probabilities).all()
    np.testing.assert_allclose(probabilities.sum(axis=1), 1)


class TestOfOtherImages:
    """As a classifier: fitted once, asked about images that it was not made from."""

    def test_it_is_kernel_ridge_regression(self):
        """Against scikit-learn, with one of the penalties and inverse temperatures."""
        images, labels = (part[6:-3] for part in textures(per_class=11))  # 5, 11, 11 and 8: the prior matters
        fitted, left_out = fit_closed_form(images, labels, 4, seeds=Seeds(0))
        others, _ = textures(per_class=3, seed=1)
        pixels = torch.from_numpy(others).float() / 255
        kernel, target = fitted.kernel, np.eye(4)[labels]
        between = kernel(kernel.marks).numpy()
        between = (between + between.T) / 2
        centerer = KernelCenterer().fit(between)
        centred = centerer.transform(between)
        asked = centerer.transform(kernel(kernel.features(pixels)).numpy())
        answers = []
        for penalty in PENALTIES:
            model = KernelRidge(alpha=penalty, kernel="precomputed").fit(
                centred, target - target.mean(axis=0)
            )
            scores = model.predict(asked) + target.mean(axis=0)
            answers += [softmax(factor * scores, axis=1) for factor in INVERSE_TEMPERATURES]
        given = fitted(pixels).exp().numpy()
        assert min(np.abs(given - answer).max() for answer in answers) < 1e-3
        assert left_out.shape == (35, 4)

    @pytest.mark.parametrize("options", [{}, {"mirror": True}, {"dihedral": True}])
    def test_it_knows_the_classes(self, options):
        images, labels = textures()
        others, truth = textures(seed=1)
        fitted, _ = fit_closed_form(images, labels, 4, seeds=Seeds(0), **options)
        answers = fitted(torch.from_numpy(others).float() / 255)
        assert answers.shape == (160, 4)
        assert answers.dtype == torch.float64
        np.testing.assert_allclose(answers.exp().sum(dim=1), 1)
        assert (answers.argmax(dim=1).numpy() == truth).mean() > 0.6

    def test_a_flipped_image_gets_nearly_the_same_answer(self):
        images, labels = textures(per_class=7)
        fitted, _ = fit_closed_form(images, labels, 4, dihedral=True, seeds=Seeds(0))
        pixels = torch.from_numpy(images[:5]).float() / 255
        for flip in FLIPS[1:]:
            torch.testing.assert_close(
                fitted(pixels.flip(flip)).exp(), fitted(pixels).exp(), rtol=0, atol=0.05
            )

    @pytest.mark.parametrize("channels", [1, 3])
    def test_taken_apart_and_put_together_it_is_the_same(self, channels):
        images, labels = textures(per_class=5, channels=channels)
        fitted, _ = fit_closed_form(images, labels, 4, mirror=True, seeds=Seeds(0))
        how = {"channels": channels, "num_classes": 4, "mirror": True, "dihedral": False}
        again = ClosedForm.from_state(fitted.state(), **how)
        pixels = torch.from_numpy(images[:7]).float() / 255
        assert torch.equal(again(pixels), fitted(pixels))

    @pytest.mark.parametrize("name", ["filters", "bias", "marks", "width", "slope", "offset"])
    @pytest.mark.parametrize("change", ["missing", "shape", "dtype", "infinite"])
    def test_what_does_not_fit_is_refused(self, name, change):
        images, labels = textures(per_class=3)
        state = fit_closed_form(images, labels, 4, seeds=Seeds(0))[0].state()
        tensor = state.pop(name)
        if change == "shape":
            state[name] = tensor[None]
        elif change == "dtype":
            state[name] = tensor.half()
        elif change == "infinite":
            state[name] = tensor * torch.inf
        with pytest.raises(ValueError, match=r"^the closed-form classifier"):
            ClosedForm.from_state(state, channels=3, num_classes=4, mirror=False, dihedral=False)

    def test_the_number_of_classes_must_fit(self):
        images, labels = textures(per_class=3)
        state = fit_closed_form(images, labels, 4, seeds=Seeds(0))[0].state()
        with pytest.raises(ValueError, match="slope"):
            ClosedForm.from_state(state, channels=3, num_classes=5, mirror=False, dihedral=False)
