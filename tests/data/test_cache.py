"""Decoded images are kept between runs, and a changed file is noticed."""

from __future__ import annotations

import os
from concurrent.futures import ThreadPoolExecutor

import numpy as np
import pytest
from PIL import Image

from sit2.data import cache
from sit2.data import pixels as store
from sit2.data.decoding.image import UnreadableNow
from sit2.data.pixels import load_pixels
from sit2.data.readers import read_dataset


@pytest.fixture
def photos(save_image, tmp_path):
    for n in range(7):
        save_image(f"photos/{'ant' if n % 2 else 'bee'}/{n}.png")
    (tmp_path / "photos" / "ant" / "1.png").write_bytes(b"")
    return read_dataset(tmp_path / "photos")


@pytest.fixture
def decoded(monkeypatch):
    """The images that are really decoded, one entry each time."""
    seen = []

    def decode(source, *how):
        seen.append(source)
        return plain(source, *how)

    plain = store.decode
    monkeypatch.setattr(store, "decode", decode)
    return seen


def test_a_second_run_decodes_nothing_and_has_the_same_pixels(photos, decoded, tmp_path):
    first = load_pixels(photos, size=5, cache=tmp_path / "cache")
    assert len(decoded) > 0
    decoded.clear()
    told = []
    again = load_pixels(photos, size=5, cache=tmp_path / "cache", progress=lambda *n: told.append(n))
    assert decoded == []
    assert told == [(7, 7)]
    np.testing.assert_array_equal(first.images, again.images)
    assert first.problems == again.problems
    assert "an empty file" in again.problems


@pytest.mark.parametrize("change", ["pixels", "time", "gone", "size", "channels", "resize"])
def test_whatever_would_change_the_pixels_makes_another_entry(photos, decoded, tmp_path, change):
    options = {"size": 5, "channels": "3", "resize": "stretch"}
    load_pixels(photos, **options, cache=tmp_path / "cache")
    path = photos.root / photos.paths[3]
    if change == "pixels":
        Image.new("RGB", (9, 9), "red").save(path)
    elif change == "time":
        os.utime(path, ns=(1, 1))
    elif change == "gone":
        path.unlink()
    else:
        options |= {"size": 7} if change == "size" else {"channels": "1"} if change == "channels" else {}
        options |= {"resize": "crop"} if change == "resize" else {}
    decoded.clear()
    now = load_pixels(photos, **options, cache=tmp_path / "cache")
    assert len(decoded) == 7
    fresh = load_pixels(photos, **options)
    np.testing.assert_array_equal(now.images, fresh.images)
    assert now.problems == fresh.problems


@pytest.mark.parametrize("damage", ["no json", "half json", "half pixels", "other shape"])
def test_a_damaged_entry_is_not_used(photos, decoded, tmp_path, damage):
    folder = tmp_path / "cache"
    load_pixels(photos, size=5, cache=folder)
    pixels, words = next(folder.glob("*.npy")), next(folder.glob("*.json"))
    if damage == "no json":
        words.unlink()
    elif damage == "half json":
        words.write_text(words.read_text()[:9])
    elif damage == "half pixels":
        pixels.write_bytes(pixels.read_bytes()[:99])
    else:
        np.save(pixels, np.zeros((6, 5, 5, 3), np.uint8))
    decoded.clear()
    load_pixels(photos, size=5, cache=folder)
    assert len(decoded) >= 7


def test_two_writers_at_once_leave_a_whole_entry(photos, tmp_path):
    with ThreadPoolExecutor(4) as pool:
        both = list(pool.map(lambda _: load_pixels(photos, size=5, cache=tmp_path / "cache"), range(8)))
    for one in both:
        np.testing.assert_array_equal(one.images, both[0].images)
    assert sorted(p.suffix for p in (tmp_path / "cache").iterdir()) == [".json", ".npy"]


@pytest.mark.parametrize("kept", [True, False])
def test_pixels_that_do_not_fit_are_mapped(photos, tmp_path, monkeypatch, kept):
    small = load_pixels(photos, size=5)
    monkeypatch.setattr(store, "fits", lambda size: False)
    folder = tmp_path / "cache" if kept else None
    mapped = load_pixels(photos, size=5, cache=folder)
    again = load_pixels(photos, size=5, cache=folder)
    for pixels in (mapped, again):
        assert isinstance(pixels.images, np.memmap)
        np.testing.assert_array_equal(pixels.images, small.images)
    if kept:
        assert sorted(p.suffix for p in (tmp_path / "cache").iterdir()) == [".json", ".npy"]


