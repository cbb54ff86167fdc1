"""K-fold cross-validation: which images each fold leaves out, and the splits of the others.

Letters: N samples, K folds.
"""

from __future__ import annotations

from dataclasses import replace

import numpy as np

from sit2.data.splits import SplitArray, draw_splits, folds
from sit2.data.words import listed
from sit2.errors import DataError
from sit2.records import Dataset, IntArray
from sit2.seeds import Seeds


def check_free(dataset: Dataset) -> None:
    """Raise :class:`DataError` where images have a split already, which folds would overrule."""
    if any(dataset.added):
        raise DataError(
            "--add gives images for training alone, and --cv parts all images into folds\n"
            "leave out --cv, or put these images into the data"
        )
    given = [word for name, word in (("test", "test"), ("val", "validation")) if name in dataset.splits]
    if given:
        raise DataError(
            f"{dataset.name} comes with {' and '.join(given)} images of its own, and --cv parts all images into "
            "folds\nleave out --cv, or add --resplit"
        )


def draw_folds(dataset: Dataset, count: int, seeds: Seeds) -> IntArray:
    """Return (N,) int64 from 0: the fold that leaves each image out. Stratified; groups and copies stay together.

    There are ``count`` folds, or as many as there are images (groups).

    Raises:
        DataError: when a fold would leave out every image of a class.
    """
    parts = folds(dataset.labels, dataset.groups, count, seeds, duplicates=dataset.duplicates, exactly=True)
    fold = np.empty(len(dataset), dtype=np.int64)
    for number, (_, held_out) in enumerate(parts):
        fold[held_out] = number
    lone = [
        repr(name) for k, name in enumerate(dataset.classes) if len(np.unique(fold[dataset.labels == k])) == 1
    ]
    if lone:
        why = (
            "all their images are of one group, or copies"
            if dataset.groups
            else "all are copies of one image"
        )
        raise DataError(
            f"no fold can leave out images of {listed(lone)} and still train on some: {why}\n"
            f"expected at least two {'groups' if dataset.groups else 'different images'} of every class"
        )
    return fold


def fold_splits(
    dataset: Dataset,
    fold: IntArray,
    number: int,
    *,
    val_fraction: float,
    val_per_class: int | None = None,
    seeds: Seeds,
) -> SplitArray:
    """Return (N,) "train", "val", "test" or "unused" of one fold: its images are the test, as if that were given.

    Validation images are drawn out of the others as usual, a fraction of them.

    Raises:
        DataError: when there is too little to draw validation images from.
    """
    given = tuple("test" if k == number else "train" for k in fold)
    return draw_splits(
        replace(dataset, splits=given),
        val_fraction=val_fraction,
        test_fraction=0.0,
        val_per_class=val_per_class,
        seeds=seeds,
    )
