"""Many images in constant memory: decode some, predict them, hand them over, in order; then the next ones."""

from __future__ import annotations

from collections.abc import Iterator
from concurrent.futures import ThreadPoolExecutor
from dataclasses import dataclass

import numpy as np

from sit2.data.pixels import Pixels, PixelStore, load_pixels_for, note_sentences
from sit2.data.samples import as_texts
from sit2.data.words import listed
from sit2.errors import DataError
from sit2.events import Listener, Note, Progress
from sit2.inference.any_model import Answering
from sit2.inference.decisions import Answers
from sit2.records import Dataset, IntArray

CHUNK = 256  # images at once; the next ones are decoded meanwhile


@dataclass(frozen=True)
class Chunk:
    """Some images, in the order of their data set, and what a model says of them."""

    dataset: Dataset
    problems: tuple[str, ...]  # why an image cannot be read, or ""
    good: IntArray  # the rows that can
    answers: Answers  # of these
    digests: tuple[str, ...]  # of the pixels of these, as the network sees them


def stream(model: Answering, dataset: Dataset, listener: Listener, *, start: int = 0) -> Iterator[Chunk]:
    """Yield what a model says of the images of a data set, from the ``start``-th on; the last one tells the notes.

    Raises:
        DataError: no image can be read, which is known only at the end.
    """
    total, readable = len(dataset), start
    bad: list[str] = []
    told: dict[str, list[str]] = {}
    parts = [
        dataset.take(np.arange(first, min(first + CHUNK, total), dtype=np.int64))
        for first in range(start, total, CHUNK)
    ]

    def decode(part: Dataset) -> Pixels:
        return load_pixels_for(model.spec, part)

    pool = ThreadPoolExecutor(1)
    try:
        waiting = pool.submit(decode, parts[0]) if parts else None
        for number, part in enumerate(parts):
            assert waiting is not None
            pixels = waiting.result()
            if number + 1 < len(parts):
                waiting = pool.submit(decode, parts[number + 1])
            good = np.array([n for n, problem in enumerate(pixels.problems) if not problem], np.int64)
            digests = as_texts(PixelStore.of(pixels.images).digests[good])
            yield Chunk(part, pixels.problems, good, model.answers(pixels.images, good), digests)
            readable += len(good)
            if len(bad) < CHUNK:  # enough for a sentence
                bad += [f"{p} ({why})" for p, why in zip(part.paths, pixels.problems, strict=True) if why]
            for note, paths in pixels.told.items():
                told.setdefault(note, []).extend(paths)
            done = min(start + (number + 1) * CHUNK, total)
            listener(Progress("Predicting", done / total, f"{done:,} of {total:,}"))
    finally:
        pool.shutdown(cancel_futures=True)
    for note in note_sentences(told):
        listener(Note(note))
    if not readable:
        raise DataError(f"no image can be read: {listed(bad)}\nexpected at least one that can")
