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

from sit2.data.decoding.image import Decoding
from sit2.errors import RunFolderError
from sit2.records import ByteArray, Dataset
from sit2.storage.files import atomic, sweep
from sit2.storage.untrusted import read_json, to_json

VERSION = 3  # of the entries; another decoder of ours makes another version
DAY = 24 * 3600.0  # seconds
ENVIRONMENT = "SIT2_CACHE"


class Entry(NamedTuple):
    """What was kept."""

    images: ByteArray  # (N, C, size, size) uint8
    problems: tuple[str, ...]  # N
    notes: tuple[str, ...]  # sentences for the screen


def cache_folder(setting: str) -> Path | None:
    """Return where decoded images are kept: ``setting`` is a folder, "auto" or "off" (None)."""
    if setting == "off":
        return None
    if setting != "auto":
        return Path(setting).expanduser()
    if named := os.environ.get(ENVIRONMENT):
        return None if named == "off" else Path(named).expanduser()
    base = os.environ.get("XDG_CACHE_HOME") or os.environ.get("LOCALAPPDATA") or "~/.cache"
    return Path(base).expanduser() / "sit2"


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
        pixels: ByteArray = np.load(path, mmap_mode=None if in_memory else "r", allow_pickle=False)
    except Exception:  # NumPy raises nearly anything on a damaged header
        return None
    if pixels.dtype != np.uint8 or pixels.ndim != 4 or len(pixels) != len(problems):
        return None
    return Entry(pixels.transpose(0, 3, 1, 2), problems, notes)


def save(
    folder: Path, key: str, pixels: ByteArray, problems: tuple[str, ...], notes: tuple[str, ...]
) -> None:
    """Keep pixels (N, size, size, C), problems and notes; a cache that cannot be written to stops nothing."""
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


def size(folder: Path) -> int:
    """Return how many bytes all entries take."""
    return sum(path.stat().st_size for path in _entries(folder))


def clear(folder: Path) -> int:
    """Remove all entries; return how many bytes they took. Files that are not ours stay."""
    freed = size(folder)
    for path in _entries(folder):
        path.unlink(missing_ok=True)
    return freed


def _entries(folder: Path) -> list[Path]:
    files = folder.glob("*") if folder.is_dir() else ()
    return [path for path in files if len(path.stem) == 40 and path.suffix in (".npy", ".json")]
