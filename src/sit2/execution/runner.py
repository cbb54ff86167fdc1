"""Many recipes at once: every network is trained once, every finished answer is kept and not made again."""

from __future__ import annotations

import math
import os
import tempfile
from collections.abc import Callable, Iterable, Iterator, Sequence
from concurrent.futures import FIRST_COMPLETED, Future, wait
from dataclasses import dataclass, field, replace
from pathlib import Path
from typing import Any

from sit2.config.schema import Config
from sit2.data.cache import NETWORKS, make_room
from sit2.data.pixels import PixelStore
from sit2.errors import ModelError
from sit2.events import EpochEnded, Listener, Note, Progress, StepsDone, TrainingEnded, nobody
from sit2.execution.executors import EXECUTORS
from sit2.execution.executors.executor import Executor
from sit2.execution.outcomes import load_outcome, save_outcome
from sit2.execution.recipe_job import Outcome, RecipeJob
from sit2.execution.trained import load_trained
from sit2.execution.training_job import TrainingJob
from sit2.execution.tuning import tuned
from sit2.inference.model import Model
from sit2.training.device import pick_device, threads

Done = Callable[[int, Outcome], None]


def plan_workers(config: Config, jobs: int) -> int:
    """Return how many trainings run at once: one on an accelerator, as many as there are cores on a CPU."""
    if pick_device(config.device) != "cpu":
        return 1
    cores = len(os.sched_getaffinity(0)) if hasattr(os, "sched_getaffinity") else os.cpu_count() or 1
    return max(1, min(config.workers or cores // config.threads, jobs))


def make_executor(config: Config, jobs: int, listener: Listener) -> Executor:
    """Return the executor that is asked for; for one job at a time it is this process."""
    workers = plan_workers(config, jobs)
    return EXECUTORS["serial" if workers == 1 else config.executor](listener, workers)


def run_recipes(
    jobs: Sequence[RecipeJob],
    *,
    config: Config,
    listener: Listener,
    title: str,
    networks: Path,
    keep: Path | None = None,
    done: Done | None = None,
) -> list[Outcome]:
    """Train what is to be trained, answer, and return the outcomes in the order of the jobs.

    Args:
        jobs: two of one key are made once.
        config: says how many run at once, and where.
        listener: hears of every epoch, of progress under ``title``, and of the outcomes' notes.
        title: what the progress is called.
        networks: folder of trained networks, by key; one that is there is not trained again.
        keep: folder of outcomes and checkpoints; a job whose outcome is there is not run again.
        done: called with the index of each job and its outcome, as soon as it is there.
    """
    outcomes: dict[str, Outcome] = {}
    waiting: dict[str, list[int]] = {}

    def finish(key: str, outcome: Outcome) -> None:
        outcomes[key] = outcome
        for note in outcome.notes:
            listener(Note(note))
        for index in waiting.pop(key):
            if done is not None:
                done(index, outcome)

    for index, job in enumerate(jobs):
        waiting.setdefault(job.key, []).append(index)
    for key in list(waiting):
        job = jobs[waiting[key][0]]
        if (kept := _kept(keep, key, listener)) is not None and _saved(job):
            finish(key, kept)
    todo = [jobs[waiting[key][0]] for key in waiting]
    if todo:
        with tempfile.TemporaryDirectory(prefix="sit2-") as scratch:
            planned = [_placed(job, networks, keep) for job in todo]
            there = {key for job in planned for key in _found(job)}
            every = [training for job in planned for training in job.needs if training.key not in there]
            meter = _Meter(listener, title, every, plan_workers(config, len(planned)))
            with make_executor(config, len(planned), meter) as executor:
                shared = _share(planned, executor, Path(scratch))
                for key, outcome in _run(shared, executor, there):
                    save_outcome(keep, key, outcome)
                    finish(key, outcome)
            meter.end()
        if networks.name == NETWORKS:  # the cache's: others go with their run
            make_room(networks)
    return [outcomes[job.key] for job in jobs]


def train_here(job: RecipeJob, listener: Listener = nobody) -> Model:
    """Train in this process, and return the model; nothing is kept."""
    with tempfile.TemporaryDirectory(prefix="sit2-") as scratch, threads(job.config.threads):
        placed = _placed(job, Path(scratch), None)
        for training in placed.trainings:
            training.run(listener)
        return placed.model()[1]


def _found(job: RecipeJob) -> list[str]:
    """Return the keys of those trainings of evaluated recipes whose networks are there: nothing is told of them."""
    others = job.needs[len(job.trainings) :]
    return [training.key for training in others if load_trained(training.network) is not None]


def _run(
    jobs: Sequence[RecipeJob], executor: Executor, there: Iterable[str] = ()
) -> Iterator[tuple[str, Outcome]]:
    """Yield the key of each job and its outcome, in whatever order they come; some networks are there."""
    plan = _Plan(list(jobs), executor, trained=set(there))
    try:
        while plan.busy:
            plan.submit_some()
            ready, _ = wait(plan.running, return_when=FIRST_COMPLETED)
            for future in ready:
                yield from plan.settle(future)
    except BaseException:
        executor.abort()
        raise


@dataclass
class _Plan:
    """Which jobs wait, which trainings run, and which recipes wait for which trainings."""

    waiting: list[RecipeJob]
    executor: Executor
    running: dict[Future[Any], TrainingJob | RecipeJob] = field(default_factory=dict)
    trained: set[str] = field(default_factory=set)
    begun: set[str] = field(default_factory=set)

    @property
    def busy(self) -> bool:
        """Whether anything is left to do."""
        return bool(self.waiting or self.running)

    def submit_some(self) -> None:
        """Begin what can begin, in order, and no more than the executor has use for."""
        for job in list(self.waiting):
            if len(self.running) >= 2 * self.executor.workers and self.executor.workers > 1:
                return
            missing = [t for t in job.needs if t.key not in self.trained]
            for training in missing:
                if training.key not in self.begun:
                    self.begun.add(training.key)
                    self.running[self.executor.submit(_Tuned(training))] = training
            if not missing:
                self.waiting.remove(job)
                self.running[self.executor.submit(job)] = job
            if self.executor.workers == 1 and self.running:
                return

    def settle(self, future: Future[Any]) -> Iterator[tuple[str, Outcome]]:
        """Take in what has ended; yield it where it is an outcome."""
        job = self.running.pop(future)
        result = future.result()
        if isinstance(job, RecipeJob):
            yield job.key, result
        else:
            self.trained.add(job.key)


@dataclass(frozen=True)
class _Tuned:
    """A training, with trials where it has some; returns nothing, because the network is in its file."""

    job: TrainingJob

    def run(self, listener: Listener) -> None:
        if self.job.trials == 1:
            self.job.run(listener)
        else:
            tuned(self.job, listener)


def _placed(job: RecipeJob, networks: Path, keep: Path | None) -> RecipeJob:
    """Return a job whose trainings know where to keep their networks and checkpoints."""

    def place(training: TrainingJob) -> TrainingJob:
        checkpoint = None if keep is None else keep / f"{training.key}.pt"
        return replace(training, network=networks / f"{training.key}.network", checkpoint=checkpoint)

    return job.with_trainings(place)


def _share(jobs: Sequence[RecipeJob], executor: Executor, scratch: Path) -> list[RecipeJob]:
    """Return the jobs with their pixels as the executor wants them; each store is handed over once."""
    stores: dict[int, PixelStore] = {}
    for number, store in enumerate({id(t.store): t.store for job in jobs for t in job.needs}.values()):
        folder = scratch / str(number)
        folder.mkdir()
        stores[id(store)] = executor.share(store, folder)
    return [job.with_trainings(lambda t: replace(t, store=stores[id(t.store)])) for job in jobs]


def _saved(job: RecipeJob) -> bool:
    """Say whether the model that a job is to write is there, as far as one is asked for."""
    return job.save_to is None or (job.save_to / "model.json").is_file()


class _Meter:
    """A listener that passes all events on, and adds how far the whole is and how long it will take.

    Epochs tell what they took themselves, so those of a resumed training, which come again all at once, mislead
    nobody. Networks that are there already are done when it begins.
    """

    def __init__(
        self, listener: Listener, title: str, trainings: Sequence[TrainingJob], workers: int = 1
    ) -> None:
        self.listener, self.title, self.workers = listener, title, workers
        jobs = {t.key: t for t in reversed(trainings)}.values()  # of one key the first is trained
        self.trainings = {t.name: t for t in jobs}
        self.images = {t.name: _images(t) for t in jobs}  # that each training sees, or what costs as much
        self.solved = {
            t.name for t in jobs if t.method.in_closed_form
        }  # in a time that says nothing of others
        self.tuned = {t.name for t in jobs if t.trials > 1}
        self.found = {t.name for t in jobs if t.network is not None and t.network.exists()}
        self.done = {name: self.images[name] if name in self.found else 0.0 for name in self.images}
        self.last: dict[str, EpochEnded | StepsDone] = {}
        self.losses: dict[str, str] = {}  # of the last epochs, in words
        self.fraction = 0.0
        self.seen, self.seconds = 0.0, 0.0  # of recent epochs, older ones counting less
        self.steady = False  # they are not the first of their trainings

    def __call__(self, event: Any) -> None:
        self.listener(event)
        if isinstance(event, EpochEnded) and event.name in self.images.keys() - self.found:
            self._count(event)
            self.losses[event.name] = f"loss {event.loss:.3f}"
            self._tell(self.losses[event.name])
        elif isinstance(event, StepsDone) and event.name in self.images.keys() - self.found:
            self._count(event)
            self._tell(self.losses.get(event.name, "first epoch"))
        elif isinstance(event, TrainingEnded) and self._ended_early(event.name):
            self.done[event.name] = self.images[event.name]
            self._tell(self.losses.get(event.name, ""))

    def _count(self, row: EpochEnded | StepsDone) -> None:
        last = self.last.get(row.name)
        first = last is None or last.samples_seen >= row.samples_seen  # of a training, trial or attempt
        training = self.trainings[row.name]
        seen = _work(training, row.samples_seen)
        samples = seen - (0 if last is None or first else _work(training, last.samples_seen))
        seconds = row.seconds - (0.0 if last is None or first else last.seconds)
        self.last[row.name] = row
        done = self.done[row.name] + samples if row.name in self.tuned else seen
        self.done[row.name] = min(done, self.images[row.name])
        if row.name not in self.solved and seconds > 0:
            self._measure(samples, seconds, first=first)

    def _measure(self, samples: float, seconds: float, *, first: bool) -> None:
        """Take in the speed of an epoch. The first of a training also makes everything ready: it hardly counts."""
        if first and (self.steady or seconds < _LONG):
            return
        memory = _MEMORY if first or self.steady else 0.0
        self.seen, self.seconds = memory * self.seen + samples, memory * self.seconds + seconds
        self.steady = self.steady or not first

    def _ended_early(self, name: str) -> bool:
        """Say whether a training ended with less than its budget; one that is tuned ends with every trial."""
        return name in self.last and name not in self.tuned and self.done[name] < self.images[name]

    def _tell(self, words: str) -> None:
        self.fraction = max(self.fraction, sum(self.done.values()) / max(1, sum(self.images.values())))
        self.listener(Progress(self.title, min(1.0, self.fraction), words, self._left()))

    def _left(self) -> float | None:
        """Return the seconds that the trainings still take, so many at once; None before that is known."""
        left = [self.images[name] - done for name, done in self.done.items()]
        if not self.seen:
            return None if any(left) else 0.0
        return max(sum(left) / self.workers, *left) * self.seconds / self.seen

    def end(self) -> None:
        self.listener(Progress(self.title, 1.0))


_MEMORY = 0.9  # of what the epochs before took, with every epoch
_LONG = 30.0  # seconds of a first epoch that are not mostly spent on making ready


def _images(training: TrainingJob) -> float:
    """Return how many images a training sees, in all its trials; smaller images count less."""
    return _work(training) * training.trials


def _work(training: TrainingJob, seen: float = math.inf) -> float:
    """Return what a training has cost after this many images, in images of full size; by default, at its end."""
    if training.method.in_closed_form:
        return len(training.train)
    return training.config.work(len(training.train), training.store.images.shape[2], seen)


def _kept(keep: Path | None, name: str, listener: Listener) -> Outcome | None:
    try:
        return load_outcome(keep, name)
    except ModelError as error:
        listener(Note(f"{error}: it is made again"))
        return None
