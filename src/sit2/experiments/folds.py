"""A run by cross-validation: the images of each fold, what the folds say together, and what is kept in the end.

A held-out test is the case of one fold, so that a run needs to know little of this. N images.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import replace

import numpy as np

from sit2.config.schema import Config
from sit2.data.cross_validation import draw_folds, fold_splits
from sit2.events import Listener, Note
from sit2.experiments.prepare import Loaded, Prepared, in_splits, labelled, split_images, split_seeds
from sit2.records import FloatArray


def split_or_folds(loaded: Loaded, config: Config, listener: Listener) -> list[Prepared]:
    """Return the images in their splits: once for each fold, or once where there is one held-out test.

    Raises:
        DataError: when that cannot be done, or the given splits leak and that is not allowed.
    """
    if not config.cv:
        return [split_images(loaded, config, listener)]
    dataset, seeds = labelled(loaded, config, listener), split_seeds(config).child("cv")
    fold = draw_folds(dataset, config.cv, seeds)
    count = int(fold.max()) + 1
    if count < config.cv:
        listener(Note(f"{count} folds instead of {config.cv}: there is no more to part"))
    parts = []
    for number in range(count):
        splits = fold_splits(
            dataset,
            fold,
            number,
            val_fraction=config.val_fraction,
            val_per_class=config.val_per_class,
            seeds=seeds.child("fold", number),
        )
        parts.append(in_splits(loaded, dataset, splits))
    lacking = [number for number, one in enumerate(parts, 1) if _lacks_validation(one)]
    if lacking:
        listener(
            Note(
                f"Some classes have no validation image in {len(lacking)} of {count} folds, which then say less "
                "about them while they train."
            )
        )
    sizes = tuple(
        (name, round(float(np.mean([len(one.rows(name)) for one in parts]))))
        for name in ("train", "val", "test")
    )
    listener(parts[0].told(sizes, folds=count))
    return parts


def _lacks_validation(fold: Prepared) -> bool:
    labels, splits = fold.dataset.labels, fold.splits
    return len(np.unique(labels[splits == "val"])) < len(fold.dataset.classes)


def judged(folds: Sequence[Prepared]) -> Prepared:
    """Return all images as what is said of them is judged: each in the test, and in which fold it was left out."""
    if len(folds) == 1:
        return folds[0]
    first = folds[0]
    number = np.zeros(len(first.dataset), dtype=np.int64)
    for k, one in enumerate(folds, 1):
        number[one.rows("test")] = k
    told = np.full(len(first.samples), "", dtype=object)
    told[first.index] = [str(k) for k in number]
    splits = np.full(len(number), "test", dtype="<U6")
    every = np.where(told == "", "unused", "test")
    samples = replace(first.samples, splits=tuple(every.tolist()), folds=tuple(told.tolist()))
    return replace(first, splits=splits, samples=samples)


def all_to_train(one: Prepared, *, every: bool) -> Prepared:
    """Return images as what is kept is trained on them: those of all splits, or ``every`` one."""
    rows = np.arange(len(one.dataset)) if every else one.used
    splits = np.full(len(one.dataset), "unused", dtype="<U6")
    splits[rows] = "train"
    return replace(one, splits=splits)


def in_order(folds: Sequence[Prepared], left_out: Sequence[FloatArray]) -> FloatArray:
    """Put what the folds say of the images they left out into the order of all images: (N, K)."""
    found = np.empty((len(folds[0].dataset), left_out[0].shape[1]))
    for one, probabilities in zip(folds, left_out, strict=True):
        found[one.rows("test")] = probabilities
    return found


def figures_of(folds: int, images: int, kept: int) -> str:
    """Return whose the figures are, where what is kept was trained once more on ``kept`` images."""
    if folds:
        return (
            f"This model was trained on all {kept:,} labelled images. The figures of its run are left-out figures "
            f"by {folds}-fold cross-validation over {images:,} images: of models that were each trained without a "
            "part of them, and are expected to be no better than this one. It was never measured itself."
        )
    return (
        f"This model was trained on all {kept:,} labelled images, those of the test too. The figures of its run "
        "are those of a model that was trained without the test images, and is expected to be no better than "
        "this one. It was never measured itself."
    )
