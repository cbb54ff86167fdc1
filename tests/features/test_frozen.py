"""A linear classifier on frozen features: left out honestly, folded into one head, saved and sent."""

import pickle

import numpy as np
import pytest
import torch
from hypothesis import given, settings
from hypothesis import strategies as st
from torch import nn

from sit2.errors import DataError
from sit2.features.frozen import Extractor, FeatureStore, FrozenClassifier, Linear, fit_linear
from sit2.features.opinion import Opinion, fit_opinion
from sit2.features.ridge import fit_ridge
from sit2.seeds import Seeds


class Pooling(nn.Module):
    """Stands for a network: the mean of each of four parts of an image, and a product of two."""

    num_features = 13

    def __init__(self):
        super().__init__()
        self.scale = nn.Parameter(torch.ones(1))

    def forward(self, images):
        parts = nn.functional.adaptive_avg_pool2d(images, 2).flatten(1) * self.scale
        return torch.cat([parts, parts[:, :1] * parts[:, 1:2]], dim=1)


def toy(count=40, classes=3, features=12, seed=0, noise=1.0):
    draw = np.random.default_rng(seed)
    labels = np.arange(count) % classes
    middle = draw.normal(size=(classes, features)) * 2
    values = middle[labels] + noise * draw.normal(size=(count, features))
    return torch.from_numpy(values.astype(np.float32)), labels.astype(np.int64)


def images_of(count=30, classes=3):
    draw, labels = np.random.default_rng(0), np.arange(count) % classes
    images = draw.integers(0, 120, (count, 3, 16, 16))
    images[:, :, :8] += 40 * labels[:, None, None, None]
    return images.astype(np.uint8), labels.astype(np.int64)


class TestLinear:
    @pytest.mark.parametrize(("count", "features"), [(40, 12), (15, 60)])
    def test_it_is_ridge_regression_on_standardised_features(self, count, features):
        values, labels = toy(count, features=features)
        normal = (values.double() - values.double().mean(0)) / (values.double().std(0, correction=0) + 1e-3)
        ridge, expected = fit_ridge(normal / features**0.5, labels, 3)
        linear, left_out = fit_linear(values, labels, 3)
        np.testing.assert_allclose(left_out, expected, atol=1e-6)
        torch.testing.assert_close(linear(values), ridge(normal / features**0.5), atol=1e-6, rtol=0)

    @given(st.integers(0, 50), st.floats(0.1, 10.0), st.floats(-5.0, 5.0))
    @settings(max_examples=20)
    def test_scale_and_offset_of_a_feature_do_not_matter(self, seed, scale, offset):
        values, labels = toy(seed=seed)
        moved = values.clone()
        moved[:, 0] = moved[:, 0] * scale + offset
        one, two = (fit_linear(v, labels, 3)[1] for v in (values, moved))
        np.testing.assert_allclose(one, two, atol=0.02)  # but for the least spread

    def test_what_is_left_out_does_not_know_its_label(self):
        values, labels = toy()
        before = fit_linear(values, labels, 3)[1]
        changed = labels.copy()
        changed[0] = (changed[0] + 1) % 3
        after = fit_linear(values, changed, 3)[1]
        # Penalty and temperature may move by one step; the order of classes for the image itself does not.
        assert before[0].argmax() == after[0].argmax() == labels[0]

    def test_groups_are_left_out_together(self):
        values = torch.from_numpy(np.random.default_rng(1).normal(size=(30, 40))).float()
        groups = [f"g{n // 3}" for n in range(30)]
        copies = values[np.repeat(np.arange(0, 30, 3), 3)]
        known = np.repeat(np.arange(10) % 3, 3)
        honest = fit_linear(copies, known, 3, groups=groups)[1]
        leaking = fit_linear(copies, known, 3)[1]
        right = np.arange(30), known
        assert leaking[right].mean() > honest[right].mean() + 0.1

    def test_one_group_cannot_be_left_out(self):
        values, labels = toy()
        with pytest.raises(DataError, match="one group"):
            fit_linear(values, labels, 3, groups=["a"] * 40)


