"""A data set looked over before anything is trained: what is wrong with it?"""

from __future__ import annotations

import os
from collections.abc import Sequence
from dataclasses import replace
from pathlib import Path
from typing import Any

import numpy as np
import torch

from sit2.config.schema import Config
from sit2.confusion.predictions_file import read_predictions_for
from sit2.data.duplicates import name_duplicates
from sit2.data.pixels import Pixels, load_pixels_for
from sit2.data.quality import SIZE, Checkup, Finding, check
from sit2.data.readers.layout import UnclearLayoutError
from sit2.data.readers.validate import refuse_missing, validate
from sit2.data.splits import connected_groups, folds
from sit2.errors import DataError
from sit2.events import Listener, Note, Progress
from sit2.experiments.mirror_check import exchanged_classes, readable_rows
from sit2.experiments.prepare import fitting, median_size, read_as, split
from sit2.features.closed_form import closed_form_probabilities
from sit2.features.opinion import fit_opinion
from sit2.records import ByteArray, Dataset, FloatArray
from sit2.seeds import Seeds
from sit2.storage.files import make_folder
from sit2.storage.labelling_files import Listed, write_lists
from sit2.training.device import threads
from sit2.training.start import frozen_extractor, start_of

# The closed-form classifier errs often, so only what it all but excludes is suspected: of labels so found on
# three sets with 5 % of false labels, 82 to 94 % were false, and 57 to 67 % of the false ones were found
# (docs/check.md).
DOUBTS = 0.015


def check_data(
    source: Path,
    config: Config,
    listener: Listener,
    *,
    labels: bool = False,
    predictions: Path | None = None,
) -> Checkup:
    """Return what is wrong with a data set.

    Args:
        source: images, as for training.
        config: how groups are found and images decoded; they are looked at small, whatever its size.
        listener: hears how far it is.
        labels: look for wrong labels too, by what a closed-form classifier says out of fold.
        predictions: look for wrong labels by these out-of-fold predictions instead.

    Raises:
        Sit2Error: for anything that the caller can fix.
    """
    dataset, unclear = _read(source, config)
    refuse_missing(dataset)
    probabilities, credible = read_predictions_for(dataset, predictions) if predictions else None, 1.0
    pixels = load_pixels_for(
        config,
        dataset,
        size=SIZE,
        progress=lambda done, total: listener(
            Progress("Checking images", done / total, f"{done:,} of {total:,}")
        ),
    )
    for note in pixels.notes:
        listener(Note(note))
    dataset = name_duplicates(dataset, pixels)
    if labels and probabilities is None:
        if len(_readable_classes(dataset, pixels)) > 1:
            probabilities, credible = _left_out(dataset, pixels, config, listener), DOUBTS
        else:
            listener(Note("labels were not examined: that takes two classes with images that can be read"))
    every = np.arange(len(dataset), dtype=np.int64)
    others = [
        *(unclear or refused(dataset, pixels.problems, config)),  # one refusal at a time, as train has it
        *exchanged_classes(dataset, pixels.images, every, readable_rows(dataset, pixels.problems)),
    ]
    return check(dataset, pixels, probabilities=probabilities, credible=credible, others=others)


def _read(source: Path, config: Config) -> tuple[Dataset, list[Finding]]:
    """Return the images and, where their folders have two readings, that; the likelier one is then taken."""
    try:
        return read_as(config, source), []
    except UnclearLayoutError as error:
        what, _, readings = str(error).partition("\n")
        finding = Finding("layout", "wrong", what, readings.replace("\n", "\n  "))
        return read_as(replace(config, layout=error.readings[0]), source), [finding]


