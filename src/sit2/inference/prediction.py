"""A trained model on images: what it predicts, and how good that is."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass, replace
from pathlib import Path

import numpy as np

from sit2.confusion.pairs_file import read_pairs
from sit2.confusion.predictions_file import ROUNDED, read_run_predictions
from sit2.data.samples import read_samples
from sit2.data.words import counted, listed
from sit2.errors import ConfigError, DataError, RunFolderError, did_you_mean
from sit2.evaluation.class_figures import ClassFigures, class_figures
from sit2.evaluation.metrics import compute_metrics
from sit2.evaluation.selective import SetReport
from sit2.evaluation.subgroups import Subgroup, subgroups
from sit2.evaluation.threshold import AtThreshold, Operating, threshold_for
from sit2.events import Listener, Note
from sit2.inference.any_model import Answering
from sit2.inference.columns import Column
from sit2.inference.decisions import joined, set_report
from sit2.inference.model_and_images import Asked, Done, good_rows
from sit2.inference.model_spec import ModelSpec, find_model, read_spec
from sit2.inference.nothing_left import nothing_left
from sit2.inference.seen import run_of, seen_in_training
from sit2.records import ClassPair, Dataset, Predictions
from sit2.storage.run_folder import predictions_file

SENSITIVITY = 0.95


@dataclass(frozen=True)
class Predicted:
    """What a model says of images."""

    model: Answering
    dataset: Dataset  # the readable images
    predictions: Predictions
    digests: tuple[str, ...] = ()  # of each image's pixels, as the network sees them
    coverage: float | None = None  # of the sets of possible classes; None: there are none


def predict(
    sources: Sequence[Path],
    folder: Path,
    listener: Listener,
    *,
    layout: str = "auto",
    warn: bool = True,
    coverage: float | None = None,
) -> Predicted:
    """Predict the readable images of some folders, files or manifests; the others are named.

    ``layout`` is what the folders mean, one of LAYOUTS: where the labels stand that images may have. With ``warn``,
    images that trained a model of all images are counted.

    Raises:
        ConfigError: the model cannot promise this coverage.
        DataError: when there is no image, or none that can be read.
        ModelError: when there is no model, or it is damaged.
    """
    asked, done = Asked.of(sources, folder, listener, layout=layout, coverage=coverage), Done()
    parts = []
    for chunk in asked.stream(listener):
        parts.append(chunk.answers)
        done.add(chunk)
    asked.tell(done, listener, warn=warn)
    readable, said = asked.dataset.take(good_rows(done.problems)), joined(parts)
    found = Predictions(
        readable.ids, readable.labels, said.probabilities, readable.groups, said.p_values, said.unlike
    )
    return Predicted(asked.model, readable, found, tuple(done.digests), asked.coverage)


@dataclass(frozen=True)
class Evaluated:
    """How good a model is on labelled images."""

    recipe: str
    classes: tuple[str, ...]
    paths: tuple[str, ...]
    predictions: Predictions
    metrics: dict[str, float | None]
    figures: tuple[ClassFigures, ...]
    sets: SetReport
    dataset: Dataset  # the images
    spec: ModelSpec
    pairs: tuple[ClassPair, ...] = ()  # ranked
    subgroups: tuple[Subgroup, ...] = ()
    operating: Operating | None = None
    known: tuple[str, ...] = ()  # what is said of images among them that the model was trained on


def evaluate(
    sources: Sequence[Path],
    folder: Path,
    listener: Listener,
    *,
    layout: str = "auto",
    by: str | None = None,
    positive: str | None = None,
    sensitivity: float = SENSITIVITY,
    every: bool = False,
    coverage: float | None = None,
) -> Evaluated:
    """Return the metrics of a model on labelled images, leaving out those it was trained on, and their copies.

    Other images of patients that it was trained on are left out too, where the run had groups.

    Args:
        sources: as :func:`predict` takes them.
        folder: of a run, or of its model.
        listener: hears of what is left out.
        layout: what the folders mean, one of LAYOUTS.
        by: a column of the manifest, or ``TABLE.csv:COLUMN``: the figures for each of its values too.
        positive: of two classes, the one that must not be missed: the figures too at the threshold that has the
            ``sensitivity`` on the validation images of the model's run.
        sensitivity: above 0, at most 1.
        every: leave none of them out; how many there are is said.
        coverage: of the sets of possible classes, as :meth:`~sit2.inference.model.Model.predict` takes it.

    Raises:
        DataError: when no labelled image is left, or an image has no value of ``by``.
        ConfigError: when ``positive`` or ``sensitivity`` does not fit the model.
        RunFolderError: when there are no validation images to choose a threshold on.
    """
    chosen = None if positive is None else _threshold(folder, positive, sensitivity)
    if chosen is not None and chosen.left_out:
        listener(
            Note(
                "the run has no validation images apart: the threshold is chosen on what its folds say of the "
                "images that they left out"
            )
        )
    column = None if by is None else Column.of(sources, by)
    found = predict(sources, folder, listener, layout=layout, warn=False, coverage=coverage)
    dataset, predictions, spec = found.dataset, found.predictions, found.model.spec
    labelled = predictions.labels >= 0
    if not labelled.all():
        listener(Note(f"{counted(int((~labelled).sum()), 'image')} without a label of the model left out"))
    seen = seen_in_training(
        dataset, found.digests, folder, listener, lambda name: Column.of(sources, name).values(dataset)
    )
    told = tuple(seen.among(labelled, counted_too=every))
    for sentence in told:
        listener(Note(sentence))
    rows = np.flatnonzero(labelled if every else labelled & ~seen.any).astype(np.int64)
    if not len(rows):
        raise DataError(nothing_left(dataset, labelled, layout, of_all=bool(spec.figures)))
    kept = predictions.take(rows)
    pairs = _pairs_of(folder, spec.classes)
    return Evaluated(
        spec.recipe,
        spec.classes,
        tuple(dataset.paths[n] for n in rows),
        kept,
        compute_metrics(kept, pairs),
        class_figures(kept, spec.classes),
        set_report(kept, spec.classes, pairs, found.model.promise, found.coverage),
        dataset.take(rows),
        spec,
        tuple(pairs),
        () if column is None else subgroups(kept, column.values(dataset.take(rows))),
        None if chosen is None else chosen.tested_on(kept),
        told if every else (),
    )


@dataclass(frozen=True)
class _Chosen:
    """A threshold that was chosen, before it is tested."""

    positive: str
    place: int  # among the classes
    asked: float
    threshold: float
    validation: AtThreshold
    left_out: bool  # whether it was chosen on images that folds left out

    def tested_on(self, predictions: Predictions) -> Operating:
        test = AtThreshold.of(predictions, self.place, self.threshold)
        return Operating(self.positive, self.asked, self.threshold, self.validation, test)


def _threshold(model: Path, positive: str, sensitivity: float) -> _Chosen:
    """Choose a threshold on the validation images of a model's run, as the run predicted them."""
    spec = read_spec(find_model(model) / "model.json")
    if len(spec.classes) != 2:
        classes = counted(len(spec.classes), "class", "classes")
        raise ConfigError(
            f"a threshold needs a model of two classes\nthis one has {classes}: {listed(spec.classes)}"
        )
    if positive not in spec.classes:
        raise ConfigError(f"unknown class {positive!r}\n{did_you_mean(positive, spec.classes)}")
    if not 0 < sensitivity <= 1:
        raise ConfigError(f"sensitivity is {sensitivity}\nexpected a number above 0, at most 1")
    run, place = run_of(model), spec.classes.index(positive)
    if run is None:
        raise RunFolderError(
            f"{model} is not in a run folder: a threshold is chosen on the validation images of the run\n"
            "give the folder that `sit2 train -o` wrote"
        )
    path = predictions_file(run, spec.recipe)
    file, samples = read_run_predictions(path), read_samples(run / "samples.csv")
    # By cross-validation every image was left out of the training of what predicts it.
    unseen = samples.rows("test" if samples.folds else "val")
    validation = {samples.ids[n]: samples.groups[n] if samples.groups else "" for n in unseen}
    if file is None or file.classes != spec.classes:
        raise RunFolderError(f"{path} is missing or of other classes\nrestore it, or train again")
    own = file.predictions.take(
        np.array([name in validation for name in file.predictions.ids], dtype=np.bool_)
    )
    if samples.groups:
        own = replace(own, groups=tuple(validation[name] for name in own.ids))
    scores = own.probabilities[own.labels == place, place]
    if not len(scores):
        raise RunFolderError(
            f"the run in {run} has no validation image of {positive}: no threshold can be chosen\n"
            "train with a larger --val-fraction"
        )
    threshold = threshold_for(scores, sensitivity, ROUNDED / 2)
    return _Chosen(
        positive, place, sensitivity, threshold, AtThreshold.of(own, place, threshold), bool(samples.folds)
    )


def _pairs_of(model: Path, classes: Sequence[str]) -> list[ClassPair]:
    run = run_of(model)
    file = run / "confusion" / "pairs.csv" if run is not None else None
    return read_pairs(file, classes) if file is not None and file.is_file() else []
