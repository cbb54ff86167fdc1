"""What is wrong with this dataset? Nothing is changed; each finding says how to mend it.

"wrong" is what would make results wrong, such as one photo in both training and test; a "warning" makes them
weaker or less certain; a "note" is only worth knowing.
"""

from __future__ import annotations

import hashlib
from collections import Counter, defaultdict
from collections.abc import Callable, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Literal

import numpy as np

from sit2.data.splits import describe
from sit2.data.store import load_pixels, source_of
from sit2.data.words import counted, listed
from sit2.records import Dataset

Severity = Literal["wrong", "warning", "note"]

IMBALANCE = 10.0  # largest to smallest class; from here on plain training neglects the small ones


@dataclass(frozen=True)
class Finding:
    """One thing that was found."""

    kind: str  # "unreadable", "duplicates", "label conflict", "leak", "group leak", "imbalance", …
    severity: Severity
    text: str  # a sentence or two
    cure: str
    files: tuple[str, ...] = ()  # ids of the images it is about


@dataclass(frozen=True)
class ClassRow:
    """One line of the table of classes. The splits are zero where the source gives none."""

    name: str
    images: int
    train: int
    val: int
    test: int
    unreadable: int


@dataclass(frozen=True)
class Checkup:
    """Everything that was found in a dataset, the worst first."""

    name: str
    classes: tuple[ClassRow, ...]
    findings: tuple[Finding, ...]

    @property
    def imbalance(self) -> float:
        """How many times larger the largest class is than the smallest."""
        counts = [row.images for row in self.classes]
        return max(counts) / min(counts)

    @property
    def exit_code(self) -> int:
        """1 if something would make results wrong, else 0."""
        return int(any(finding.severity == "wrong" for finding in self.findings))


def check(
    dataset: Dataset,
    *,
    problems: Sequence[str] | None = None,
    folds: int = 5,
    progress: Callable[[int, int], None] | None = None,
) -> Checkup:
    """Look a dataset over.

    Args:
        dataset: as a reader returned it.
        problems: N, why each image is unreadable, "" where it is fine; default: try to decode them all.
        folds: folds of the out-of-fold confusion that is planned.
        progress: called with the number of images decoded and N.
    """
    if problems is None:
        problems = load_pixels(dataset, size=8, channels="1", progress=progress).problems
    findings = [
        *_unreadable(dataset, problems),
        *_copies(dataset, problems),
        *_split_groups(dataset),
        *_missing_classes(dataset),
        *_sizes(dataset, problems, folds),
        *(Finding("ignored", "note", note, "") for note in dataset.notes),
    ]
    rank = {"wrong": 0, "warning": 1, "note": 2}
    findings.sort(key=lambda finding: rank[finding.severity])
    return Checkup(dataset.name, _table(dataset, problems), tuple(findings))


def _table(dataset: Dataset, problems: Sequence[str]) -> tuple[ClassRow, ...]:
    bad = np.array([bool(problem) for problem in problems])
    splits = np.array(dataset.splits or [""] * len(dataset))
    rows = []
    for k, name in enumerate(dataset.classes):
        of_class = dataset.labels == k
        train, val, test = (int((of_class & (splits == s)).sum()) for s in ("train", "val", "test"))
        rows.append(ClassRow(name, int(of_class.sum()), train, val, test, int((of_class & bad).sum())))
    return tuple(rows)


def _unreadable(dataset: Dataset, problems: Sequence[str]) -> list[Finding]:
    bad = [n for n, problem in enumerate(problems) if problem]
    if not bad:
        return []
    examples = listed([f"{dataset.ids[n]}: {problems[n]}" for n in bad])
    return [
        Finding(
            "unreadable",
            "warning",
            f"{counted(len(bad), 'image')} cannot be read and will be left out: {examples}.",
            "save them again, or remove them",
            tuple(dataset.ids[n] for n in bad),
        )
    ]


def _copies(dataset: Dataset, problems: Sequence[str]) -> list[Finding]:
    """Find images that are the same to the byte, and sort them by the harm they do."""
    harm: dict[str, list[list[int]]] = {"conflict": [], "leak": [], "duplicates": []}
    for rows in _same(dataset, problems):
        conflict = len({int(dataset.labels[n]) for n in rows}) > 1
        leak = bool(dataset.splits) and len({dataset.splits[n] for n in rows}) > 1
        if conflict:
            harm["conflict"].append(rows)
        if leak:
            harm["leak"].append(rows)
        if not conflict and not leak:
            harm["duplicates"].append(rows)

    def finding(kind: str, severity: Severity, sets: list[list[int]], what: str, cure: str) -> list[Finding]:
        if not sets:
            return []
        examples = listed([" = ".join(dataset.ids[n] for n in rows) for rows in sets])
        files = tuple(dataset.ids[n] for rows in sets for n in rows)
        text = f"{counted(len(sets), 'image')} {'stands' if len(sets) == 1 else 'stand'} {what}: {examples}."
        return [Finding(kind, severity, text, cure, files)]

    return [
        *finding(
            "label conflict",
            "wrong",
            harm["conflict"],
            "in several classes",
            "keep each image in the class that is right",
        ),
        *finding(
            "leak",
            "wrong",
            harm["leak"],
            "in several splits",
            "keep each image in one split",
        ),
        *finding(
            "duplicates",
            "warning",
            harm["duplicates"],
            "more than once in a class",
            "remove the copies: they may fall into both training and test",
        ),
    ]


