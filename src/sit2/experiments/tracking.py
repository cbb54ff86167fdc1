"""Listeners that write a run into other people's trackers, one for each. A tracker that fails ends no training."""

from __future__ import annotations

import base64
import contextlib
import importlib
import io
import threading
from collections.abc import Callable, Iterator, Mapping, Sequence
from pathlib import Path
from typing import ParamSpec

import numpy as np
from PIL import Image

from sit2.errors import in_one_line
from sit2.evaluation.metrics import accuracy_interval
from sit2.events import CellEnded, EpochEnded, Event, Listener, Note, RunBegan, RunEnded
from sit2.records import ByteArray, Predictions
from sit2.report.data import ComparisonData, RunData, load_comparison, load_run
from sit2.report.images import Album
from sit2.storage.process_state import quiet_libraries
from sit2.storage.reading import read_settings
from sit2.storage.run_info import read_info
from sit2.trackers import TRACKERS, refuse_missing
from sit2.trackers.tracker import Picture, Tracker

MOST = 16  # examples under one title
ROOM = 10_000_000  # bytes for examples
_P = ParamSpec("_P")
KEPT = ("model", "report.html", "results.csv")  # of the run folder; a comparison has no model, but results


class Tracked:
    """A listener that writes one tracker's run. Events may come from several threads."""

    def __init__(self, name: str, tracker: Tracker, tell: Callable[[str], object]) -> None:
        """Begin with nothing; the run begins with its :class:`~sit2.events.RunBegan`.

        Args:
            name: of the tracker.
            tracker: that is written to.
            tell: takes a sentence that the user should know.
        """
        self._name, self._tracker, self._tell = name, tracker, tell
        self._folder: str | None = None  # of the run that is logged now
        self._failed = False
        self._lock = threading.RLock()  # telling a sentence comes back as an event

    def __call__(self, event: Event) -> None:
        """Log an event."""
        if isinstance(event, Note):  # perhaps another tracker's, which waits for nobody
            return
        with self._lock:
            if isinstance(event, RunBegan) and self._folder is None:
                self._folder = event.folder
                self._try(importlib.import_module, self._tracker.package)  # which sets how much it says
                self._try(self._begin, Path(event.folder))
            elif self._folder is None:
                return
            elif isinstance(event, EpochEnded):
                self._try(self._epoch, event)
            elif isinstance(event, CellEnded):
                values = {"test_accuracy": event.accuracy}
                self._try(self._tracker.epoch, "cells", values, event.number)
            elif isinstance(event, RunEnded) and event.folder == self._folder:
                self._try(self._record, Path(event.folder))
                self.close(complete=True)

    def close(self, *, complete: bool = False) -> None:
        """End the tracker's run, where one is open."""
        with self._lock:
            if self._folder is not None:
                self._folder = None
                self._try(self._tracker.end, complete=complete)

    def _begin(self, folder: Path) -> None:
        self._tell(self._tracker.begin(folder, read_settings(folder / "config.yaml")))

    def _epoch(self, row: EpochEnded) -> None:
        values = {
            "loss": row.loss,
            "lr": row.lr,
            "val_accuracy": row.val_accuracy,
            "val_log_loss": row.val_log_loss,
        }
        measured = {name: value for name, value in values.items() if value is not None}
        self._tracker.epoch(row.name, measured, row.samples_seen)

    def _record(self, folder: Path) -> None:
        kept = [folder / name for name in KEPT if (folder / name).exists()]
        if read_info(folder).is_comparison:
            self._tracker.results(means_of(load_comparison(folder)))
            self._tracker.keep(kept)
            return
        run = load_run(folder)
        if results := results_of(run):
            self._tracker.results(results)
        for title, pictures in pictures_of(run).items():
            self._tracker.pictures(title, pictures)
        self._tracker.keep(kept)

    def _try(self, call: Callable[_P, object], *given: _P.args, **named: _P.kwargs) -> None:
        """Call; after the first failure never again."""
        if self._failed:
            return
        try:
            with quiet_libraries():
                call(*given, **named)
        except Exception as error:  # whatever a server, a disk or another version of a package comes up with
            self._failed = True
            reason = in_one_line(error)
            self._tell(f"logging to {self._name} failed, and the run goes on without it: {reason}")


@contextlib.contextmanager
def tracking(names: Sequence[str], tell: Listener) -> Iterator[Listener]:
    """Return a listener that writes to some trackers; whatever ends the context, no run of theirs stays open.

    Args:
        names: of trackers.
        tell: hears of where is logged, and of failures.

    Raises:
        ConfigError: a package is not installed.
    """
    refuse_missing(names)
    listeners = [Tracked(name, TRACKERS[name](), lambda text: tell(Note(text))) for name in names]

    def heard(event: Event) -> None:
        for one in listeners:
            one(event)

    try:
        yield heard
    finally:
        for one in listeners:
            one.close()


def means_of(comparison: ComparisonData) -> dict[str, float]:
    """Return the means over repeats, as "data set/labels/recipe/figure"; labels where they are a number."""
    return {
        "/".join(filter(None, [one.dataset, str(one.labels or ""), one.method, name])): spread.mean
        for one in comparison.summaries
        for name, spread in one.scores.items()
    }


def results_of(run: RunData) -> dict[str, float]:
    """Return the figures of the test images, with the interval of the accuracy, as "recipe/figure"."""
    found = {
        f"{recipe}/{name}": float(value)
        for recipe, values in run.metrics.items()
        for name, value in values.items()
        if isinstance(value, int | float)
    }
    for recipe, predictions in run.predictions.items():
        low, high = accuracy_interval(predictions)
        found |= {f"{recipe}/accuracy_lower": low, f"{recipe}/accuracy_upper": high}
    return found


def pictures_of(run: RunData) -> Mapping[str, Sequence[Picture]]:
    """Return the confusion matrix of each recipe, not-sure images, and test images that were classified wrongly."""
    matrices = [
        (recipe, _png(path))
        for number, recipe in enumerate(run.predictions)
        if (path := run.folder / "figures" / f"confusion-{number}.png").is_file()
    ]
    sheets = sorted((run.folder / "synthesis").glob("*.png"))[:MOST]
    found = {
        "confusion matrix": matrices,
        "not-sure images": [(path.stem, _png(path)) for path in sheets],
        "classified wrongly": list(_mistakes(run)),
    }
    return {title: pictures for title, pictures in found.items() if pictures}


def _mistakes(run: RunData) -> Iterator[Picture]:
    """Yield wrongly classified test images of the run's method, those with the highest confidence first."""
    if run.method is None:
        return
    predictions: Predictions = run.predictions[run.method]
    predicted = predictions.probabilities.argmax(axis=1)
    wrong = np.flatnonzero(predicted != predictions.labels)
    confidence = predictions.probabilities.max(axis=1)
    album = Album.of(run, ROOM)
    for row in wrong[np.argsort(-confidence[wrong], kind="stable")][:MOST]:
        address = album.thumbnail(predictions.ids[row], run.paths[row])
        if address is not None:
            true, said = run.classes[predictions.labels[row]], run.classes[predicted[row]]
            yield f"{true}, predicted {said} at {confidence[row]:.2f}", _pixels(address)


def _png(path: Path) -> ByteArray:
    with path.open("rb") as file, Image.open(file) as image:
        return np.asarray(image.convert("RGB"))


def _pixels(address: str) -> ByteArray:
    """Return a data address as (H, W, 3) uint8."""
    with Image.open(io.BytesIO(base64.b64decode(address.partition(",")[2]))) as image:
        return np.asarray(image.convert("RGB"))
