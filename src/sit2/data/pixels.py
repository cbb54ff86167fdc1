"""All pixels in memory: decode once, then everything else is array work.

Letters: N samples, C channels.
"""

from __future__ import annotations

import atexit
import hashlib
import math
import os
import tempfile
from collections.abc import Callable, Mapping, Sequence
from concurrent.futures import ThreadPoolExecutor
from dataclasses import dataclass, field, replace
from pathlib import Path
from typing import Any, NamedTuple

import numpy as np

from sit2.data.cache import key_of, load, save
from sit2.data.decoding.decode import decode
from sit2.data.decoding.header import channels_of
from sit2.data.decoding.image import MAX_MEGAPIXELS, Decoding, DecodingSettings, Unreadable, UnreadableNow
from sit2.data.memory import fits
from sit2.data.words import counted, listed
from sit2.errors import DataError
from sit2.records import ByteArray, Dataset
from sit2.storage.process_state import quiet_libraries

Progress = Callable[[int, int], None]

NO_MEMORY = "too large for the memory there is"
_CHUNK = 32  # images a task: enough to make the pool's own work invisible, few enough for smooth progress


@dataclass(frozen=True)
class Pixels:
    """The decoded images of a dataset. Where a problem stands, the pixels are zero and mean nothing."""

    images: ByteArray  # (N, C, size, size) uint8, channels last in memory, as augmentation reads them
    problems: tuple[str, ...]  # N, "" where the image is fine, else why it cannot be read
    notes: tuple[str, ...] = ()  # sentences about images that can be read, for the screen
    path: Path | None = None  # the .npy file (N, size, size, C) that holds them, where there is one
    told: Mapping[str, Sequence[str]] = field(
        default_factory=dict
    )  # the same notes, each with its images' paths


def load_pixels(
    dataset: Dataset,
    *,
    size: int,
    channels: str = "auto",  # "auto", "1" or "3"
    resize: str = "stretch",  # this and the next four: see Decoding
    depth_window: str = "full",
    background: str = "white",
    max_megapixels: int = MAX_MEGAPIXELS,
    channels_from: tuple[int, ...] = (),
    progress: Progress | None = None,  # called with the number done and N
    cache: Path | None = None,  # folder where decoded pixels are kept between runs
) -> Pixels:
    """Decode every image of a dataset, in several threads. An unreadable one gets a problem, not a guess.

    ``channels="auto"`` means 1 if every readable image is gray, else 3. With a cache, pixels that were
    decoded before are not decoded again. Pixels that do not fit into memory are mapped from a file: the
    cache's, or a temporary one.
    """
    how = Decoding(size, 3, resize, depth_window, background, max_megapixels, channels_from)
    key = key_of(dataset, how, channels) if cache is not None else None
    if cache is not None and key is not None and (found := load(cache, key, fits=fits)) is not None:
        if progress is not None:
            progress(len(dataset), len(dataset))
        return Pixels(*found)
    with quiet_libraries():
        depth = _channels(dataset, how) if channels == "auto" else int(channels)
        how, shape = replace(how, channels=depth), (len(dataset), size, size, depth)
        general: list[str] = []
        try:
            pixels = _room(shape, cache)
            told = _decode_all(dataset, pixels, how, progress=progress)
        except MemoryError:  # with nothing else in memory, one image at a time, it may still work
            general.append(_SHORT_OF_MEMORY)
            pixels = _mapped(shape, cache)
            told = _decode_all(dataset, pixels, how, progress=progress, sparing=True)
    noted = _noted(dataset, told)
    problems, notes = tuple(one.problem for one in told), (*general, *note_sentences(noted))
    # What is so only today, or of a file that has changed meanwhile, must not be remembered.
    lasting = all(one.lasting for one in told)
    if cache is not None and key is not None and lasting and key == key_of(dataset, how, channels):
        kept = save(cache, key, pixels, problems, notes)
        if isinstance(pixels, np.memmap) and (found := load(cache, key, fits=fits)) is not None:
            return Pixels(*found)  # mapped from where it lies now
        return Pixels(pixels.transpose(0, 3, 1, 2), problems, notes, kept)
    path = Path(pixels.filename) if isinstance(pixels, np.memmap) and pixels.filename else None
    return Pixels(pixels.transpose(0, 3, 1, 2), problems, notes, path, noted)


def load_pixels_for(
    settings: DecodingSettings,
    dataset: Dataset,
    *,
    size: int | None = None,
    progress: Progress | None = None,
    cache: Path | None = None,
) -> Pixels:
    """Decode every image of a dataset as a configuration or a model says, at another size if one is given."""
    side = settings.image_size if size is None else size
    assert side is not None
    return load_pixels(
        dataset,
        size=side,
        channels=str(settings.channels),
        resize=settings.resize,
        depth_window=settings.depth_window,
        background=settings.background,
        max_megapixels=settings.max_megapixels,
        channels_from=settings.channels_from,
        progress=progress,
        cache=cache,
    )