def _same(dataset: Dataset, problems: Sequence[str]) -> list[list[int]]:
    """Return the sets of rows, each at least two, whose files or arrays are equal."""
    readable = [n for n, problem in enumerate(problems) if not problem]
    sources = {n: source_of(dataset, n) for n in readable}

    def size(n: int) -> object:
        source = sources[n]
        return source.stat().st_size if isinstance(source, Path) else source.shape

    def content(n: int) -> object:
        source = sources[n]
        data = source.read_bytes() if isinstance(source, Path) else source.tobytes()
        return hashlib.blake2b(data, digest_size=16).digest()

    # Only files of one size can be equal: most never have to be read.
    return [same for alike in _alike(readable, size) for same in _alike(alike, content)]


def _alike(rows: Sequence[int], key: Callable[[int], object]) -> list[list[int]]:
    """Return the sets of rows with the same key, each at least two."""
    sets: dict[object, list[int]] = defaultdict(list)
    for n in rows:
        sets[key(n)].append(n)
    return [same for same in sets.values() if len(same) > 1]


def _split_groups(dataset: Dataset) -> list[Finding]:
    if not (dataset.groups and dataset.splits):
        return []
    places: dict[str, set[str]] = defaultdict(set)
    for group, split in zip(dataset.groups, dataset.splits, strict=True):
        places[group].add(split)
    torn = sorted(group for group, splits in places.items() if len(splits) > 1)
    if not torn:
        return []
    examples = listed([f"{group} ({', '.join(sorted(places[group]))})" for group in torn])
    files = tuple(i for i, group in zip(dataset.ids, dataset.groups, strict=True) if len(places[group]) > 1)
    return [
        Finding(
            "group leak",
            "wrong",
            f"{counted(len(torn), 'group')} {'stands' if len(torn) == 1 else 'stand'} "
            f"in several splits: {examples}.",
            "move each group into one split, or remove the splits: sit2 then makes its own, by group",
            files,
        )
    ]


def _missing_classes(dataset: Dataset) -> list[Finding]:
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


def _sizes(dataset: Dataset, problems: Sequence[str], folds: int) -> list[Finding]:
    """Find classes that are small, by images or by groups, or very unlike in size."""
    train = [not s or s == "train" for s in dataset.splits or [""] * len(dataset)]
    rows = [n for n in range(len(dataset)) if not problems[n]]
    names = [dataset.classes[int(k)] for k in dataset.labels]
    usable = Counter(names[n] for n in rows if train[n])
    counts = {name: usable[name] for name in dataset.classes}
    findings = []
    lost = [name for name, count in counts.items() if count == 0]
    if lost:
        findings.append(
            Finding(
                "class without images",
                "wrong",
                f"No readable training image for {counted(len(lost), 'class', 'classes')}: {listed(lost)}.",
                "add images, or move the class away",
            )
        )
    if dataset.groups:
        grouped = {(names[n], dataset.groups[n]) for n in rows if train[n]}
        members = Counter(name for name, _ in grouped)
        lone = [name for name in dataset.classes if members[name] == 1]
        if lone:
            findings.append(
                Finding(
                    "lone group",
                    "warning",
                    f"All training images of {counted(len(lone), 'class', 'classes')} belong to one group: "
                    f"{listed(lone)}. They cannot be held out, so their confusion cannot be measured well.",
                    "add images of other groups",
                )
            )
        counts = {name: members[name] for name in dataset.classes}
    small = [f"{name} ({count})" for name, count in counts.items() if 0 < count < folds]
    if small:
        what = "groups" if dataset.groups else "images"
        findings.append(
            Finding(
                "small class",
                "warning",
                f"{counted(len(small), 'class', 'classes')} with fewer training {what} than the "
                f"{folds} folds: {listed(small)}.",
                "add images, or set fewer folds; else sit2 takes as many folds as the smallest class allows",
            )
        )
    return findings + _imbalance(dataset)


def _imbalance(dataset: Dataset) -> list[Finding]:
    counts = np.bincount(dataset.labels, minlength=len(dataset.classes))
    large, few = int(counts.argmax()), int(counts.argmin())
    ratio = counts[large] / counts[few]
    if ratio < IMBALANCE:
        return []
    return [
        Finding(
            "imbalance",
            "warning",
            f"Class {dataset.classes[large]} has {ratio:.0f} times as many images as {dataset.classes[few]} "
            f"({counts[large]:,} to {counts[few]:,}).",
            "read macro-F1 rather than accuracy; try balance 'weights' or 'sampling'",
        )
    ]
