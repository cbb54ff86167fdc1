"""What stands where it must not: an image in several classes or splits, a group in several splits."""

from __future__ import annotations

from collections import defaultdict
from collections.abc import Sequence

from sit2.data.duplicates import duplicate_sets
from sit2.data.quality.findings import Finding, Severity
from sit2.data.words import counted, listed
from sit2.errors import DataError
from sit2.records import Dataset


def leaks(dataset: Dataset) -> list[Finding]:
    """Find what stands in several of the splits that the source gives: images and groups."""
    _, parted, _ = _by_harm(dataset)
    hint = "keep each image in one split, or let sit2 make its own splits: --resplit"
    return [*_copies(dataset, "leak", parted, "in more than one split", hint), *_torn_groups(dataset)]


def leak_notes(dataset: Dataset, *, allow: bool) -> list[str]:
    """Return what a training should say about copies and leaks.

    Raises:
        DataError: when the given splits share images or groups, unless that is allowed.
    """
    found = leaks(dataset)
    if found and not allow:
        raise DataError(
            f"{found[0].text} The test would be of what was trained on.\n{found[0].hint}\n"
            "`sit2 check` lists them; --allow-leaks trains all the same"
        )
    return [f"{finding.text} To fix it: {finding.hint}." for finding in [*label_conflicts(dataset), *found]]


def label_conflicts(dataset: Dataset) -> list[Finding]:
    """Find images that stand in several classes, equal to the byte."""
    contradicting, _, _ = _by_harm(dataset)
    hint = "keep each image in the class that is right"
    return _copies(dataset, "label conflict", contradicting, "in more than one class", hint)


def duplicates(dataset: Dataset) -> list[Finding]:
    """Find images that stand more than once, where that is no conflict and no leak."""
    _, _, harmless = _by_harm(dataset)
    hint = "remove the copies; until then sit2 keeps them in one split"
    return _copies(dataset, "duplicates", harmless, "more than once in a class", hint)


Sets = list[list[int]]  # rows of the same image


def _by_harm(dataset: Dataset) -> tuple[Sets, Sets, Sets]:
    """Return the sets of copies in several classes, those in several splits, and those in neither."""
    contradicting, parted, harmless = [], [], []
    for rows in duplicate_sets(dataset):
        conflict = len({int(dataset.labels[n]) for n in rows}) > 1
        leak = bool(dataset.splits) and len({dataset.splits[n] for n in rows}) > 1
        if conflict:
            contradicting.append(rows)
        if leak:
            parted.append(rows)
        if not conflict and not leak:
            harmless.append(rows)
    return contradicting, parted, harmless


def _copies(
    dataset: Dataset, kind: str, sets: Sequence[Sequence[int]], where: str, hint: str
) -> list[Finding]:
    if not sets:
        return []
    examples = listed([" = ".join(dataset.ids[n] for n in rows) for rows in sets])
    text = f"{counted(len(sets), 'image')} {'appears' if len(sets) == 1 else 'appear'} {where}: {examples}."
    files = tuple(dataset.ids[n] for rows in sets for n in rows)
    severity: Severity = "warning" if kind == "duplicates" else "wrong"
    return [Finding(kind, severity, text, hint, files, tuple(described(dataset, rows) for rows in sets))]


def described(dataset: Dataset, rows: Sequence[int]) -> dict[str, object]:
    """Return ids, classes and, where there are some, splits and groups of images that belong together."""
    found: dict[str, object] = {
        "ids": [dataset.ids[n] for n in rows],
        "classes": [dataset.classes[int(dataset.labels[n])] for n in rows],
    }
    for name, values in (("splits", dataset.splits), ("groups", dataset.groups)):
        if values:
            found[name] = [values[n] for n in rows]
    return found


def _torn_groups(dataset: Dataset) -> list[Finding]:
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
            f"{counted(len(torn), 'group')} {'appears' if len(torn) == 1 else 'appear'} "
            f"in more than one split: {examples}.",
            "move each group into one split, or let sit2 make its own splits by group: --resplit",
            files,
            tuple({"group": group, "splits": sorted(places[group])} for group in torn),
        )
    ]
