"""A data set looked over before anything is trained: what is wrong with it?"""

from __future__ import annotations

from pathlib import Path

import numpy as np

from sit2.config.schema import Config
from sit2.confusion.predictions_file import read_predictions_for
from sit2.data.duplicates import name_duplicates
from sit2.data.pixels import Pixels, load_pixels_for
from sit2.data.quality import SIZE, Checkup, check
from sit2.data.readers import read_dataset
from sit2.data.splits import connected_groups
from sit2.events import Listener, Note, Progress
from sit2.features.closed_form import closed_form_probabilities
from sit2.records import Dataset, FloatArray
from sit2.seeds import Seeds

# The closed-form classifier errs often, so only what it all but excludes is suspected: of labels so found on
# four sets with 5 % of false labels, 48 to 100 % were false, against 9 to 55 % without this (docs/check.md).
DOUBTS = 0.02


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
        Sit2Error: for anything that the caller can mend.
    """
    dataset = read_dataset(source, groups=config.groups, group_pattern=config.group_pattern)
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
    if labels and probabilities is None and len(_readable_classes(dataset, pixels)) > 1:
        probabilities, credible = _left_out(dataset, pixels, listener), DOUBTS
    return check(dataset, pixels, probabilities=probabilities, credible=credible)


def _left_out(dataset: Dataset, pixels: Pixels, listener: Listener) -> FloatArray:
    """(N, K) of each image from a classifier that left out its group and duplicates; NaN where unreadable."""
    readable = np.flatnonzero([not problem for problem in pixels.problems]).astype(np.int64)
    known = dataset.take(readable)
    probabilities = np.full((len(dataset), len(dataset.classes)), np.nan)
    probabilities[readable] = closed_form_probabilities(
        pixels.images,
        known.labels,
        len(known.classes),
        rows=readable,
        groups=connected_groups(known.groups, known.duplicates),
        seeds=Seeds(0),
        progress=lambda fraction, words: listener(Progress("Examining labels", fraction, words)),
    )
    return probabilities


def _readable_classes(dataset: Dataset, pixels: Pixels) -> set[int]:
    """Return the classes with an image that can be read: where there is but one, no label can be wrong."""
    return {n for n, problem in zip(dataset.labels.tolist(), pixels.problems, strict=True) if not problem}
