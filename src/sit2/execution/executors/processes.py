"""Several processes on this machine, one thread each: the quickest way to train small networks on a CPU.

By joblib's loky, which needs no ``if __name__ == "__main__"`` in a user's script. Events come back through a
file for each job: nothing waits for a reader, and a killed process leaves nothing locked.
"""

from __future__ import annotations

import functools
import json
import os
import tempfile
import threading
import time
from concurrent.futures import Future
from itertools import count
from pathlib import Path
from typing import TYPE_CHECKING

from sit2.events import Event, Listener, from_dict, to_dict
from sit2.execution.executors.executor import Executor, Result, Runnable
from sit2.storage.process_state import quiet_libraries

if TYPE_CHECKING:
    from sit2.data.pixels import PixelStore

SECONDS = 0.25  # between two looks at the files of events
IDLE_SECONDS = 300  # after which a process without a job ends: each has spent seconds to load torch


class ProcessExecutor(Executor):
    """Runs jobs in a pool of processes."""

    def __init__(self, listener: Listener, workers: int) -> None:
        from joblib.externals.loky import get_reusable_executor

        super().__init__(listener)
        self._workers = workers
        self._quiet = quiet_libraries()  # or a host that makes warnings errors ends loky's own thread
        self._quiet.__enter__()
        self._pool = get_reusable_executor(max_workers=workers, timeout=IDLE_SECONDS)
        self._folder = tempfile.TemporaryDirectory(prefix="sit2-events-")
        self._numbers = count()
        self._inbox = _Inbox(Path(self._folder.name), listener)

    @property
    def workers(self) -> int:
        """Return how many processes there are."""
        return self._workers

    def submit(self, job: Runnable[Result]) -> Future[Result]:
        """Give the job to the next process that is free."""
        events = Path(self._folder.name) / f"{next(self._numbers)}.jsonl"
        future: Future[Result] = self._pool.submit(_run, job, events, os.getpid())
        return future

    def share(self, store: PixelStore, scratch: Path) -> PixelStore:
        """Return the pixels in a file, which every process maps."""
        return store.on_disk(scratch)

    def close(self) -> None:
        """Read the last events."""
        try:
            self._inbox.close()
        finally:
            self._folder.cleanup()
            self._quiet.__exit__(None, None, None)

    def abort(self) -> None:
        """End all processes."""
        self._pool.shutdown(wait=True, kill_workers=True)


class _Inbox:
    """Reads the files of events in a thread of its own, and passes them on in this process."""

    def __init__(self, folder: Path, listener: Listener) -> None:
        self._folder, self._listener = folder, listener
        self._read: dict[Path, int] = {}
        self._stop = threading.Event()
        self._failed: Exception | None = None
        self._thread = threading.Thread(target=self._watch, daemon=True)
        self._thread.start()

    def _watch(self) -> None:
        try:
            while not self._stop.wait(SECONDS):
                self._pass_on()
        except Exception as error:  # of a listener: raised where the executor is closed
            self._failed = error

    def _pass_on(self) -> None:
        for path in sorted(self._folder.glob("*.jsonl")):
            with path.open("rb") as file:
                file.seek(self._read.get(path, 0))
                whole = file.read()
            end = whole.rfind(b"\n") + 1  # the last line may be half written
            self._read[path] = self._read.get(path, 0) + end
            for line in whole[:end].splitlines():
                self._listener(from_dict(json.loads(line)))

    def close(self) -> None:
        self._stop.set()
        self._thread.join()
        if self._failed is not None:
            raise self._failed
        self._pass_on()


class _Outbox:
    """A listener in another process: appends events to a file."""

    def __init__(self, path: Path) -> None:
        self.path = path

    def __call__(self, event: Event) -> None:
        with self.path.open("a", encoding="utf-8") as file:
            file.write(json.dumps(to_dict(event)) + "\n")


def _run(job: Runnable[Result], events: Path, parent: int) -> Result:
    _end_with(parent)
    return job.run(_Outbox(events))


@functools.cache
def _end_with(parent: int) -> None:
    """End this process of a pool when its parent is killed: it would write to a folder that nobody holds."""
    if os.getpid() == parent or os.name == "nt":
        return

    def watch() -> None:
        while os.getppid() == parent:
            time.sleep(0.1)
        os._exit(1)

    threading.Thread(target=watch, daemon=True).start()
