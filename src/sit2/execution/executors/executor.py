"""The seam between what is to be computed and where: ``submit(job) -> future``."""

from __future__ import annotations

from abc import ABC, abstractmethod
from concurrent.futures import Future
from pathlib import Path
from typing import TYPE_CHECKING, Protocol, Self, TypeVar

from sit2.events import Listener

if TYPE_CHECKING:
    from sit2.data.pixels import PixelStore

Result = TypeVar("Result")
Result_co = TypeVar("Result_co", covariant=True)


class Runnable(Protocol[Result_co]):
    """A job: something that computes a result, and tells how far it is."""

    def run(self, listener: Listener) -> Result_co:
        """Compute it."""
        ...


class Executor(ABC):
    """Runs jobs somewhere, and brings their events to a listener here. A context: its end ends the jobs."""

    def __init__(self, listener: Listener) -> None:
        self.listener = listener

    @abstractmethod
    def submit(self, job: Runnable[Result]) -> Future[Result]:
        """Begin a job, now or when there is room for it; the future holds its result or its error."""

    @property
    @abstractmethod
    def workers(self) -> int:
        """Return how many jobs run at once."""

    def share(self, store: PixelStore, scratch: Path) -> PixelStore:
        """Return the pixels as jobs of this executor may hold them."""
        return store

    def close(self) -> None:
        """Bring the last events, and let go of what was held."""

    def abort(self) -> None:
        """End now what is still running, because something failed."""

    def __enter__(self) -> Self:
        return self

    def __exit__(self, *_: object) -> None:
        self.close()
