"""Why there is nothing to evaluate."""

from __future__ import annotations

from pathlib import PurePosixPath

from sit2.data.readers.layout import level, near_names
from sit2.data.words import listed
from sit2.records import BoolArray, Dataset


def nothing_left(dataset: Dataset, labelled: BoolArray, layout: str, *, of_all: bool) -> str:
    """Say why no labelled image is left, and which folders were found instead of the classes.

    Args:
        dataset: N images.
        labelled: (N,) bool, those that have a label; the model knows them all.
        layout: what the folders mean, one of LAYOUTS.
        of_all: the model was trained on all images of its run.
    """
    if labelled.any():
        return (
            "no labelled image is left to evaluate: the model was trained or validated on all of them\n"
            f"expected new images{' (this model was trained on all those of its run)' if of_all else ''}, or --all "
            "to count them too"
        )
    parts = [PurePosixPath(path).parts[:-1] for path in dataset.paths]
    start, classes = "no labelled image is left to evaluate", listed(dataset.classes)
    if (depth := level(layout, "class")) is not None:
        names = sorted({part[depth] for part in parts if len(part) > depth})
        there = f"are {listed(names)}" if names else "do not exist"
        return (
            f"{start}: by --layout {layout} the classes are the folders at level {depth + 1}, and these {there}\n"
            f"expected {classes} there; without --layout they are looked for at every level"
        )
    folders = sorted({name for part in parts for name in part}) or [dataset.name]
    found = listed([*near_names(folders, dataset.classes).values()] or folders)
    return f"{start}: found {found}\nexpected images in folders named like the classes: {classes}"
