"""Scaling without torch gives torch's pixels, to the bit."""

from __future__ import annotations

import sys

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from sit2.data.decoding import scaling

SIDES = st.integers(2, 320)


@given(st.integers(0, 2**32 - 1), SIDES, SIDES, SIDES, SIDES, st.sampled_from([1, 3]), st.booleans())
def test_any_size_in_any_size(
    seed: int, height: int, width: int, tall: int, wide: int, channels: int, extreme: bool
) -> None:
    draw = np.random.default_rng(seed)
    pixels = draw.integers(0, 256, (height, width, channels), dtype=np.uint8)
    if extreme:  # sums are the largest where all pixels are white
        pixels = np.where(pixels > 127, 255, 0).astype(np.uint8)
    factors = [out / side * (1 + 1e-9) for out, side in zip((tall, wide), (height, width), strict=True)]
    np.testing.assert_array_equal(
        scaling.by_numpy(pixels, (tall, wide), factors), scaling.by_torch(pixels, factors)
    )


def test_white_stays_white() -> None:
    pixels = np.full((301, 997, 3), 255, np.uint8)
    assert (scaling.by_numpy(pixels, (7, 11), [7 / 301, 11 / 997]) == 255).all()


def test_a_fraction_of_the_last_pixel_counts_in_both_ways(monkeypatch: pytest.MonkeyPatch) -> None:
    pixels = np.random.default_rng(0).integers(0, 256, (113, 151, 3), dtype=np.uint8)
    with_torch = scaling.resized(pixels, (48, 48), (112.5, 150.25))
    assert with_torch.shape == (48, 48, 3)
    monkeypatch.setitem(sys.modules, "torch", None)
    np.testing.assert_array_equal(scaling.resized(pixels, (48, 48), (112.5, 150.25)), with_torch)
    assert scaling.resized(pixels, (113, 151), (113.0, 151.0)) is pixels
