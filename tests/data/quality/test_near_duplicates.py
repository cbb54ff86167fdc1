"""Images that look nearly the same."""

from __future__ import annotations

import numpy as np
import pytest
from PIL import Image
from scipy.fft import dct

from sit2.data.quality.near_duplicates import close_hashes, near_pairs, perceptual_hash

SIZE = 32


def scenes(count: int, seed: int = 0) -> list[Image.Image]:
    """Draw pictures as cluttered as photographs: smooth noise on several scales, 96 pixels a side."""
    draw, pictures = np.random.default_rng(seed), []
    for _ in range(count):
        pixels = np.zeros((96, 96, 3))
        for side in (3, 6, 12, 24, 48):
            noise = draw.normal(0, 24, (side, side, 3)).astype(np.float32)
            layers = [Image.fromarray(noise[:, :, c]).resize((96, 96)) for c in range(3)]
            pixels += np.stack([np.asarray(layer) for layer in layers], axis=2)
        pictures.append(Image.fromarray((pixels + 128).clip(0, 255).astype(np.uint8)))
    return pictures


def small(pictures) -> np.ndarray:
    """(N, 3, 32, 32) uint8"""
    return np.stack([np.asarray(p.resize((SIZE, SIZE))).transpose(2, 0, 1) for p in pictures])


def pairs_of(pictures) -> list[tuple[int, int]]:
    return sorted(tuple(pair) for pair in near_pairs(small(pictures))[0].tolist())


def test_the_hash_is_that_of_its_definition():
    gray = small(scenes(3))[:, 0]
    for image, ours in zip(gray, perceptual_hash(gray), strict=True):
        low = dct(dct(image.astype(float), axis=0), axis=1)[:8, :8].ravel()
        bits = sum(1 << n for n, value in enumerate(low) if value > np.median(low))
        assert int(ours) == bits


@pytest.mark.parametrize("farthest", [0, 3, 7])
def test_close_hashes_are_all_pairs_that_are_close(farthest):
    draw = np.random.default_rng(3)
    hashes = draw.integers(0, 2**63, 300, dtype=np.uint64)
    hashes[100:200] = hashes[:100] ^ (np.uint64(1) << draw.integers(0, 64, 100, dtype=np.uint64))
    hashes[200:] = hashes[:100] ^ draw.integers(
        0, 2**9, 100, dtype=np.uint64
    )  # several bits, all in one place
    far = [
        (i, j)
        for i in range(300)
        for j in range(i + 1, 300)
        if int(hashes[i] ^ hashes[j]).bit_count() <= farthest
    ]
    found = [tuple(pair) for part in close_hashes(hashes, farthest) for pair in part.tolist()]
    assert sorted(found) == far  # each once
    assert farthest == 0 or len(far) >= 100


def test_a_picture_that_was_changed_a_little_is_found(tmp_path):
    pictures = scenes(12)
    first = pictures[0]
    first.save(tmp_path / "again.jpg", quality=60)
    changed = [
        Image.open(tmp_path / "again.jpg"),
        first.crop((1, 1, 95, 95)).resize((96, 96)),
        first.point(lambda value: value * 0.8),  # darker
        first.resize((64, 64)).resize((96, 96)),
    ]
    found = pairs_of([*pictures, *changed])
    assert {(0, n) for n in range(12, 16)} <= set(found)
    assert all({i, j} <= {0, 12, 13, 14, 15} for i, j in found)


def test_the_same_shape_in_another_colour_is_another_picture():
    red = scenes(1)[0]
    blue = Image.merge(
        "RGB", [band.point(lambda v, k=k: v + k) for band, k in zip(red.split(), (-40, 0, 40), strict=True)]
    )
    assert pairs_of([red, blue]) == []


def test_other_pictures_and_flat_ones_are_no_pairs():
    assert pairs_of(scenes(200)) == []
    flat = np.full((50, 3, SIZE, SIZE), 120, dtype=np.uint8)
    assert len(near_pairs(flat)[0]) == 0
    assert len(near_pairs(flat[:0])[0]) == 0


def test_the_likeliest_come_first():
    one = scenes(1)[0]
    pairs, likeness = near_pairs(small([one, one.crop((1, 1, 95, 95)), one]))
    assert pairs[0].tolist() == [0, 2]
    assert likeness[0] == pytest.approx(1)
    assert (np.diff(likeness) <= 0).all()
