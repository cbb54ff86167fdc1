"""Which images train, validate and test: stratified by class, and never two splits for one group.

Letters: N samples, K classes.
"""

from __future__ import annotations

import itertools
from collections.abc import Sequence
from fractions import Fraction

import numpy as np
from numpy.typing import NDArray
from scipy.sparse import coo_array
from scipy.sparse.csgraph import connected_components

from sit2.data.words import counted, listed
from sit2.errors import DataError
from sit2.records import BoolArray, Dataset, IntArray
from sit2.seeds import Seeds
from sit2.storage.process_state import quiet_libraries

_REMOVE = "remove the copies; `sit2 check` lists them"
SplitArray = NDArray[np.str_]  # (N,) "train", "val", "test", "calibration" or "unused"


def draw_splits(
    dataset: Dataset,
    *,
    val_fraction: float,
    test_fraction: float,
    labels_per_class: int | None = None,
    val_per_class: int | None = None,
    calibration_fraction: float = 0.0,
    seeds: Seeds,
) -> SplitArray:
    """Return (N,) "train", "val", "test", "calibration" or "unused": the splits of a run.

    Those of :func:`make_splits`, with the duplicates of an image in one of them, and limited labels.

    Raises:
        DataError: when there is too little to make a split of, or a class has no image to train on.
    """
    drawn = make_splits(
        dataset,
        val_fraction=val_fraction,
        test_fraction=test_fraction,
        calibration_fraction=calibration_fraction,
        seeds=seeds.child("splits"),
    )
    splits = unite_duplicates(drawn, dataset)
    if labels_per_class is not None:
        splits = limit_labels(splits, dataset.labels, labels_per_class, seeds.child("labels"), drawn=drawn)
        splits = limit_labels(  # they are labels too
            splits,
            dataset.labels,
            labels_per_class,
            seeds.child("calibration labels"),
            drawn=drawn,
            split="calibration",
        )
    if val_per_class is not None:
        splits = limit_labels(
            splits, dataset.labels, val_per_class, seeds.child("val labels"), drawn=drawn, split="val"
        )
    return splits


def make_splits(
    dataset: Dataset,
    *,
    val_fraction: float,
    test_fraction: float,
    calibration_fraction: float = 0.0,
    seeds: Seeds,
) -> SplitArray:
    """Return (N,) "train", "val", "test" or "calibration".

    Splits that the source gives are kept; missing ones are made. A fraction is a share of the images that the
    source does not keep for a test or validation of its own. Every class keeps an image to train on, and no group
    stands in two of the splits that are made here.

    Raises:
        DataError: when there is too little to make a split of, or a class has no image to train on.
    """
    splits = np.array(dataset.splits or ["train"] * len(dataset), dtype="<U11")
    _check_trained(dataset, splits)
    given = set(dataset.splits)
    groups = np.array(dataset.groups)
    free = int((splits == "train").sum())
    fractions = {"test": test_fraction, "val": val_fraction, "calibration": calibration_fraction}
    for name, fraction in fractions.items():
        if name in given or not fraction:
            continue
        rows = np.flatnonzero(splits == "train")
        held = _hold_out(
            dataset.labels[rows],
            groups[rows] if dataset.groups else None,
            max(1, round(fraction * free)),
            seeds.child("splits", name),
        )
        if not held.any():
            part = "groups" if dataset.groups else "images"
            raise DataError(
                f"too few {part} in {dataset.name} to make a {name} split of them\n"
                f"expected at least three {part} of some class: add images, or lower the fractions"
                + ("; --groups none ignores the groups" if dataset.groups else "")
            )
        splits[rows[held]] = name
    return splits


def unite_duplicates(splits: SplitArray, dataset: Dataset) -> SplitArray:
    """Move the copies of an image, with the groups that they link, into the split of the first of them.

    Only what :func:`make_splits` drew is moved; all else stays where it was drawn, so a set without copies
    keeps its splits. Where a class would lose its last training image, the copies train.

    Raises:
        DataError: when nothing is left of a split.
    """
    if not dataset.duplicates:
        return splits
    united = splits.copy()
    free = np.flatnonzero(np.array(dataset.splits or ["train"] * len(dataset)) == "train")
    for part in _parts(connected_groups(dataset.groups, dataset.duplicates)):
        rows = np.intersect1d(part, free)
        if len(np.unique(united[rows])) > 1:
            united[rows] = united[rows[0]]
            if not all(((united == "train") & (dataset.labels == k)).any() for k in dataset.labels[rows]):
                united[rows] = "train"
    for name in set(splits.tolist()) - set(united.tolist()):
        raise DataError(
            f"too few different images in {dataset.name} for a {name} split: most are copies of others\n"
            + _REMOVE
        )
    return united