@dataclass(frozen=True)
class PixelStore:
    """Decoded images that trainings share, with the digest of each.

    It travels to another process as the path of its file, never as pixels: see :meth:`on_disk`.
    """

    images: ByteArray  # (M, C, size, size) uint8
    digests: ByteArray  # (M, 16) uint8: of each image's pixels
    path: Path | None = None  # the .npy file (M, size, size, C) that holds the images

    @classmethod
    def of(cls, images: ByteArray, path: Path | None = None) -> PixelStore:
        """Digest every image once."""
        digests = np.empty((len(images), _DIGEST), np.uint8)
        for n in range(len(images)):
            data = np.ascontiguousarray(images[n].transpose(1, 2, 0)).data
            digests[n] = np.frombuffer(hashlib.blake2b(data, digest_size=_DIGEST).digest(), np.uint8)
        return cls(images, digests, path)

    def on_disk(self, folder: Path) -> PixelStore:
        """Return the same images, in a file in ``folder`` if they are in none yet."""
        if self.path is not None and self.path.exists():
            return self
        path = folder / "pixels.npy"
        with path.open("wb") as file:
            np.save(file, self.images.transpose(0, 2, 3, 1))
        return PixelStore(self.images, self.digests, path)

    def __getstate__(self) -> dict[str, Any]:
        if self.path is None:
            raise ValueError("pixels that are in no file cannot be sent to another process")
        return {"digests": self.digests, "path": self.path}

    def __setstate__(self, state: dict[str, Any]) -> None:
        pixels: ByteArray = np.load(state["path"], mmap_mode="c", allow_pickle=False)
        object.__setattr__(self, "images", pixels.transpose(0, 3, 1, 2))
        for name, value in state.items():
            object.__setattr__(self, name, value)


_DIGEST = 16  # bytes

_SHORT_OF_MEMORY = "memory ran out in decoding: images were decoded one by one, and are mapped from disk"


def _room(shape: tuple[int, ...], cache: Path | None) -> ByteArray:
    """Return zeros of this shape: in memory where they fit, else in a file."""
    return np.zeros(shape, dtype=np.uint8) if fits(math.prod(shape)) else _mapped(shape, cache)


def _mapped(shape: tuple[int, ...], cache: Path | None) -> ByteArray:
    """Return zeros of this shape in a file that goes with the process."""
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


class _Told(NamedTuple):
    """What decoding one image told."""

    problem: str  # "" where it is fine
    notes: tuple[str, ...]
    lasting: bool  # the same will be told until the file changes


def _decode_all(
    dataset: Dataset,
    pixels: ByteArray,
    how: Decoding,
    *,
    progress: Progress | None,
    sparing: bool = False,  # of memory: one image at a time, and one that is too large has a problem
) -> list[_Told]:
    """Decode into ``pixels`` (N, size, size, C). Raises MemoryError, unless told to spare it."""
    images, total = pixels.transpose(0, 3, 1, 2), len(dataset)

    def one(n: int) -> _Told:
        notes: list[str] = []
        try:
            images[n] = decode(source_of(dataset, n), how, notes.append)
        except Unreadable as error:
            return _Told(str(error), (), not isinstance(error, UnreadableNow))
        except MemoryError:
            if not sparing:
                raise
            return _Told(NO_MEMORY, (), False)
        return _Told("", tuple(notes), True)

    def chunk(start: int) -> list[_Told]:
        return [one(n) for n in range(start, min(start + _CHUNK, total))]

    told: list[_Told] = []
    threads = 1 if sparing else min(16, 2 * (os.cpu_count() or 1))  # half of them wait for the disk
    pool = ThreadPoolExecutor(threads)  # decoders let other threads run meanwhile
    try:
        for part in pool.map(chunk, range(0, total, _CHUNK)):
            told += part
            if progress is not None:
                progress(len(told), total)
    finally:  # Ctrl-C must not wait for a million images
        pool.shutdown(cancel_futures=True)
    return told


def _noted(dataset: Dataset, told: Sequence[_Told]) -> dict[str, list[str]]:
    """Return each thing that was told of some images, with their paths."""
    paths: dict[str, list[str]] = {}
    for path, one in zip(dataset.paths, told, strict=True):
        for note in one.notes:
            paths.setdefault(note, []).append(path)
    return paths


def note_sentences(noted: Mapping[str, Sequence[str]]) -> list[str]:
    """Return one sentence for each thing that was told of some images, by their paths."""
    return [f"{counted(len(which), 'image')} {note}: {listed(which)}" for note, which in noted.items()]


def source_of(dataset: Dataset, n: int) -> Path | ByteArray:
    """Return what :func:`~sit2.data.decoding.decode.decode` takes for sample n: its file, or its array."""
    return dataset.arrays[n] if dataset.arrays else dataset.root / dataset.paths[n]


def fingerprint(dataset: Dataset, problems: Sequence[str], store: PixelStore) -> str:
    """Return 32 hexadecimal digits that change with any id, label, group, split, problem or pixel."""
    table = (
        dataset.classes,
        dataset.ids,
        dataset.labels.tolist(),
        dataset.groups,
        dataset.splits,
        problems,
        store.images.shape,
    )
    digest = hashlib.blake2b(repr(table).encode(), digest_size=16)
    digest.update(store.digests.tobytes())
    return digest.hexdigest()


def _channels(dataset: Dataset, how: Decoding) -> int:
    """Return how many channels were chosen; else 3 as soon as one colour image proves readable, else 1."""
    if how.channels_from:
        return len(how.channels_from)
    for n in range(len(dataset)):
        source = source_of(dataset, n)
        try:
            if channels_of(source) == 3:
                decode(source, replace(how, size=8, channels=3))
                return 3
        except Unreadable:
            continue  # it will get its problem when the pixels are loaded
        except MemoryError:
            return 3
    return 1
