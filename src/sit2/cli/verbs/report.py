"""`sit2 report`: the page of a run, written anew."""

from __future__ import annotations

import argparse
from pathlib import Path

from sit2.cli.progress import Screen
from sit2.cli.verbs.verb import DONE, Verb, argument


def run(options: argparse.Namespace, screen: Screen) -> int:
    """Write report.html."""
    from sit2.storage.run_info import read_info

    read_info(options.run_folder)  # refused before tables and figures are loaded

    from sit2.report.page import write_report

    screen.say(f"Written: {write_report(options.run_folder, megabytes=options.megabytes)}")
    return DONE


VERB = Verb(
    run,
    "write what a run found as one page, report.html, with its figures and tables",
    (
        argument("run_folder", metavar="RUN", type=Path, help="what train, confusion or compare wrote"),
        argument("--megabytes", type=float, default=5.0, metavar="N", help="size of the page (default: 5)"),
    ),
)
