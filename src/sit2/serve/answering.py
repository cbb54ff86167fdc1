"""From the bytes of image files to what is said of them, as `sit2 predict` says it."""

from __future__ import annotations

import asyncio
import functools
import os
from collections.abc import Callable, Sequence
from concurrent.futures import ThreadPoolExecutor
from dataclasses import dataclass, replace
from typing import Any, TypeVar

import numpy as np

from sit2.data.decoding.decode import decode
from sit2.data.decoding.image import Decoding, Unreadable
from sit2.data.pixels import NO_MEMORY
from sit2.inference.decisions import Answers, decide
from sit2.inference.model import Model
from sit2.records import ByteArray
from sit2.serve.schema import Answer
from sit2.serve.worker import Worker
from sit2.storage.process_state import quiet_libraries

Result = TypeVar("Result")
MOST_DECODERS = 4  # images that are decoded at once


@dataclass(frozen=True)
class File:
    """An image file as it came."""

    name: str  # as the client calls it
    content: bytes

    @property
    def source(self) -> ByteArray:
        """Return its bytes as :func:`~sit2.data.decoding.decode.decode` takes them."""
        return np.frombuffer(self.content, np.uint8)


@dataclass(frozen=True)
class Decoded:
    """What became of one file."""

    pixels: ByteArray | None = None  # (C, size, size) uint8; None: there is a problem
    notes: tuple[str, ...] = ()
    problem: str = ""


class Answerer:
    """A model that is asked about files, by several requests at once, between :meth:`open` and :meth:`close`."""

    def __init__(self, model: Model, coverage: float | None, max_megapixels: int) -> None:
        self.model, self.coverage = model, coverage
        self.classes = [spoken(name) for name in model.spec.classes]
        how = Decoding.of(model.spec, channels=model.spec.channels)
        self.how = replace(how, max_megapixels=min(how.max_megapixels, max_megapixels))

    def open(self) -> None:
        """Start the threads."""
        self.worker = Worker(self.model)
        self._pool = ThreadPoolExecutor(min(MOST_DECODERS, os.cpu_count() or 1), "sit2-decoder")

    def close(self) -> None:
        """End the threads, once what they do is done."""
        self._pool.shutdown(cancel_futures=True)
        self.worker.close()

    async def in_pool(self, function: Callable[..., Result], *given: Any) -> Result:
        """Run a function in one of the threads that decode."""
        return await asyncio.get_running_loop().run_in_executor(self._pool, function, *given)

    async def in_worker(self, function: Callable[..., Result], *given: Any) -> Result:
        """Run a function in the thread that owns the model."""
        found: Result = await asyncio.wrap_future(self.worker.call(functools.partial(function, *given)))
        return found

    async def decoded(self, files: Sequence[File]) -> list[Decoded]:
        """Decode files, each with its own problem where it cannot be read."""
        return list(await asyncio.gather(*(self.in_pool(decoded, one, self.how) for one in files)))

    async def answers(self, files: Sequence[File]) -> list[Answer]:
        """Return what is said of each file, in their order."""
        self.worker.coming += 1
        try:
            found = await self.decoded(files)
            good = [one.pixels for one in found if one.pixels is not None]
            asked = self.worker.ask(np.stack(good)) if good else None
        finally:
            self.worker.coming -= 1
        said = iter(() if asked is None else self._said(await asyncio.wrap_future(asked)))
        return [
            Answer(path=spoken(file.name), problem=spoken(one.problem))
            if one.pixels is None
            else Answer(path=spoken(file.name), notes=list(one.notes), **next(said))
            for file, one in zip(files, found, strict=True)
        ]

    def _said(self, answers: Answers) -> list[dict[str, Any]]:
        """Return the fields of each image's answer."""
        said = decide(answers, self.classes, self.coverage)
        return [
            {**vars(one), "set": list(one.set), "probabilities": dict(zip(self.classes, row, strict=True))}
            for one, row in zip(said, answers.probabilities.tolist(), strict=True)
        ]


def decoded(file: File, how: Decoding) -> Decoded:
    """Decode one file; whatever is wrong with it becomes its problem."""
    notes: list[str] = []
    try:
        with quiet_libraries():
            pixels = decode(file.source, how, notes.append)
    except Unreadable as error:
        return Decoded(problem=str(error))
    except MemoryError:
        return Decoded(problem=NO_MEMORY)
    return Decoded(pixels, tuple(notes))


def spoken(text: str) -> str:
    """Return a text that is UTF-8, as JSON must be: a half character, from an odd file name, is spelled out."""
    return text.encode("utf-8", "backslashreplace").decode("utf-8")
