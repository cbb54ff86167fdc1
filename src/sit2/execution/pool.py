"""Many trainings: in parallel processes on a CPU, one after the other on an accelerator.

Each training computes with a fixed number of threads, so its result does not depend on what runs beside it.
A finished training is kept in a file and not repeated when a killed run is resumed.
"""

from __future__ import annotations

import functools
import os
import tempfile
import threading
import time
from collections import Counter
from collections.abc import Callable, Iterator, Sequence
from dataclasses import asdict, dataclass, field, replace
from pathlib import Path
from typing import Any

import numpy as np

from sit2.cli.screen import Screen
from sit2.config.schema import Config
from sit2.errors import ModelError
from sit2.execution.job import Job, Outcome, run_job, steps_in
from sit2.execution.tuning import tune
from sit2.inference.model import make_spec
from sit2.records import FloatArray
from sit2.storage.files import atomic
from sit2.storage.untrusted import read_json, to_json
from sit2.training.device import pick_device


def plan_workers(config: Config, jobs: int) -> int:
    """Return how many trainings run at once: one on an accelerator, as many as there are cores on a CPU."""
    if pick_device(config.device) != "cpu":
        return 1
    cores = len(os.sched_getaffinity(0)) if hasattr(os, "sched_getaffinity") else os.cpu_count() or 1
    return max(1, min(config.workers or cores // config.threads, jobs))


def run_all(
    jobs: Sequence[tuple[str, Job]],
    *,
    workers: int,
    screen: Screen,
    title: str,
    keep: Path | None = None,
    done: Callable[[int, Outcome], None] | None = None,
) -> list[Outcome]:
    """Run named jobs and return their outcomes in the same order.

    ``keep`` is a folder for finished outcomes; a job whose outcome is there already is not run again.
    ``done`` is called with the place of each job and its outcome, as soon as it is there. The outcomes' notes
    are said.
    """

    def tell(place: int, outcome: Outcome) -> None:
        for note in outcome.notes:
            screen.warn(note)
        if done is not None:
            done(place, outcome)

    found = [_kept(keep, name, screen) for name, _ in jobs]
    for n, outcome in enumerate(found):
        if outcome is not None:
            tell(n, outcome)
    todo = [n for n, outcome in enumerate(found) if outcome is None]
    if todo:
        with tempfile.TemporaryDirectory(prefix="sit2-") as scratch, screen.progress(title) as show:
            passes = [steps_in(job) * job.config.batch_size for job in (jobs[n][1] for n in todo)]
            meter = _Meter(Path(scratch) / "progress", passes)
            with meter.shown(show):
                tasks = [_Task(*jobs[n], meter.path, place, len(todo), keep) for place, n in enumerate(todo)]
                for wave in _waves(tasks):
                    for place, outcome in _run_tasks(wave, workers):
                        found[todo[place]] = outcome
                        tell(todo[place], outcome)
    return [outcome for outcome in found if outcome is not None]


@dataclass(frozen=True)
class _Task:
    """A job, and where to say how far it is and what came out."""

    name: str
    job: Job
    meter: Path
    place: int  # in the meter
    places: int
    keep: Path | None
    parent: int = field(default_factory=os.getpid)

    def run(self) -> tuple[int, Outcome]:
        _end_with(self.parent)
        cells = np.memmap(self.meter, np.float64, "r+", shape=(self.places, 2))

        def report(share: float, loss: float) -> None:
            cells[self.place] = share, loss

        outcome = run_job(self.job, report) if self.job.trials == 1 else tune(self.job, report)
        cells[self.place, 0] = 1.0
        _save(self.keep, self.name, outcome)
        return self.place, outcome


def share_networks(jobs: Sequence[tuple[str, Job]], folder: Path | None) -> list[tuple[str, Job]]:
    """Let jobs that train alike share one network, kept in ``folder``: the first of them trains it.

    A network that is there already, from other jobs, is shared with any job that would train it.
    """
    if folder is None:
        return list(jobs)
    keys = [job.training_key() if job.trials == 1 else "" for _, job in jobs]
    files = {key: folder / f"{key}.network" for key in keys if key}
    common = {key for key, count in Counter(keys).items() if key and (count > 1 or files[key].exists())}
    return [
        (name, replace(job, shared=files[key]) if key in common else job)
        for key, (name, job) in zip(keys, jobs, strict=True)
    ]


def _waves(tasks: Sequence[_Task]) -> list[list[_Task]]:
    """Part the tasks so that a network is there before a second job asks for it."""
    first: dict[object, _Task] = {}
    for task in tasks:
        first.setdefault(task.job.shared or task.place, task)
    later = [task for task in tasks if task not in first.values()]
    return [list(first.values()), *([later] if later else [])]


def _run_tasks(tasks: list[_Task], workers: int) -> Iterator[tuple[int, Outcome]]:
    """Yield the place of each task and its outcome, in whatever order they come."""
    if workers <= 1 or len(tasks) == 1:
        yield from (task.run() for task in tasks)
        return
    from joblib import Parallel, delayed

    # loky needs no `if __name__ == "__main__"` in a user's script, and shares the pixels as a memory map.
    pool = Parallel(n_jobs=workers, backend="loky", return_as="generator_unordered", pre_dispatch=2 * workers)
    yield from pool(delayed(_Task.run)(task) for task in tasks)


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


class _Meter:
    """A shared file with the share done and the loss of each job; reading it costs the jobs nothing."""

    def __init__(self, path: Path, passes: Sequence[int]) -> None:
        self.path = path
        self.passes = np.array(passes, np.float64)  # images that each job takes
        self.cells = np.memmap(path, np.float64, "w+", shape=(len(passes), 2))
        self.first: tuple[float, float] | None = None  # when, and how many images had been taken

    def shown(self, show: Any) -> _Poll:
        """Call ``show(share, words)`` a few times a second until the context ends."""
        return _Poll(self, show)

    def read(self) -> tuple[float, str]:
        shares, losses = self.cells.T
        taken = float(shares @ self.passes)
        words = f"{int((shares >= 1).sum())} of {len(shares)}"
        now = time.monotonic()
        if self.first is None and taken:
            self.first = now, taken  # starting the processes is not the trainings' speed
        elif self.first is not None and taken > self.first[1]:
            words += f", {(taken - self.first[1]) / (now - self.first[0]):,.0f}/s"
        if (running := (shares > 0) & (shares < 1)).any():
            words += f", loss {losses[running].mean():.3f}"
        return taken / float(self.passes.sum()), words


class _Poll:
    def __init__(self, meter: _Meter, show: Any) -> None:
        self.meter, self.show, self.stop = meter, show, threading.Event()
        self.thread = threading.Thread(target=self._run, daemon=True)

    def _run(self) -> None:
        while not self.stop.wait(0.25):
            self.show(*self.meter.read())

    def __enter__(self) -> None:
        self.thread.start()

    def __exit__(self, *_: object) -> None:
        self.stop.set()
        self.thread.join()
        self.show(*self.meter.read())


def _save(keep: Path | None, name: str, outcome: Outcome) -> None:
    if keep is None:
        return
    content: dict[str, Any] = {**vars(outcome), "spec": asdict(outcome.spec)}
    probabilities: FloatArray = content.pop("probabilities")
    with atomic(keep / f"{name}.npy") as path, path.open("wb") as file:
        np.save(file, probabilities)
    with atomic(keep / f"{name}.json") as path:
        path.write_text(to_json(content, indent=None), encoding="utf-8")


def _kept(keep: Path | None, name: str, screen: Screen) -> Outcome | None:
    try:
        return load_outcome(keep, name)
    except ModelError as error:
        screen.warn(f"{error}: that training begins again")
        return None


def load_outcome(keep: Path | None, name: str) -> Outcome | None:
    """Return an outcome that was kept under this name; None where there is none.

    Raises:
        ModelError: when it is damaged.
    """
    if keep is None or not (keep / f"{name}.json").exists():
        return None
    try:
        content = read_json(keep / f"{name}.json")
        spec = make_spec(content.pop("spec"))
        probabilities: FloatArray = np.load(keep / f"{name}.npy", allow_pickle=False)
        if probabilities.ndim != 2 or not np.isfinite(probabilities).all():
            raise ValueError("the probabilities are none")
        return Outcome(probabilities=probabilities, spec=spec, **content)
    except Exception:  # NumPy raises nearly anything on a damaged header
        raise ModelError(f"what was kept as {keep / name} is damaged") from None
