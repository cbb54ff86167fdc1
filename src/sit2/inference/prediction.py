"""A trained model on images: predict and evaluate."""

from __future__ import annotations

import json
import os
import sys
from collections.abc import Sequence
from pathlib import Path

import numpy as np
import pandas as pd

from sit2.cli.run_tables import tell_metrics
from sit2.cli.screen import Screen
from sit2.confusion.pairs_file import read_pairs
from sit2.confusion.predictions_file import predictions_table
from sit2.data.pixels import load_pixels_for
from sit2.data.readers import read_images
from sit2.data.words import counted, left_out, listed
from sit2.errors import DataError, RunFolderError
from sit2.evaluation.metrics import compute_metrics
from sit2.inference.model import Classifier, find_model
from sit2.records import BoolArray, ClassPair, Dataset, Predictions
from sit2.storage.escaping import neutral_table, read_neutral
from sit2.storage.files import atomic
from sit2.storage.run_folder import read_json


def predict(sources: Sequence[Path], model: Path, screen: Screen) -> tuple[Classifier, Dataset, Predictions]:
    """Predict the readable images of some folders, files or manifests; the others are named.

    Raises:
        DataError: when there is no image, or none that can be read.
        ModelError: when there is no model, or it is damaged.
    """
    classifier = Classifier.load(model)
    dataset = read_images(sources, classifier.spec.classes)
    for note in dataset.notes:
        screen.warn(note)
    with screen.progress("Reading images") as show:
        pixels = load_pixels_for(
            classifier.spec,
            dataset,
            progress=lambda done, total: show(done / total, f"{done:,} of {total:,}"),
        )
    for note in pixels.notes:
        screen.warn(note)
    good = np.array([n for n, problem in enumerate(pixels.problems) if not problem], np.int64)
    if not len(good):
        bad = [f"{p} ({why})" for p, why in zip(dataset.paths, pixels.problems, strict=True)]
        raise DataError(f"no image can be read: {listed(bad)}\nexpected at least one that can")
    if missing := left_out(dataset.paths, pixels.problems):
        screen.warn(missing)
    readable = dataset.take(good)
    probabilities = classifier.predict_proba(pixels.images[good])
    return classifier, readable, Predictions(readable.ids, readable.labels, probabilities, readable.groups)


def predict_to_csv(
    sources: Sequence[Path], model: Path, out: Path | None, screen: Screen, *, overwrite: bool
) -> None:
    """Write predictions.csv into a folder, or print it."""
    target = _target(out, "predictions.csv", overwrite=overwrite)
    classifier, dataset, predictions = predict(sources, model, screen)
    table = neutral_table(predictions_table(predictions, classifier.spec.classes, dataset.paths))
    if target is None:
        table.to_csv(sys.stdout, index=False, float_format="%.6f", lineterminator="\n")
        return
    _write_csv(target, table)
    screen.say(f"{counted(len(predictions.ids), 'image')} predicted: {target}")


def evaluate_and_tell(
    sources: Sequence[Path], model: Path, out: Path | None, screen: Screen, *, overwrite: bool
) -> None:
    """Print and write the metrics of a model on labelled images, leaving out those it was trained on.

    Raises:
        DataError: when no labelled image is left.
    """
    target = _target(out, "metrics.json", overwrite=overwrite)
    classifier, dataset, predictions = predict(sources, model, screen)
    labelled = predictions.labels >= 0
    if not labelled.all():
        screen.warn(f"{counted(int((~labelled).sum()), 'image')} without a label of the model left out")
    seen = _seen_in_training(dataset, model, screen)
    if (seen & labelled).any():
        screen.warn(
            f"{counted(int((seen & labelled).sum()), 'image')} left out: the model was trained or "
            "validated on them, so they say nothing about new images"
        )
    rows = np.flatnonzero(labelled & ~seen).astype(np.int64)
    if not len(rows):
        raise DataError(
            "no labelled image is left to evaluate\nexpected images in folders named like the classes"
        )
    kept, paths = predictions.take(rows), [dataset.paths[n] for n in rows]
    name = classifier.spec.method
    metrics = compute_metrics(kept, _pairs_of(model, classifier.spec.classes))
    tell_metrics({name: kept}, {name: metrics}, screen)
    if target is not None:
        _write_csv(
            target.with_name("predictions.csv"),
            neutral_table(predictions_table(kept, classifier.spec.classes, paths)),
        )
        with atomic(target) as path:
            path.write_text(json.dumps({name: {"test": metrics}}, indent=2) + "\n", encoding="utf-8")
        screen.say(f"Written: {target}, predictions.csv beside it")


def _target(out: Path | None, name: str, *, overwrite: bool) -> Path | None:
    """Return the file to write. Raises :class:`RunFolderError` when something is there already."""
    if out is None:
        return None
    if out.exists() and not out.is_dir():
        raise RunFolderError(f"{out} is a file\nexpected a folder; give another -o")
    if (out / "run.json").exists():
        raise RunFolderError(f"{out} is the folder of a run, which has files of these names\ngive another -o")
    if out.exists() and any(out.iterdir()) and not overwrite:
        raise RunFolderError(f"the output folder {out} is not empty\nuse --overwrite, or another -o")
    return out / name


def _write_csv(path: Path, table: pd.DataFrame) -> None:
    with atomic(path) as temporary:
        table.to_csv(temporary, index=False, float_format="%.6f", lineterminator="\n")


def _run_of(model: Path) -> Path | None:
    """Return the run folder that a model lies in, if it does."""
    folder = find_model(model).resolve()
    return next((p for p in (folder.parent, folder.parent.parent) if (p / "samples.csv").is_file()), None)


def _seen_in_training(dataset: Dataset, model: Path, screen: Screen) -> BoolArray:
    """(N,) bool: the images that samples.csv of the model's run has in training or validation.

    By their places: a copy elsewhere cannot be told from other images of the same names, but is warned of.
    """
    run = _run_of(model)
    seen = np.zeros(len(dataset), dtype=np.bool_)
    if run is None:
        return seen
    root = read_json(run / "run.json").get("root", "")
    try:
        samples = read_neutral(run / "samples.csv")
        used = samples["path"][samples["split"].isin(["train", "val"])]
        known = {_real(Path(root), path) for path in used}
    except (OSError, KeyError, TypeError, ValueError) as error:
        raise RunFolderError(
            f"{run} does not say what the model was trained on: {error}\nrestore its run.json and "
            "samples.csv, or move the model folder out of it"
        ) from None
    seen = np.array([_real(dataset.root, path) in known for path in dataset.paths], dtype=np.bool_)
    names = set(used)
    if not seen.any() and (alike := sum(path in names for path in dataset.paths)):
        screen.warn(
            f"{counted(alike, 'image')} in {dataset.root} have the names of images in {root} that the model "
            "was trained on: if this is a copy of them, the figures are far too good"
        )
    return seen


def _real(root: Path, path: str) -> str:
    return os.path.realpath(root / path)


def _pairs_of(model: Path, classes: Sequence[str]) -> list[ClassPair]:
    run = _run_of(model)
    file = run / "confusion" / "pairs.csv" if run is not None else None
    return read_pairs(file, classes) if file is not None and file.is_file() else []
