"""Images that are equal to the byte: found without reading most files, and named in the dataset."""

from __future__ import annotations

import hashlib
from collections import defaultdict
from collections.abc import Callable, Sequence
from dataclasses import replace
from pathlib import Path

import numpy as np

from sit2.data.pixels import Pixels, source_of
from sit2.records import Dataset


def name_duplicates(dataset: Dataset, pixels: Pixels) -> Dataset:
    """Return the dataset with ``duplicates``: for each image the id of the first that is equal to it.

    Unchanged where no image has a copy. An unreadable image counts as no copy of anything.
    """
    sets = find_duplicates(dataset, pixels)
    names = list(dataset.ids)
    for rows in sets:
        for n in rows:
            names[n] = dataset.ids[rows[0]]
    return replace(dataset, duplicates=tuple(names)) if sets else dataset


def find_duplicates(dataset: Dataset, pixels: Pixels) -> list[list[int]]:
    """Return the sets of rows, each at least two and ascending, whose files or arrays are equal.

    Only files of one size that were decoded to the same pixels can be equal; no others are read again.
    """
    readable = [n for n, problem in enumerate(pixels.problems) if not problem]

    def size(n: int) -> object:
        source = source_of(dataset, n)
        return source.stat().st_size if isinstance(source, Path) else source.shape

    def looks(n: int) -> object:
        return _digest(np.ascontiguousarray(pixels.images[n]).data)

    def content(n: int) -> object:
        source = source_of(dataset, n)
        return _digest(source.read_bytes() if isinstance(source, Path) else source.tobytes())

    return _alike(readable, size, looks, content)


def duplicate_sets(dataset: Dataset) -> list[list[int]]:
    """Return the rows of each image that stands more than once, as ``dataset.duplicates`` names them."""
    return _alike(range(len(dataset.duplicates)), lambda n: dataset.duplicates[n])


def _alike(rows: Sequence[int], *keys: Callable[[int], object]) -> list[list[int]]:
    """Return the sets of rows that have the same keys, each at least two; a later key only where needed."""
    sets: dict[object, list[int]] = defaultdict(list)
    for n in rows:
        sets[keys[0](n)].append(n)
    several = [same for same in sets.values() if len(same) > 1]
    return [same for some in several for same in _alike(some, *keys[1:])] if keys[1:] else several


def _digest(data: bytes | memoryview) -> bytes:
    return hashlib.blake2b(data, digest_size=16).digest()
