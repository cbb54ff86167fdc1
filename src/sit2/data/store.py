"""All pixels in memory: decode once, then everything else is array work.

Letters: N samples, C channels.
"""

from __future__ import annotations

import atexit
import contextlib
import hashlib
import math
import os
import sys
import tempfile
from collections.abc import Callable
from concurrent.futures import ThreadPoolExecutor
from dataclasses import dataclass
from pathlib import Path

import numpy as np

from sit2.data.cache import key_of, load, save
from sit2.data.decode import Unreadable, channels_of, decode, quiet_pillow
from sit2.errors import DataError
from sit2.records import ByteArray, Dataset

try:
    import resource
except ImportError:  # not on Windows
    resource = None  # type: ignore[assignment]

Progress = Callable[[int, int], None]

_CHUNK = 32  # images a task: enough to make the pool's own work invisible, few enough for smooth progress


@dataclass(frozen=True)
class Pixels:
    """The decoded images of a dataset. Where a problem stands, the pixels are zero and mean nothing."""

    images: ByteArray  # (N, C, size, size) uint8, channels last in memory, as augmentation reads them
    problems: tuple[str, ...]  # N, "" where the image is fine, else why it cannot be read


def load_pixels(
    dataset: Dataset,
    *,
    size: int,
    channels: str = "auto",  # "auto", "1" or "3"
    resize: str = "stretch",  # "stretch", "crop" or "pad"
    progress: Progress | None = None,  # called with the number done and N
    cache: Path | None = None,  # folder where decoded pixels are kept between runs
) -> Pixels:
    """Decode every image of a dataset, in several threads. An unreadable one gets a problem, not a guess.

    ``channels="auto"`` means 1 if every readable image is gray, else 3. With a cache, pixels that were
    decoded before are not decoded again. Pixels that do not fit into memory are mapped from a file: the
    cache's, or a temporary one.
    """
    key = key_of(dataset, size=size, channels=channels, resize=resize) if cache is not None else None
    if cache is not None and key is not None and (found := load(cache, key, fits=fits)) is not None:
        if progress is not None:
            progress(len(dataset), len(dataset))
        return Pixels(*found)
    with quiet_pillow():
        depth = _channels(dataset) if channels == "auto" else int(channels)
        shape = (len(dataset), size, size, depth)
        pixels = _room(shape, cache)
        images = pixels.transpose(0, 3, 1, 2)
        problems = _decode_all(dataset, images, size=size, resize=resize, progress=progress)
    if cache is not None and key is not None:
        save(cache, key, pixels, problems)
        if isinstance(pixels, np.memmap) and (found := load(cache, key, fits=fits)) is not None:
            return Pixels(*found)  # mapped from where it lies now
    return Pixels(images, problems)


def fits(size: int) -> bool:
    """Say whether so many bytes can be held in memory, with as much again left for the work."""
    return 2 * size <= available_memory()


def available_memory() -> int:
    """Return how many bytes this process may still take: of the machine, its control group and its limits."""
    bounds = [sys.maxsize]
    with contextlib.suppress(OSError, ValueError, StopIteration):
        lines = Path("/proc/meminfo").read_text(encoding="ascii").splitlines()
        bounds.append(1024 * next(int(line.split()[1]) for line in lines if line.startswith("MemAvailable")))
    for limit, used in _CGROUP_FILES:
        with contextlib.suppress(OSError, ValueError):  # "max", and other systems
            bounds.append(int(Path(limit).read_text()) - int(Path(used).read_text()))
    if resource is not None:
        for kind, column in ((resource.RLIMIT_DATA, 5), (resource.RLIMIT_AS, 0)):
            soft, _ = resource.getrlimit(kind)
            if soft != resource.RLIM_INFINITY:
                with contextlib.suppress(OSError, ValueError):
                    pages = int(Path("/proc/self/statm").read_text(encoding="ascii").split()[column])
                    bounds.append(soft - pages * resource.getpagesize())
    return max(0, min(bounds))


_CGROUP_FILES = (
    ("/sys/fs/cgroup/memory.max", "/sys/fs/cgroup/memory.current"),
    ("/sys/fs/cgroup/memory/memory.limit_in_bytes", "/sys/fs/cgroup/memory/memory.usage_in_bytes"),
)


def _room(shape: tuple[int, ...], cache: Path | None) -> ByteArray:
    """Return zeros of this shape: in memory where they fit, else in a file that goes with the process."""
    if fits(math.prod(shape)):
        return np.zeros(shape, dtype=np.uint8)
    places = [cache, None] if cache is not None else [None]  # None: where the system keeps temporary files
    for place in places:
        try:
            return _file(shape, place)
        except OSError as error:
            reason = error.strerror
    raise DataError(
        f"no room for {math.prod(shape) / 1e9:.1f} GB of pixels, in memory or on disk: {reason}\n"
        "name a folder with room by --cache, or lower --image-size"
    )


def _file(shape: tuple[int, ...], folder: Path | None) -> ByteArray:
    """Return zeros in a file whose place on the disk is taken: writing to it later cannot fail."""
    if folder is not None:
        folder.mkdir(parents=True, exist_ok=True)
    handle, name = tempfile.mkstemp(prefix=".sit2-", suffix=".tmp", dir=folder)
    os.close(handle)
    atexit.register(Path(name).unlink, missing_ok=True)
    pixels = np.lib.format.open_memmap(name, mode="w+", dtype=np.uint8, shape=shape)
    if hasattr(os, "posix_fallocate"):
        with Path(name).open("r+b") as file:
            os.posix_fallocate(file.fileno(), 0, os.fstat(file.fileno()).st_size)
    return pixels


def _decode_all(
    dataset: Dataset, images: ByteArray, *, size: int, resize: str, progress: Progress | None
) -> tuple[str, ...]:
    """Decode into ``images`` (N, C, size, size); return the problems."""
    total, depth = len(dataset), images.shape[1]

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
    return tuple(problems)


def source_of(dataset: Dataset, n: int) -> Path | ByteArray:
    """Return what :func:`~sit2.data.decode.decode` takes for sample n: its file, or its array."""
    return dataset.arrays[n] if dataset.arrays else dataset.root / dataset.paths[n]


def fingerprint(dataset: Dataset, pixels: Pixels) -> str:
    """Return 32 hexadecimal digits that change with any id, label, group, split, problem or pixel."""
    images = pixels.images
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
    for n in range(0, len(images), 1024):  # a memory map must not come into memory all at once
        digest.update(np.ascontiguousarray(images[n : n + 1024]).data)
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
