"""All pixels of a dataset."""

from __future__ import annotations

import dataclasses
import threading
import time

import numpy as np
import pytest

from sit2.data import pixels as store
from sit2.data.decoding.decode import decode
from sit2.data.decoding.image import Decoding
from sit2.data.pixels import Pixels, PixelStore, fingerprint, load_pixels
from sit2.data.readers import read_dataset
from sit2.data.readers.arrays import from_arrays


@pytest.fixture
def photos(save_image, tmp_path):
    """53 images, gray and in colour, two of them unreadable."""
    for n in range(53):
        save_image(f"{'ant' if n % 2 else 'bee'}/{n:02d}.png", mode="RGB" if n % 3 else "L")
    (tmp_path / "ant" / "07.png").write_bytes(b"")
    (tmp_path / "bee" / "10.png").write_text("x")
    return read_dataset(tmp_path)


def test_every_image_is_what_decode_makes_of_it(photos):
    pixels = load_pixels(photos, size=5, channels="3", resize="crop")
    assert pixels.images.shape == (53, 3, 5, 5)
    assert pixels.images.dtype == np.uint8
    bad = {n: problem for n, problem in enumerate(pixels.problems) if problem}
    assert {photos.ids[n]: problem for n, problem in bad.items()} == {
        "ant/07.png": "an empty file",
        "bee/10.png": "not an image, or of an unknown format",
    }
    for n, path in enumerate(photos.paths):
        if n in bad:
            assert not pixels.images[n].any()
        else:
            expected = decode(photos.root / path, Decoding(size=5, channels=3, resize="crop"))
            np.testing.assert_array_equal(pixels.images[n], expected)


def test_channels(photos):
    assert load_pixels(photos, size=5).images.shape[1] == 3
    assert load_pixels(photos, size=5, channels="1").images.shape[1] == 1
    gray = photos.take(np.flatnonzero([int(i[-6:-4]) % 3 == 0 for i in photos.ids]))
    assert load_pixels(gray, size=5).images.shape[1] == 1