def test_a_cache_that_cannot_be_written_to_stops_nothing(photos, tmp_path):
    (tmp_path / "file").write_text("")
    pixels = load_pixels(photos, size=5, cache=tmp_path / "file" / "cache")
    np.testing.assert_array_equal(pixels.images, load_pixels(photos, size=5).images)


def test_clearing_removes_our_entries_alone(photos, tmp_path):
    folder = tmp_path / "cache"
    load_pixels(photos, size=5, cache=folder)
    (folder / "notes.json").write_text("{}")
    entries = sum(p.stat().st_size for p in folder.iterdir() if p.name != "notes.json")
    networks = folder / cache.NETWORKS
    networks.mkdir()
    for name in (f"{'a' * 40}.network", f"{'b' * 40}-trial-1.network", "mine.network"):
        (networks / name).write_bytes(b"12345")
    assert cache.size(folder) == (entries, 10)
    assert cache.clear(folder) == (entries, 10)
    assert cache.size(folder) == (0, 0)
    assert sorted(p.name for p in folder.iterdir() if p.is_file()) == ["notes.json"]
    assert [p.name for p in networks.iterdir()] == ["mine.network"]
    assert cache.clear(tmp_path / "nowhere") == (0, 0)


def test_networks_that_were_used_longest_ago_make_room(tmp_path):
    for age, letter in enumerate("abcd"):  # a was used last
        path = tmp_path / f"{letter * 40}.network"
        path.write_bytes(bytes(10))
        os.utime(path, (1000 - age, 1000 - age))
    cache.make_room(tmp_path, 25)
    assert sorted(path.name[0] for path in tmp_path.iterdir()) == ["a", "b"]
    cache.make_room(tmp_path / "nowhere", 25)


def test_where_the_cache_is(monkeypatch, tmp_path):
    monkeypatch.setenv("SIT2_CACHE", "off")
    assert cache.cache_folder("auto") is None
    assert cache.cache_folder("here") is not None
    monkeypatch.setenv("SIT2_CACHE", str(tmp_path))
    assert cache.cache_folder("auto") == tmp_path
    assert cache.cache_folder("off") is None
    monkeypatch.delenv("SIT2_CACHE")
    monkeypatch.setenv("XDG_CACHE_HOME", str(tmp_path / "x"))
    assert cache.cache_folder("auto") == tmp_path / "x" / "sit2"


@pytest.mark.parametrize(
    "change",
    [{"depth_window": "percentile"}, {"background": "black"}, {"max_megapixels": 1}, {"channels_from": (0,)}],
)
def test_the_rules_of_decoding_make_another_entry(photos, decoded, tmp_path, change):
    load_pixels(photos, size=5, cache=tmp_path / "cache")
    decoded.clear()
    load_pixels(photos, size=5, cache=tmp_path / "cache", **change)
    assert len(decoded) >= 7


def test_notes_are_kept(tmp_path):
    for name in ("ant/1", "ant/2", "bee/1", "bee/2"):
        path = tmp_path / "photos" / f"{name}.gif"
        path.parent.mkdir(parents=True, exist_ok=True)
        pages = [Image.new("L", (9, 9), value) for value in (9, 99)]
        pages[0].save(path, save_all=True, append_images=pages[1:])
    photos = read_dataset(tmp_path / "photos")
    first, again = (load_pixels(photos, size=5, cache=tmp_path / "cache") for _ in range(2))
    assert first.notes == again.notes
    assert first.notes == (
        (
            "4 images with several frames or pages, of which the first is taken: "
            "ant/1.gif, ant/2.gif, bee/1.gif and 1 more"
        ),
    )


@pytest.mark.parametrize("passing", ["permission", "changed"])
def test_what_is_so_only_now_is_not_remembered(photos, monkeypatch, tmp_path, passing):
    path = photos.root / photos.paths[5]
    state = path.stat()

    def decode(source, how, *rest):
        if source == path and passing == "permission":
            raise UnreadableNow("no permission to read it")
        if source == path:
            os.utime(path, ns=(state.st_mtime_ns, state.st_mtime_ns + 1))  # as if somebody wrote it meanwhile
        return plain(source, how, *rest)

    plain = store.decode
    monkeypatch.setattr(store, "decode", decode)
    problems = load_pixels(photos, size=5, cache=tmp_path / "cache").problems
    assert problems[5] == ("no permission to read it" if passing == "permission" else "")
    assert not (tmp_path / "cache").exists()
    monkeypatch.undo()
    assert load_pixels(photos, size=5, cache=tmp_path / "cache").problems[5] == ""
    assert len(list((tmp_path / "cache").iterdir())) == 2