def refused(dataset: Dataset, problems: Sequence[str], config: Config) -> list[Finding]:
    """Return why a training would stop before it begins, though every single image and class may be fine.

    Args:
        dataset: N images, their duplicates named.
        problems: why an image cannot be read, or "", for each.
        config: how images are split.
    """
    readable = np.flatnonzero([not problem for problem in problems]).astype(np.int64)
    known = dataset.take(readable)
    if len(readable) == 0 or len(set(known.labels.tolist())) < len(dataset.classes):
        return []  # said for each class
    try:
        validate(known)
        splits = split(known, config)
        train = known.take(np.flatnonzero(splits == "train").astype(np.int64))
        folds(train.labels, train.groups, config.folds, Seeds(config.seed), duplicates=train.duplicates)
    except DataError as error:
        what, _, hint = str(error).partition("\n")
        return [Finding("refused", "wrong", f"sit2 train will refuse this: {what}.", hint)]
    return []


def _left_out(dataset: Dataset, pixels: Pixels, config: Config, listener: Listener) -> FloatArray:
    """(N, K) of each image from a classifier that left out its group and duplicates; NaN where unreadable.

    The classifier sees frozen features beside random ones where the backbone has trained weights; for these the
    images are decoded once more, larger.
    """
    readable = np.flatnonzero([not problem for problem in pixels.problems]).astype(np.int64)
    known = dataset.take(readable)
    groups = connected_groups(known.groups, known.duplicates)
    probabilities = np.full((len(dataset), len(dataset.classes)), np.nan)
    given = known.labels, len(known.classes)
    how: dict[str, Any] = {
        "groups": groups,
        "seeds": Seeds(0),
        "progress": lambda fraction, words: listener(Progress("Examining labels", fraction, words)),
    }
    if not config.has_frozen_features:
        probabilities[readable] = closed_form_probabilities(pixels.images, *given, rows=readable, **how)
        return probabilities
    large = load_pixels_for(
        fitting(config, median_size(known)),
        known,
        progress=lambda done, total: listener(
            Progress("Decoding images", done / total, f"{done:,} of {total:,}")
        ),
    )
    every = np.arange(len(known), dtype=np.int64)
    with threads(os.cpu_count() or 1):
        features = _features(large.images, config, listener)
        _, left_out = fit_opinion(
            large.images, *given, rows=every, features=torch.from_numpy(features), extractor=None, **how
        )
    probabilities[readable] = left_out
    return probabilities


def _features(images: ByteArray, config: Config, listener: Listener) -> FloatArray:
    """(N, D) frozen features of all images."""
    channels, _, size = images.shape[1:]
    start = start_of(config, channels=channels, image_size=size)
    extractor = frozen_extractor(config, start, channels=channels, image_size=size, device="cpu")
    assert extractor is not None
    return extractor.extract(
        images,
        np.arange(len(images), dtype=np.int64),
        progress=lambda fraction, words: listener(Progress("Computing features", fraction, words)),
    )


def _readable_classes(dataset: Dataset, pixels: Pixels) -> set[int]:
    """Return the classes with an image that can be read: where there is but one, no label can be wrong."""
    return {n for n, problem in zip(dataset.labels.tolist(), pixels.problems, strict=True) if not problem}


def write_for_tools(folder: Path, found: Checkup) -> Path:
    """Write the images that findings name, the worst first, for labelling tools; return the folder.

    Raises:
        DataError: the images are in one file with others, where no labelling tool finds them.
        RunFolderError: the folder cannot be made.
    """
    dataset = found.dataset
    if dataset.arrays:
        raise DataError("the images are no files of their own\nleave out -o: labelling tools need files")
    facts: dict[str, list[Finding]] = {}
    for finding in found.findings:
        for name in finding.files:
            facts.setdefault(name, []).append(finding)
    rows = {name: n for n, name in enumerate(dataset.ids)}
    images = [
        Listed(
            (dataset.root / dataset.paths[rows[name]]).absolute(),
            dataset.classes[dataset.labels[rows[name]]],
            facts={
                "findings": ", ".join(dict.fromkeys(one.kind for one in own)),
                "hint": " ".join(dict.fromkeys(one.hint for one in own)),
            },
        )
        for name, own in facts.items()
        if name in rows
    ]
    make_folder(folder)
    write_lists(folder, images, dataset.classes, author="the data set")
    return folder
