"""One thread owns the model: what several requests ask at about the same time it answers in one batch.

Letters: N images, C×H×W pixels.
"""

from __future__ import annotations

import queue
import threading
import time
from collections.abc import Callable
from concurrent.futures import Future
from dataclasses import dataclass, field
from typing import Any

import numpy as np

from sit2.inference.decisions import Answers
from sit2.inference.model import PREDICT_BATCH, Model
from sit2.records import ByteArray

WAIT = 0.005  # seconds that a batch waits for requests whose images are being decoded


@dataclass(frozen=True)
class _Question:
    """Images of one request."""

    images: ByteArray  # (N, C, H, W) uint8
    answer: Future[Answers] = field(default_factory=Future)


@dataclass(frozen=True)
class _Call:
    """Something else that needs the model."""

    function: Callable[[], Any]
    result: Future[Any] = field(default_factory=Future)


class Worker:
    """A model that several threads may ask at once."""

    def __init__(self, model: Model) -> None:
        self._model = model
        self._waiting: queue.SimpleQueue[_Question | _Call | None] = queue.SimpleQueue()
        self.coming = 0  # requests whose images are being decoded; changed by the event loop's thread alone
        self._thread = threading.Thread(target=self._work, name="sit2-model", daemon=True)
        self._thread.start()

    def ask(self, images: ByteArray) -> Future[Answers]:
        """Ask about decoded images (N, C, H, W) uint8, N ≥ 1."""
        question = _Question(images)
        self._waiting.put(question)
        return question.answer

    def call(self, function: Callable[[], Any]) -> Future[Any]:
        """Run a function in the thread that owns the model."""
        call = _Call(function)
        self._waiting.put(call)
        return call.result

    def close(self) -> None:
        """Answer what was asked, then end the thread."""
        self._waiting.put(None)
        self._thread.join()

    def _work(self) -> None:
        job = self._waiting.get()
        while job is not None:
            if isinstance(job, _Call):
                _settle(job.result, job.function)
                job = self._waiting.get()
                continue
            batch, after = self._batch(job)
            self._answer([one for one in batch if one.answer.set_running_or_notify_cancel()])
            job = self._waiting.get() if after is _NOTHING else after  # type: ignore[assignment]

    def _batch(self, first: _Question) -> tuple[list[_Question], object]:
        """Return what is answered together with a question, and what was found behind it that is no question."""
        batch, images, until = [first], len(first.images), time.monotonic() + WAIT
        while images < PREDICT_BATCH:
            try:
                wait = until - time.monotonic() if self.coming else 0
                found = self._waiting.get(timeout=wait) if wait > 0 else self._waiting.get_nowait()
            except queue.Empty:
                break
            if not isinstance(found, _Question):
                return batch, found
            batch.append(found)
            images += len(found.images)
        return batch, _NOTHING

    def _answer(self, batch: list[_Question]) -> None:
        if not batch:
            return
        try:
            found = self._model.answers(np.concatenate([one.images for one in batch]))
        except Exception as error:  # each request says so; the thread goes on
            for one in batch:
                one.answer.set_exception(error)
            return
        start = 0
        for one in batch:
            one.answer.set_result(found.part(start, start + len(one.images)))
            start += len(one.images)


_NOTHING = object()  # None ends the thread


def _settle(result: Future[Any], function: Callable[[], Any]) -> None:
    if not result.set_running_or_notify_cancel():
        return
    try:
        result.set_result(function())
    except Exception as error:
        result.set_exception(error)
