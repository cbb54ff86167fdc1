"""All pixels in memory: decode once, then everything else is array work.

Letters: N samples, C channels.
"""

from __future__ import annotations

import hashlib
import os
from collections.abc import Callable
from concurrent.futures import ThreadPoolExecutor
from dataclasses import dataclass
from pathlib import Path

import numpy as np

from sit2.data.decode import Unreadable, channels_of, decode, quiet_pillow
from sit2.records import ByteArray, Dataset

_CHUNK = 32  # images a task: enough to make the pool's own work invisible, few enough for smooth progress


@dataclass(frozen=True)
class Pixels:
    """The decoded images of a dataset. Where a problem stands, the pixels are zero and mean nothing."""

    images: ByteArray  # (N, C, size, size) uint8
    problems: tuple[str, ...]  # N, "" where the image is fine, else why it cannot be read


def load_pixels(
    dataset: Dataset,
    *,
    size: int,
    channels: str = "auto",  # "auto", "1" or "3"
    resize: str = "stretch",  # "stretch", "crop" or "pad"
    progress: Callable[[int, int], None] | None = None,  # called with the number done and N
) -> Pixels:
    """Decode every image of a dataset, in several threads. An unreadable one gets a problem, not a guess.

    ``channels="auto"`` means 1 if every readable image is gray, else 3.
    """
    total = len(dataset)
    with quiet_pillow():
        depth = _channels(dataset) if channels == "auto" else int(channels)
        images = np.zeros((total, depth, size, size), dtype=np.uint8)

        def fill(start: int) -> list[str]:
            """Decode a chunk into its place. Pillow lets other threads run meanwhile."""
            problems = []
            for n in range(start, min(start + _CHUNK, total)):
                try:
                    images[n] = decode(source_of(dataset, n), size=size, channels=depth, resize=resize)
                    problems.append("")
                except Unreadable as error:
                    problems.append(str(error))
            return problems

        problems: list[str] = []
        pool = ThreadPoolExecutor(min(16, 2 * (os.cpu_count() or 1)))  # half of them wait for the disk
        try:
            for chunk in pool.map(fill, range(0, total, _CHUNK)):
                problems += chunk
                if progress is not None:
                    progress(len(problems), total)
        finally:  # Ctrl-C must not wait for a million images
            pool.shutdown(cancel_futures=True)
    return Pixels(images, tuple(problems))


def source_of(dataset: Dataset, n: int) -> Path | ByteArray:
    """Return what :func:`~sit2.data.decode.decode` takes for sample n: its file, or its array."""
    return dataset.arrays[n] if dataset.arrays else dataset.root / dataset.paths[n]


def fingerprint(dataset: Dataset, pixels: Pixels) -> str:
    """Return 32 hexadecimal digits that change with any id, label, group, split, problem or pixel."""
    images = np.ascontiguousarray(pixels.images)
    table = (
        dataset.classes,
        dataset.ids,
        dataset.labels.tolist(),
        dataset.groups,
        dataset.splits,
        pixels.problems,
        images.shape,
    )
    digest = hashlib.blake2b(repr(table).encode(), digest_size=16)
    digest.update(images.data)
    return digest.hexdigest()


def _channels(dataset: Dataset) -> int:
    """Return 3 as soon as one colour image proves readable, else 1."""
    for n in range(len(dataset)):
        source = source_of(dataset, n)
        try:
            if channels_of(source) == 3:
                decode(source, size=8, channels=3, resize="stretch")
                return 3
        except Unreadable:
            continue  # it will get its problem when the pixels are loaded
    return 1
