"""Classes: how many images each has, in which split, and whether they are enough."""

from __future__ import annotations

from collections import Counter
from collections.abc import Sequence

import numpy as np

from sit2.data.quality.findings import ClassRow, Finding
from sit2.data.splits import describe
from sit2.data.words import counted, listed
from sit2.records import Dataset

IMBALANCE = 10.0  # largest to smallest class; from here on plain training neglects the small ones
FEW = 5  # training images of a class; of fewer it can neither be learned nor measured well


def class_table(dataset: Dataset, problems: Sequence[str]) -> tuple[ClassRow, ...]:
    """Count the images of each class."""
    bad = np.array([bool(problem) for problem in problems])
    splits = np.array(dataset.splits or [""] * len(dataset))
    rows = []
    for k, name in enumerate(dataset.classes):
        of_class = dataset.labels == k
        train, val, test = (int((of_class & (splits == s)).sum()) for s in ("train", "val", "test"))
        rows.append(ClassRow(name, int(of_class.sum()), train, val, test, int((of_class & bad).sum())))
    return tuple(rows)


def missing_classes(dataset: Dataset) -> list[Finding]:
    """Find classes that a given validation or test split has no image of."""
    if not dataset.splits:
        return []
    given = set(dataset.splits)
    sentences = describe(np.array(dataset.splits), dataset.labels, dataset.classes)
    tasks = {"val": "No validation", "test": "No test"}
    return [
        Finding("missing class", "warning", sentence, "move images of these classes into the split")
        for split, start in tasks.items()
        for sentence in sentences
        if split in given and sentence.startswith(start)  # a split that is not given will be made
    ]


def class_sizes(dataset: Dataset, problems: Sequence[str], folds: int, balance: str) -> list[Finding]:
    """Find classes that are empty or small, by images or by groups, or very unlike in size.

    ``folds`` are those that will measure confusion, 0 where none do; ``balance`` is what is done against imbalance.
    """
    train = [not s or s == "train" for s in dataset.splits or [""] * len(dataset)]
    rows = [n for n in range(len(dataset)) if train[n] and not problems[n]]
    names = [dataset.classes[int(k)] for k in dataset.labels]
    counts = Counter(names[n] for n in rows)
    unread = {names[n] for n in range(len(dataset)) if train[n] and problems[n]}
    findings = _without_images([name for name in dataset.classes if not counts[name]], unread)
    if dataset.groups:
        counts = Counter(name for name, _ in {(names[n], dataset.groups[n]) for n in rows})
        findings += _lone_groups([name for name in dataset.classes if counts[name] == 1])
    small = [name for name in dataset.classes if 0 < counts[name] < max(folds, FEW)]
    if small:
        what = "groups" if dataset.groups else "images"
        most = f"than the {folds} folds" if folds >= FEW else f"than {FEW}"
        hint = f"add {what}: of so few a class can neither be learned nor measured well"
        if any(counts[name] < folds for name in small):
            hint = (
                "add images, or set fewer folds; else sit2 takes as many folds as the smallest class allows"
            )
        listing = listed([f"{name} ({counts[name]})" for name in small])
        findings.append(
            Finding(
                "small class",
                "warning",
                f"{counted(len(small), 'class', 'classes')} with fewer training {what} {most}: {listing}.",
                hint,
            )
        )
    return findings + _imbalance(dataset, balance)


def _without_images(names: Sequence[str], unread: set[str]) -> list[Finding]:
    if not names:
        return []
    hint = "add images, or move the class away"
    return [
        Finding(
            "class without images",
            "wrong",
            f"No readable training image for {counted(len(names), 'class', 'classes')}: {listed(names)}.",
            f"make those readable that are there (why they are not stands below), or {hint}"
            if unread.intersection(names)
            else hint,
        )
    ]


def _lone_groups(names: Sequence[str]) -> list[Finding]:
    if not names:
        return []
    return [
        Finding(
            "lone group",
            "warning",
            f"All training images of {counted(len(names), 'class', 'classes')} belong to one group: "
            f"{listed(names)}. They cannot be held out, so their confusion cannot be measured well.",
            "add images of other groups",
        )
    ]


def _imbalance(dataset: Dataset, balance: str) -> list[Finding]:
    counts = np.bincount(dataset.labels, minlength=len(dataset.classes))
    large, few = int(counts.argmax()), int(counts.argmin())
    ratio = counts[large] / counts[few]
    if ratio < IMBALANCE:
        return []
    done = f"--balance {balance} is set against it"
    return [
        Finding(
            "imbalance",
            "warning",
            f"Class {dataset.classes[large]} has {ratio:.0f} times as many images as {dataset.classes[few]} "
            f"({counts[large]:,} to {counts[few]:,}).",
            "read macro-F1 rather than accuracy; "
            + ("try --balance weights or --balance sampling" if balance == "none" else done),
        )
    ]