class TestExtractor:
    def test_mirrored_images_have_equal_features(self):
        extractor = Extractor(Pooling(), (0.5,) * 3, (0.2,) * 3, mirror=True)
        images = torch.rand(4, 3, 16, 16)
        torch.testing.assert_close(extractor(images), extractor(images.flip(3)))

    def test_rows_and_batches_do_not_matter(self):
        images, _ = images_of(100)
        extractor = Extractor(Pooling(), (0.5,) * 3, (0.2,) * 3)
        rows = np.array([99, 3, 3, 50])
        every = extractor.extract(images, np.arange(100))
        np.testing.assert_allclose(extractor.extract(images, rows), every[rows], atol=1e-6)


class TestStore:
    def test_made_once_and_found_by_image(self, tmp_path):
        made = []

        def make(rows):
            made.append(rows.tolist())
            return np.stack([rows, rows * 2], axis=1).astype(np.float32)

        for _ in range(2):
            store = FeatureStore.kept(tmp_path / "a" / "f.npy", np.array([7, 3, 5, 3]), make)
            assert store.of(np.array([5, 7]))[:, 1].tolist() == [10, 14]
        assert made == [[3, 5, 7]]
        sent = pickle.loads(pickle.dumps(store))
        assert sent.of(np.array([3])).tolist() == [[3, 6]]
        with pytest.raises(KeyError):
            store.of(np.array([4]))

    def test_a_damaged_file_is_made_again(self, tmp_path):
        (tmp_path / "f.npy").write_bytes(b"no array")
        store = FeatureStore.kept(tmp_path / "f.npy", np.arange(3), lambda rows: np.ones((3, 2), np.float32))
        assert store.of(np.arange(3)).tolist() == [[1, 1]] * 3


class TestState:
    def test_comes_back(self):
        extractor = Extractor(Pooling(), (0.5, 0.4, 0.3), (0.2, 0.2, 0.2), mirror=True)
        classifier = FrozenClassifier(extractor, Linear(torch.rand(3, 13).double(), torch.rand(3).double()))
        images = torch.rand(5, 3, 16, 16)
        again = FrozenClassifier.from_state(classifier.state(), Pooling(), 3, mirror=True)
        torch.testing.assert_close(again(images), classifier(images))

    @pytest.mark.parametrize("name", ["weight", "bias", "mean", "std"])
    def test_what_cannot_be_is_refused(self, name):
        extractor = Extractor(Pooling(), (0.5,) * 3, (0.2,) * 3)
        state = FrozenClassifier(
            extractor, Linear(torch.rand(3, 13).double(), torch.rand(3).double())
        ).state()
        for wrong in (None, torch.full_like(state[name], torch.nan), state[name][:2]):
            broken = {k: v for k, v in state.items() if k != name} | ({} if wrong is None else {name: wrong})
            with pytest.raises(ValueError, match="frozen features"):
                FrozenClassifier.from_state(broken, Pooling(), 3, mirror=False)


class TestOpinion:
    def fit(self, **more):
        images, labels = images_of()
        extractor = Extractor(Pooling(), (0.5,) * 3, (0.2,) * 3)
        features = torch.from_numpy(extractor.extract(images, np.arange(30)))
        how = {"rows": np.arange(30), "features": features, "extractor": extractor, "seeds": Seeds(0)} | more
        return images, labels, fit_opinion(images, labels, 3, **how)

    def test_it_pools_both_and_comes_back(self):
        images, labels, (opinion, left_out) = self.fit()
        pixels = torch.from_numpy(images).float() / 255
        pool = 0.7 * opinion.frozen(pixels) + 0.3 * opinion.random(pixels)
        expected = (pool * opinion.inverse_temperature).log_softmax(dim=1)
        torch.testing.assert_close(opinion(pixels), expected)
        np.testing.assert_allclose(left_out.sum(axis=1), 1)
        assert (left_out.argmax(axis=1) == labels).mean() > 0.8
        how = {"channels": 3, "num_classes": 3, "mirror": False, "dihedral": False}
        again = Opinion.from_state(opinion.state(), Pooling(), **how)
        torch.testing.assert_close(again(pixels), opinion(pixels))
        with pytest.raises(ValueError, match="temperature"):
            Opinion.from_state({**opinion.state(), "pool": torch.tensor(-1.0)}, Pooling(), **how)

    def test_without_an_extractor_it_only_measures(self):
        _, _, (opinion, left_out) = self.fit(extractor=None)
        assert opinion is None
        assert left_out.shape == (30, 3)
