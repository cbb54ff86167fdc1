"""What a comparison can show before it is made."""

from __future__ import annotations

import numpy as np
import pytest

from sit2.evaluation.power import DIFFER, POWER, design_sentence, detectable
from sit2.evaluation.repeated import corrected_t_test


@pytest.mark.parametrize("splits", [5, 10, 20])
def test_a_difference_of_this_size_is_found_four_times_in_five(splits: int) -> None:
    images, draw = 200, np.random.default_rng(splits)
    size = detectable(images, splits, train=0.0, test=0.0, comparisons=1)
    drawn = draw.normal(size, np.sqrt(2 * DIFFER / images), (1500, splits))
    found = np.mean([corrected_t_test(one).lower > 0 for one in drawn])
    assert found == pytest.approx(POWER, abs=0.05)


def test_more_splits_and_images_show_smaller_differences() -> None:
    def size(images: int, splits: int, comparisons: int = 1) -> float:
        return detectable(images, splits, train=0.6, test=0.2, comparisons=comparisons)

    assert size(100, 1) == np.inf
    assert size(100, 2) > 3 * size(100, 5) > 3 * size(100, 10)
    assert size(400, 5) == pytest.approx(size(100, 5) / 2)
    assert size(100, 5, comparisons=5) > size(100, 5)


def test_in_words() -> None:
    def said(splits: int) -> str:
        return design_sentence("photos", 120, splits, train=0.6, test=0.2, comparisons=5)

    assert said(1) == (
        "photos: 1 split of 120 test images shows, of differences between methods, none; --splits 5 would show "
        "one of about 17 points or more"
    )
    assert "2 splits of 120 test images each show, of differences between methods, none" in said(2)
    assert said(5).endswith(
        "one of about 17 points or more; --splits 10 would show one of about 12 points or more"
    )
