"""`sit2 check`: look a data set over, and say what was found."""

from __future__ import annotations

from pathlib import Path

import numpy as np

from sit2.cli.screen import Screen
from sit2.config.schema import Config
from sit2.confusion.predictions_file import read_predictions_for
from sit2.data.duplicates import name_copies
from sit2.data.pixels import Pixels, load_pixels_for
from sit2.data.quality import SIZE, Checkup, Finding, check
from sit2.data.readers import read_dataset
from sit2.data.splits import bound
from sit2.data.words import listed
from sit2.features.closed_form import probe_probabilities
from sit2.records import Dataset, FloatArray
from sit2.seeds import Seeds
from sit2.storage.untrusted import to_json

# The probe errs often, so only what it all but excludes is suspected: of labels so found on four sets with
# 5 % of false labels, 48 to 100 % were false, against 9 to 55 % without this (docs/check.md).
PROBE_DOUBTS = 0.02


def check_data(
    source: Path,
    config: Config,
    screen: Screen,
    *,
    labels: bool = False,
    predictions: Path | None = None,
    as_json: bool = False,
) -> bool:
    """Print what is wrong with a data set; return whether results would be wrong.

    Args:
        source: images, as for training.
        config: how groups are found and images decoded; they are looked at small, whatever its size.
        screen: where to print.
        labels: look for wrong labels too, by what a probe says out of fold.
        predictions: look for wrong labels by these out-of-fold predictions instead.
        as_json: print JSON, and nothing else, to standard output.

    Raises:
        Sit2Error: for anything that the caller can mend.
    """
    dataset = read_dataset(source, groups=config.groups, group_pattern=config.group_pattern)
    probabilities, credible = read_predictions_for(dataset, predictions) if predictions else None, 1.0
    with screen.progress("Checking images") as show:
        pixels = load_pixels_for(
            config,
            dataset,
            size=SIZE,
            progress=lambda done, total: show(done / total, f"{done:,} of {total:,}"),
        )
    for note in pixels.notes:
        screen.warn(note)
    dataset = name_copies(dataset, pixels)
    if labels and probabilities is None and len(_readable_classes(dataset, pixels)) > 1:
        probabilities, credible = _probed(dataset, pixels, screen), PROBE_DOUBTS
    found = check(dataset, pixels, probabilities=probabilities, credible=credible)
    if as_json:
        print(to_json(found.to_json()))
    else:
        _tell(found, screen)
    return found.exit_code != 0


def _probed(dataset: Dataset, pixels: Pixels, screen: Screen) -> FloatArray:
    """(N, K) of each image from a probe that left out its group and its copies; NaN where unreadable."""
    readable = np.flatnonzero([not problem for problem in pixels.problems]).astype(np.int64)
    known = dataset.take(readable)
    probabilities = np.full((len(dataset), len(dataset.classes)), np.nan)
    with screen.progress("Examining labels") as show:
        probabilities[readable] = probe_probabilities(
            pixels.images,
            known.labels,
            len(known.classes),
            rows=readable,
            groups=bound(known.groups, known.copies),
            seeds=Seeds(0),
            progress=show,
        )
    return probabilities


def _readable_classes(dataset: Dataset, pixels: Pixels) -> set[int]:
    """Return the classes with an image that can be read: where there is but one, no label can be wrong."""
    return {n for n, problem in zip(dataset.labels.tolist(), pixels.problems, strict=True) if not problem}


def _tell(found: Checkup, screen: Screen) -> None:
    _tell_classes(found, screen)
    screen.say("")
    _tell_files(found, screen)
    if not found.findings:
        screen.say("")
        screen.say("Nothing found that would make results wrong.")
    for finding in found.findings:
        _tell_finding(finding, screen)


def _tell_classes(found: Checkup, screen: Screen) -> None:
    split = any(row.train or row.val or row.test for row in found.classes)
    columns = ["class", "images", *(("train", "val", "test") if split else ()), "unreadable"]
    rows = []
    for row in found.classes:
        parts = [row.train, row.val, row.test] if split else []
        rows.append([row.name, *(f"{n:,}" for n in (row.images, *parts, row.unreadable))])
    title = f"{found.name}: {sum(row.images for row in found.classes):,} images"
    screen.table(title + (f" of {found.groups:,} groups" if found.groups else ""), columns, rows)


def _tell_files(found: Checkup, screen: Screen) -> None:
    rows = [
        (
            f"{row.kind}, {row.channels}, {row.bits} {'bit' if row.bits == 1 else 'bits'}",
            f"{row.images:,}",
            *(f"{width} × {height}" for width, height in (row.smallest, row.median, row.largest)),
        )
        for row in found.files
    ]
    screen.table("Files", ("kind", "images", "smallest", "median", "largest"), rows)


def _tell_finding(finding: Finding, screen: Screen) -> None:
    screen.say("")
    screen.say(f"{finding.severity}: {finding.text}", style="bold" if finding.severity == "wrong" else None)
    if finding.files and finding.kind in _MORE_FILES:
        screen.say(f"  {listed(finding.files, 5)}")
    if finding.cure:
        screen.say(f"  {finding.cure}")


_MORE_FILES = ("group leak",)  # whose text names no images
