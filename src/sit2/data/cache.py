"""Decoded pixels kept between runs, by what determines them.

An entry is ``<key>.npy`` (the pixels, so that they can be mapped into memory instead of read) and
``<key>.json`` (the problems and notes). The key covers every file's path, size and time of change, and how
it is decoded: a file that changes makes another key. The JSON is written last, and both by renaming whole
files, so two processes that write the same entry at once never leave a half one.
"""

from __future__ import annotations

import contextlib
import dataclasses
import hashlib
import os
from collections.abc import Callable
from pathlib import Path
from typing import NamedTuple

import numpy as np
from platformdirs import user_cache_path

from sit2.data.decoding.image import Decoding
from sit2.errors import RunFolderError
from sit2.records import ByteArray, Dataset
from sit2.storage.files import atomic, sweep
from sit2.storage.untrusted import read_json, to_json

VERSION = 4  # of the entries; another decoder of ours makes another version
DAY = 24 * 3600.0  # seconds
ENVIRONMENT = "SIT2_CACHE"
NETWORKS = "networks"  # the folder of trained networks, in the cache
MOST_NETWORKS = 4 << 30  # bytes that they may take


class Entry(NamedTuple):
    """What was kept."""

    images: ByteArray  # (N, C, size, size) uint8
    problems: tuple[str, ...]  # N
    notes: tuple[str, ...]  # sentences for the screen
    path: Path  # the file


def cache_folder(setting: str) -> Path | None:
    """Return where decoded images are kept: ``setting`` is a folder, "auto" or "off" (None)."""
    if setting == "off":
        return None
    if setting != "auto":
        return Path(setting).expanduser()
    if named := os.environ.get(ENVIRONMENT):
        return None if named == "off" else Path(named).expanduser()
    return user_cache_path("sit2", appauthor=False)


def networks_folder(setting: str, other: Path) -> Path:
    """Return where trained networks are kept: in the cache, or in ``other`` where there is none."""
    folder = cache_folder(setting)
    return other if folder is None else folder / NETWORKS


def key_of(dataset: Dataset, how: Decoding, channels: str) -> str | None:
    """Return the key of a dataset's pixels, or None where they do not come from files.

    ``channels`` is what was asked for, "auto" perhaps; how many there are then follows from the files.
    """
    if dataset.arrays:
        return None
    digest = hashlib.blake2b(digest_size=20)
    settings = dataclasses.replace(how, channels=3)  # which does not count: `channels` does
    digest.update(repr((VERSION, settings, channels, str(dataset.root.resolve()))).encode())
    for path in dataset.paths:
        try:
            state = (dataset.root / path).stat()
            known = (path, state.st_size, state.st_mtime_ns)
        except (OSError, ValueError):  # a path may hold what no system allows
            known = (path, -1, -1)
        digest.update(repr(known).encode())
    return digest.hexdigest()


def load(folder: Path, key: str, *, fits: Callable[[int], bool]) -> Entry | None:
    """Return an entry; None where there is none, or it is damaged.

    The images are in memory where they fit, else mapped from disk.
    """
    path = folder / f"{key}.npy"
    try:
        words = read_json(folder / f"{key}.json")
        problems, notes = tuple(words["problems"]), tuple(words["notes"])
        in_memory = fits(path.stat().st_size)
        pixels: ByteArray = np.load(path, mmap_mode=None if in_memory else "c", allow_pickle=False)
    except Exception:  # NumPy raises nearly anything on a damaged header
        return None
    if pixels.dtype != np.uint8 or pixels.ndim != 4 or len(pixels) != len(problems):
        return None
    return Entry(pixels.transpose(0, 3, 1, 2), problems, notes, path)


def save(
    folder: Path, key: str, pixels: ByteArray, problems: tuple[str, ...], notes: tuple[str, ...]
) -> Path | None:
    """Keep pixels (N, size, size, C), problems and notes; return the file.

    A cache that cannot be written to stops nothing: None.
    """
    with contextlib.suppress(OSError, RunFolderError):
        sweep(folder, older=DAY)  # what another process writes now is younger
        if isinstance(pixels, np.memmap) and pixels.filename is not None:
            pixels.flush()
            Path(pixels.filename).replace(folder / f"{key}.npy")
        else:
            with atomic(folder / f"{key}.npy") as path, path.open("wb") as file:
                np.save(file, pixels)
        with atomic(folder / f"{key}.json") as path:
            path.write_text(to_json({"problems": problems, "notes": notes}, indent=None), encoding="utf-8")
        return folder / f"{key}.npy"
    return None


def size(folder: Path) -> tuple[int, int]:
    """Return how many bytes decoded images and trained networks take."""
    images, networks = (sum(path.stat().st_size for path in paths) for paths in _entries(folder))
    return images, networks


def clear(folder: Path) -> tuple[int, int]:
    """Remove all entries; return how many bytes they took, as :func:`size`. Files that are not ours stay."""
    freed = size(folder)
    for paths in _entries(folder):
        for path in paths:
            path.unlink(missing_ok=True)
    return freed


def make_room(folder: Path, most: int = MOST_NETWORKS) -> None:
    """Remove the networks that were used longest ago until all take at most this many bytes."""
    with contextlib.suppress(OSError):
        paths = sorted(_networks(folder), key=lambda path: path.stat().st_mtime)
        total = sum(path.stat().st_size for path in paths)
        for path in paths:
            if total <= most:
                return
            total -= path.stat().st_size
            path.unlink(missing_ok=True)


def _entries(folder: Path) -> tuple[list[Path], list[Path]]:
    """Return the files of decoded images, and those of trained networks."""
    files = folder.glob("*") if folder.is_dir() else ()
    images = [path for path in files if len(path.stem) == 40 and path.suffix in (".npy", ".json")]
    return images, _networks(folder / NETWORKS)


def _networks(folder: Path) -> list[Path]:
    files = folder.glob("*.network") if folder.is_dir() else ()
    return [path for path in files if len(path.stem.partition("-")[0]) == 40]