def connected_groups(groups: Sequence[str], duplicates: Sequence[str]) -> tuple[str, ...]:
    """Return N names, one for all samples that must stay together; none where nothing must.

    These are the groups; where a copy of one group's image stands in another, the two are one.
    """
    if not duplicates:
        return tuple(groups)
    copy = np.unique(duplicates, return_inverse=True)[1]
    group = np.unique(groups, return_inverse=True)[1] if groups else np.arange(len(duplicates))
    links = coo_array(
        (np.ones(len(duplicates)), (group, len(duplicates) + copy)), shape=(2 * len(duplicates),) * 2
    )
    _, component = connected_components(links, directed=False)
    return tuple(str(number) for number in component[group])


def _parts(names: Sequence[str]) -> list[IntArray]:
    """Return the ascending rows of each name that stands more than once."""
    number = np.unique(names, return_inverse=True)[1]
    order = np.argsort(number, kind="stable").astype(np.int64)
    parts = np.split(order, np.flatnonzero(np.diff(number[order])) + 1)
    return [part for part in parts if len(part) > 1]


def limit_labels(
    splits: SplitArray,
    labels: IntArray,
    per_class: int,
    seeds: Seeds,
    *,
    drawn: SplitArray | None = None,
    split: str = "train",
) -> SplitArray:
    """Keep ``per_class`` images of each class in a split; the others become "unused".

    With one seed, the images kept for a smaller number are among those kept for a larger one. ``drawn`` are
    the splits as they were drawn, where some duplicates were moved since: all others are kept as without.
    """
    limited = splits.copy()
    drawn = splits if drawn is None else drawn
    for k in np.unique(labels):
        first = seeds.numpy("labels", int(k)).permutation(np.flatnonzero((drawn == split) & (labels == k)))
        moved = np.flatnonzero((splits == split) & (drawn != split) & (labels == k))
        limited[np.concatenate([first[splits[first] == split], moved])[per_class:]] = "unused"
    return limited


def folds(
    labels: IntArray,
    groups: Sequence[str],
    count: int,
    seeds: Seeds,
    *,
    duplicates: Sequence[str] = (),
    exactly: bool = False,
) -> list[tuple[IntArray, IntArray]]:
    """Part N samples into folds, each (rows to train on, rows held out). Every row is held out once.

    There are ``count`` folds, or as many as the smallest class has samples (with groups: groups), but at
    least two; ``exactly``: as many as are asked for, as far as there are samples (groups), so that a fold may
    hold out no sample of a small class. ``groups`` is empty where there are none. Images of one name in
    ``duplicates`` are put into one fold, with the groups that they link.

    Raises:
        DataError: when there are not two different samples, or groups, to part.
    """
    names = np.array(groups) if len(groups) else np.arange(len(labels)).astype(np.str_)
    if len(np.unique(names)) < 2:
        raise DataError(
            f"cannot part {counted(len(labels), 'training image')} of "
            f"{counted(len(np.unique(names)), 'group')} into folds\n"
            "expected at least two groups; --groups none ignores them"
        )
    smallest = min(len(np.unique(names[labels == k])) for k in np.unique(labels))
    number = max(2, min(count, len(np.unique(names)) if exactly else smallest))
    fold = _group_folds(labels, names, number, seeds) if len(groups) else _folds(labels, number, seeds)
    if duplicates:
        for part in _parts(connected_groups(groups, duplicates)):
            fold[part] = fold[part[0]]
        if len(np.unique(fold)) < 2:
            raise DataError(
                "cannot part training images into folds that are copies of each other\n" + _REMOVE
            )
    return [(np.flatnonzero(fold != f), np.flatnonzero(fold == f)) for f in np.unique(fold)]


def describe(splits: SplitArray, labels: IntArray, classes: Sequence[str]) -> list[str]:
    """Return a sentence for each split, validation and test, that lacks classes."""
    sentences = []
    for split, task in (("val", "validation"), ("test", "test"), ("calibration", "calibration")):
        there = set(labels[splits == split].tolist())
        if split == "calibration" and not there:
            continue
        missing = [name for k, name in enumerate(classes) if k not in there]
        if missing:
            absent = counted(len(missing), "class", "classes")
            sentences.append(f"No {task} image for {absent} of {len(classes)}: {listed(missing)}.")
    return sentences