def test_an_unreadable_colour_image_does_not_make_the_others_colour(save_image, tmp_path):
    for n in range(3):
        save_image(f"ant/{n}.png", mode="L")
        save_image(f"bee/{n}.png", mode="L")
    data = save_image("ant/0.png", height=41, width=43).read_bytes()
    (tmp_path / "ant" / "0.png").write_bytes(data[: len(data) // 2])
    pixels = load_pixels(read_dataset(tmp_path), size=5)
    assert pixels.images.shape[1] == 1
    assert pixels.problems == ("truncated", "", "", "", "", "")


def test_arrays():
    images = np.random.default_rng(1).integers(0, 256, (4, 7, 7, 3), dtype=np.uint8)
    pixels = load_pixels(from_arrays(images, [0, 0, 1, 1], "set"), size=7)
    np.testing.assert_array_equal(pixels.images, images.transpose(0, 3, 1, 2))


def test_progress_is_told_and_ends_at_all(photos):
    calls = []
    load_pixels(photos, size=5, progress=lambda done, total: calls.append((done, total)))
    assert calls == [(32, 53), (53, 53)]


def test_an_interrupt_stops_at_once(photos):
    def interrupt(done, total):
        raise KeyboardInterrupt

    with pytest.raises(KeyboardInterrupt):
        load_pixels(photos, size=5, progress=interrupt)


def test_digests_are_made_image_by_image(monkeypatch):
    """A memory map would not fit as a whole: that is why it is mapped."""
    images = np.random.default_rng(0).integers(0, 256, (2500, 8, 8, 1), dtype=np.uint8).transpose(0, 3, 1, 2)
    dataset = from_arrays(images.transpose(0, 2, 3, 1)[..., 0], np.arange(2500) % 2, "set")
    sizes = []
    real = np.ascontiguousarray
    with monkeypatch.context() as patch:
        patch.setattr(np, "ascontiguousarray", lambda a, *rest: sizes.append(a.size) or real(a, *rest))
        one = PixelStore.of(images)
    assert sizes == [64] * 2500
    changed = images.copy()
    changed[2499, 0, 7, 7] ^= 1
    other = PixelStore.of(changed)
    assert np.flatnonzero((one.digests != other.digests).any(axis=1)).tolist() == [2499]
    fine = ("",) * 2500
    assert fingerprint(dataset, fine, one) == fingerprint(dataset, fine, PixelStore.of(images.copy()))
    assert fingerprint(dataset, fine, one) != fingerprint(dataset, fine, other)


def test_a_digest_is_of_the_pixels_however_they_lie_in_memory():
    images = np.random.default_rng(0).integers(0, 256, (5, 3, 8, 8), dtype=np.uint8)
    last = np.ascontiguousarray(images.transpose(0, 2, 3, 1)).transpose(0, 3, 1, 2)
    np.testing.assert_array_equal(PixelStore.of(images).digests, PixelStore.of(last).digests)
    assert len(np.unique(PixelStore.of(images).digests, axis=0)) == 5


def printed(dataset, pixels):
    return fingerprint(dataset, pixels.problems, PixelStore.of(pixels.images))


def test_fingerprint_tells_everything_apart():
    images = np.zeros((4, 5, 7), np.uint8)
    dataset = from_arrays(images, [0, 0, 1, 1], "set", groups="abcd", splits=["train"] * 3 + ["test"])
    pixels = load_pixels(dataset, size=5)
    swap = dataset.ids[::-1]
    one_more = pixels.images.copy()
    one_more[3, 0, 4, 4] = 1
    others = [
        (dataclasses.replace(dataset, ids=swap), pixels),
        (dataclasses.replace(dataset, classes=("0", "2")), pixels),
        (dataclasses.replace(dataset, labels=np.array([0, 1, 0, 1])), pixels),
        (dataclasses.replace(dataset, groups=("a", "b", "c", "c")), pixels),
        (dataclasses.replace(dataset, splits=("train", "train", "test", "test")), pixels),
        (dataset, Pixels(one_more, pixels.problems)),
        (dataset, Pixels(pixels.images, ("", "", "", "truncated"))),
        (dataset, load_pixels(dataset, size=7)),
    ]
    prints = [printed(*other) for other in others]
    assert len({printed(dataset, pixels), *prints}) == len(others) + 1
    assert printed(dataset, load_pixels(dataset, size=5)) == printed(dataset, pixels)
    assert len(prints[0]) == 32
    moved = dataclasses.replace(dataset, name="elsewhere", notes=("said",))
    assert printed(moved, pixels) == printed(dataset, pixels)


def test_where_memory_runs_out_images_are_decoded_one_by_one_into_a_map(photos, monkeypatch):
    plain, expected = store.decode, load_pixels(photos, size=5)
    running = threading.Semaphore(1)

    def decode(source, how, *rest):
        if not running.acquire(blocking=False):  # two at once are too many
            raise MemoryError
        try:
            time.sleep(0.002)
            if "05" in str(source):  # and this one is too large even alone
                raise MemoryError
            return plain(source, how, *rest)
        finally:
            running.release()

    monkeypatch.setattr(store, "decode", decode)
    pixels = load_pixels(photos, size=5)
    assert isinstance(pixels.images, np.memmap)
    assert pixels.notes == (
        "memory ran out in decoding: images were decoded one by one, and are mapped from disk",
    )
    large = photos.ids.index("ant/05.png")
    assert pixels.problems[large] == "too large for the memory there is"
    others = np.arange(len(photos)) != large
    np.testing.assert_array_equal(pixels.images[others], expected.images[others])
    assert np.array(pixels.problems)[others].tolist() == np.array(expected.problems)[others].tolist()


def test_a_file_that_vanishes_between_listing_and_reading(photos):
    (photos.root / photos.paths[3]).unlink()
    assert load_pixels(photos, size=5).problems[3] == "no such file"
