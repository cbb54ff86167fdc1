"""A trained model on images: what it predicts, and how good that is."""

from __future__ import annotations

import os
from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path

import numpy as np

from sit2.confusion.pairs_file import read_pairs
from sit2.data.pixels import load_pixels_for
from sit2.data.readers import read_images
from sit2.data.samples import read_samples
from sit2.data.words import counted, left_out, listed
from sit2.errors import DataError, RunFolderError
from sit2.evaluation.metrics import compute_metrics
from sit2.events import Listener, Note, Progress
from sit2.inference.model import Model
from sit2.inference.model_spec import find_model
from sit2.records import BoolArray, ClassPair, Dataset, Predictions
from sit2.storage.run_info import read_info


@dataclass(frozen=True)
class Predicted:
    """What a model says of images."""

    model: Model
    dataset: Dataset  # the readable images
    predictions: Predictions


def predict(sources: Sequence[Path], folder: Path, listener: Listener) -> Predicted:
    """Predict the readable images of some folders, files or manifests; the others are named.

    Raises:
        DataError: when there is no image, or none that can be read.
        ModelError: when there is no model, or it is damaged.
    """
    model = Model.load(folder)
    dataset = read_images(sources, model.spec.classes, layout=model.spec.layout)
    for note in dataset.notes:
        listener(Note(note))
    pixels = load_pixels_for(
        model.spec,
        dataset,
        progress=lambda done, total: listener(
            Progress("Reading images", done / total, f"{done:,} of {total:,}")
        ),
    )
    for note in pixels.notes:
        listener(Note(note))
    good = np.array([n for n, problem in enumerate(pixels.problems) if not problem], np.int64)
    if not len(good):
        bad = [f"{p} ({why})" for p, why in zip(dataset.paths, pixels.problems, strict=True)]
        raise DataError(f"no image can be read: {listed(bad)}\nexpected at least one that can")
    if missing := left_out(dataset.paths, pixels.problems):
        listener(Note(missing))
    readable = dataset.take(good)
    probabilities = model.probabilities(pixels.images, good)
    return Predicted(
        model, readable, Predictions(readable.ids, readable.labels, probabilities, readable.groups)
    )


@dataclass(frozen=True)
class Evaluated:
    """How good a model is on labelled images."""

    recipe: str
    classes: tuple[str, ...]
    paths: tuple[str, ...]
    predictions: Predictions
    metrics: dict[str, float | None]


def evaluate(sources: Sequence[Path], folder: Path, listener: Listener) -> Evaluated:
    """Return the metrics of a model on labelled images, leaving out those it was trained on.

    Raises:
        DataError: when no labelled image is left.
    """
    found = predict(sources, folder, listener)
    dataset, predictions, spec = found.dataset, found.predictions, found.model.spec
    labelled = predictions.labels >= 0
    if not labelled.all():
        listener(Note(f"{counted(int((~labelled).sum()), 'image')} without a label of the model left out"))
    seen = _seen_in_training(dataset, folder, listener)
    if (seen & labelled).any():
        listener(
            Note(
                f"{counted(int((seen & labelled).sum()), 'image')} left out: the model was trained or "
                "validated on them, so they say nothing about new images"
            )
        )
    rows = np.flatnonzero(labelled & ~seen).astype(np.int64)
    if not len(rows):
        raise DataError(
            "no labelled image is left to evaluate\nexpected images in folders named like the classes"
        )
    kept = predictions.take(rows)
    metrics = compute_metrics(kept, _pairs_of(folder, spec.classes))
    return Evaluated(spec.recipe, spec.classes, tuple(dataset.paths[n] for n in rows), kept, metrics)


def _run_of(model: Path) -> Path | None:
    """Return the run folder that a model lies in, if it does."""
    folder = find_model(model).resolve()
    return next((p for p in (folder.parent, folder.parent.parent) if (p / "samples.csv").is_file()), None)


def _seen_in_training(dataset: Dataset, model: Path, listener: Listener) -> BoolArray:
    """(N,) bool: the images that samples.csv of the model's run has in training or validation.

    By their places: a copy elsewhere cannot be told from other images of the same names, but is warned of.
    """
    run = _run_of(model)
    seen = np.zeros(len(dataset), dtype=np.bool_)
    if run is None:
        return seen
    try:
        root, samples = read_info(run).root, read_samples(run / "samples.csv")
    except RunFolderError as error:
        reason = str(error).partition("\n")[0]
        raise RunFolderError(
            f"{run} does not say what the model was trained on: {reason}\nrestore its run.json and "
            "samples.csv, or move the model folder out of it"
        ) from None
    names = {samples.paths[n] for n in (*samples.rows("train"), *samples.rows("val"))}
    known = {_real(Path(root), path) for path in names}
    seen = np.array([_real(dataset.root, path) in known for path in dataset.paths], dtype=np.bool_)
    if not seen.any() and (alike := sum(path in names for path in dataset.paths)):
        listener(
            Note(
                f"{counted(alike, 'image')} in {dataset.root} have the names of images in {root} that the model "
                "was trained on: if this is a copy of them, the figures are far too good"
            )
        )
    return seen


def _real(root: Path, path: str) -> str:
    return os.path.realpath(root / path)


def _pairs_of(model: Path, classes: Sequence[str]) -> list[ClassPair]:
    run = _run_of(model)
    file = run / "confusion" / "pairs.csv" if run is not None else None
    return read_pairs(file, classes) if file is not None and file.is_file() else []