def _check_trained(dataset: Dataset, splits: SplitArray) -> None:
    """Raise unless every class has a training image; what is held out later leaves it one."""
    trained = set(dataset.labels[splits == "train"].tolist())
    untrained = [repr(name) for k, name in enumerate(dataset.classes) if k not in trained]
    if untrained:
        raise DataError(
            f"no training image for {counted(len(untrained), 'class', 'classes')}: {listed(untrained)}\n"
            "expected every class in 'train': move images into it"
        )


def _hold_out(labels: IntArray, groups: NDArray[np.str_] | None, wanted: int, seeds: Seeds) -> BoolArray:
    """(N,) bool: about ``wanted`` samples, taken from all classes alike, but never all of a class."""
    if groups is None:
        return _draw(labels, wanted, seeds)
    held = _draw_groups(labels, groups, wanted, seeds)
    for k in np.unique(labels):
        rows = labels == k
        if held[rows].all():  # give back the group that costs the held-out part least
            names = np.unique(groups[rows])
            least = min(names, key=lambda name: int((groups == name).sum()))
            held[groups == least] = False
    return held


def _draw(labels: IntArray, wanted: int, seeds: Seeds) -> BoolArray:
    """Draw from each class its share, rounded down or up, and at most all but one."""
    counts = np.bincount(labels)
    exact = counts * wanted / len(labels)
    take = np.minimum(np.floor(exact), np.maximum(counts - 1, 0)).astype(np.int64)
    # What rounding down left over goes to the classes without any first, then to those that lost most.
    luck = seeds.numpy("ties").random(len(counts))
    order = np.lexsort((luck, take - exact, take > 0))
    takers = [k for k in order if take[k] + 1 < counts[k] and exact[k] > take[k]]
    take[takers[: wanted - int(take.sum())]] += 1
    held = np.zeros(len(labels), dtype=np.bool_)
    for k in np.flatnonzero(take):
        held[seeds.numpy("class", int(k)).permutation(np.flatnonzero(labels == k))[: take[k]]] = True
    return held


def _draw_groups(labels: IntArray, groups: NDArray[np.str_], wanted: int, seeds: Seeds) -> BoolArray:
    """Draw whole groups: those of some of k stratified folds whose size together is nearest to ``wanted``."""
    number = len(np.unique(groups))
    if number < 2:
        return np.zeros(len(labels), dtype=np.bool_)
    share = Fraction(wanted, len(labels)).limit_denominator(10)  # some of at most ten folds, or
    if wanted * 10 < len(labels):
        share = Fraction(1, round(len(labels) / wanted))  # one of more
    share = min(max(share, Fraction(1, number)), Fraction(number - 1, number))
    fold = _group_folds(labels, groups, min(share.denominator, number), seeds)
    table = np.zeros((labels.max() + 1, fold.max() + 1), dtype=np.int64)  # samples by class and fold
    np.add.at(table, (labels, fold), 1)

    def cost(union: tuple[int, ...]) -> tuple[int, int]:
        """Count the classes that would keep nothing, then the samples held out too many or too few."""
        kept = np.delete(table, union, axis=1).sum(axis=1)
        return int((kept == 0).sum()), abs(int(table.sum() - kept.sum()) - wanted)

    some = max(1, min(round(share * table.shape[1]), table.shape[1] - 1))
    return np.isin(fold, min(itertools.combinations(range(table.shape[1]), some), key=cost))


def _folds(labels: IntArray, number: int, seeds: Seeds) -> IntArray:
    """(N,) the fold of each sample: dealt like cards, class after class, in random order within each."""
    fold = np.empty(len(labels), dtype=np.int64)
    luck = seeds.numpy("folds").random(len(labels))
    fold[np.lexsort((luck, labels))] = np.arange(len(labels)) % number
    return fold


def _group_folds(labels: IntArray, groups: NDArray[np.str_], number: int, seeds: Seeds) -> IntArray:
    """(N,) the fold of each sample, the same within a group; classes alike in all folds, as far as can be."""
    from sklearn.model_selection import StratifiedGroupKFold

    if np.bincount(labels).max() < number:  # nothing to stratify, and scikit-learn would refuse
        labels = np.zeros_like(labels)
    fold = np.empty(len(labels), dtype=np.int64)
    splitter = StratifiedGroupKFold(number, shuffle=True, random_state=seeds.sklearn("group folds"))
    with quiet_libraries():  # about classes with fewer samples than folds, which is fine
        for f, (_, rows) in enumerate(splitter.split(labels, labels, groups)):
            fold[rows] = f
    return np.unique(fold, return_inverse=True)[1].astype(np.int64)  # without folds that stayed empty
