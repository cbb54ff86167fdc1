"""`sit2 check`: look a data set over, and say what was found."""

from __future__ import annotations

import argparse
from pathlib import Path
from typing import TYPE_CHECKING

from sit2.cli.progress import Screen
from sit2.cli.verbs.verb import (
    DATA,
    DONE,
    FOUND,
    OVERWRITE,
    Verb,
    argument,
    config_of,
    free_target,
    out,
    require,
)
from sit2.storage.labelling_files import LABEL_STUDIO

if TYPE_CHECKING:
    from sit2.data.quality import Checkup, Finding


def run(options: argparse.Namespace, screen: Screen) -> int:
    """Print what is wrong with a data set; the exit code says whether results would be wrong."""
    config = config_of(options)
    require(options.data)
    free_target(options.out, LABEL_STUDIO, overwrite=options.overwrite)

    from sit2.cli.terminal import Terminal
    from sit2.experiments.check import check_data, write_for_tools
    from sit2.storage.untrusted import to_json

    with Terminal(screen) as terminal:
        found = check_data(
            options.data, config, terminal, labels=options.labels, predictions=options.predictions
        )
    if options.json:
        print(to_json(found.to_json()))
    else:
        print_checkup(found, screen)
    if options.out is not None:
        write_for_tools(options.out, found)
        if not options.json:
            screen.paths({"Lists for labelling tools": options.out})
    return FOUND if found.exit_code else DONE


def print_checkup(found: Checkup, screen: Screen) -> None:
    """Print tables of classes and files, and every finding."""
    _print_classes(found, screen)
    screen.say("")
    _print_files(found, screen)
    if all(finding.severity == "note" for finding in found.findings):
        screen.say("")
        screen.say("Nothing found that would make results wrong.")
    for finding in found.findings:
        _print_finding(finding, screen)


def _print_classes(found: Checkup, screen: Screen) -> None:
    split = any(row.train or row.val or row.test for row in found.classes)
    columns = ["class", "images", *(("train", "val", "test") if split else ()), "unreadable"]
    rows = []
    for row in found.classes:
        parts = [row.train, row.val, row.test] if split else []
        rows.append([row.name, *(f"{n:,}" for n in (row.images, *parts, row.unreadable))])
    title = f"{found.name}: {sum(row.images for row in found.classes):,} images"
    screen.table(title + (f" of {found.groups:,} groups" if found.groups else ""), columns, rows)


def _print_files(found: Checkup, screen: Screen) -> None:
    rows = [
        (
            f"{row.kind}, {row.channels}, {row.bits} {'bit' if row.bits == 1 else 'bits'}",
            f"{row.images:,}",
            *(f"{width} × {height}" for width, height in (row.smallest, row.median, row.largest)),
        )
        for row in found.files
    ]
    screen.table("Files", ("kind", "images", "smallest", "median", "largest"), rows)


def _print_finding(finding: Finding, screen: Screen) -> None:
    from sit2.data.words import listed

    screen.say("")
    screen.say(f"{finding.severity}: {finding.text}", style="bold" if finding.severity == "wrong" else None)
    if finding.files and finding.kind in _MORE_FILES:
        screen.say(f"  {listed(finding.files, 5)}")
    if finding.hint:
        screen.say(f"  {finding.hint}")


_MORE_FILES = ("group leak",)  # whose text names no images

VERB = Verb(
    run,
    "look for what is wrong with a data set",
    (
        DATA,
        argument("--labels", action="store_true", help="look for wrong labels too (needs sit2[labels])"),
        argument(
            "--predictions",
            type=Path,
            metavar="FILE",
            help="look for them by these out-of-fold predictions (CSV)",
        ),
        out("folder for lists of the images that were found, for Label Studio and FiftyOne"),
        OVERWRITE,
        argument("--json", action="store_true", help="print all that was found as JSON"),
    ),
    settings=(
        "groups",
        "group_pattern",
        "layout",
        "backbone",
        "pretrained",
        "channels",
        "channels_from",
        "depth_window",
        "background",
        "max_megapixels",
    ),
    basic=("groups", "group_pattern", "layout", "backbone", "max_megapixels"),
)
