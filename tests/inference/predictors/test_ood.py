"""Images unlike the training images: the false alarms that are allowed, and no more; noise is found."""

from __future__ import annotations

from dataclasses import replace

import numpy as np
import pytest
import torch
from opinions import context, images_to_predict, known, outputs

from sit2.errors import ConfigError
from sit2.inference.predictors.ood import NEAREST, Unlike
from sit2.inference.predictors.predictor import Calibration
from sit2.seeds import Seeds


class Features:
    """Images are their own features."""

    def features(self, images):
        return images


def drawn(count, seed, shift=0.0):
    generator = torch.Generator().manual_seed(seed)
    return torch.randn(count, 12, generator=generator) + torch.linspace(-2, 2, 12) + shift


def ready(images, seed=0, groups=(), **settings):
    one = Unlike(reference=torch.nn.functional.normalize(drawn(100, 50), dim=1), **settings)
    rows = torch.zeros(len(images), dtype=torch.int64)
    how = Calibration(rows, rows, exact=True, groups=groups, seeds=Seeds(seed))
    empty = outputs(torch.zeros(len(images), 2))
    return one.calibrate(empty, one.observe(images, Features()), how)


def called(one, images):
    return one(outputs(torch.zeros(len(images), 2)), one.observe(images, Features())).unlike.numpy()


def test_distance_is_to_the_nearest_training_images():
    one, images = ready(drawn(30, 1)), drawn(7, 2)
    lengths = images / images.norm(dim=1, keepdim=True)
    all_of_them = torch.cdist(lengths.double(), one.reference.double()).sort(dim=1).values
    torch.testing.assert_close(
        one.observe(images, Features()), all_of_them[:, NEAREST - 1], atol=1e-4, rtol=1e-4
    )


def test_false_alarms_are_as_rare_as_is_stated():
    rates = [called(ready(drawn(39, 2 * seed)), drawn(60, 2 * seed + 1)).mean() for seed in range(200)]
    error = np.std(rates) / np.sqrt(len(rates))
    assert abs(np.mean(rates) - 0.05) < 4 * error
    assert called(ready(drawn(39, 0)), drawn(60, 5, shift=5.0)).mean() > 0.9


def test_of_a_group_one_image_counts():
    one = ready(drawn(60, 1), groups=tuple(f"g{n % 20}" for n in range(60)))
    assert len(one.distances) == 20


@pytest.mark.parametrize(("rate", "needed"), [(0.05, 19), (0.1, 9), (0.01, 99)])
def test_too_few_images_are_refused(rate, needed):
    one = Unlike(false_alarms=rate)
    one.refuse_few(needed)
    with pytest.raises(ConfigError, match=f"that needs {needed}") as refused:
        one.refuse_few(needed - 1)
    lowest = float(str(refused.value).split("--false-alarms ")[1].split()[0])
    replace(one, false_alarms=lowest).refuse_few(needed - 1)


def test_it_learns_the_networks_features_of_the_training_images():
    one = Unlike().learn(known())
    assert one.reference.shape == (29, 4)
    images = images_to_predict(5)
    before = outputs(torch.zeros(5, 4))
    assert one(before, one.observe(images, known().ask)).unlike is None  # nothing calibrated it yet


def test_taken_apart_and_put_together_it_is_the_same():
    one, images = ready(drawn(30, 1)), drawn(40, 3, shift=0.5)
    again = Unlike.from_state({"false_alarms": 0.05}, one.state(), context())
    assert np.array_equal(called(again, images), called(one, images))
    for key, wrong in (("distances", one.distances[None]), ("reference", one.reference * torch.nan)):
        with pytest.raises(ValueError):
            Unlike.from_state({}, {**one.state(), key: wrong}, context())
