"""Does it help? ``python -m benchmarks.method --out DIR`` runs a suite, or goes on with it."""

from __future__ import annotations

import argparse
from collections.abc import Callable
from dataclasses import replace
from pathlib import Path
from typing import Any

from benchmarks.method import page, suite
from benchmarks.method.results import RESULTS, row_of, write_results
from sit2.cli.progress import Screen
from sit2.cli.terminal import Terminal
from sit2.data.cache import networks_folder
from sit2.errors import Sit2Error
from sit2.experiments.grid import Cell, GridRun

Rows = Callable[[list[Cell]], list[dict[str, Any]]]


def main() -> None:
    parser = argparse.ArgumentParser(prog="benchmarks.method", description=__doc__)
    parser.add_argument("suites", nargs="*", default=["ten"], metavar="SUITE", help=", ".join(suite.names()))
    parser.add_argument("--out", type=Path, help="folder of finished cells, for all suites")
    parser.add_argument("--workers", type=int, default=0, help="parallel trainings; 0: one per core")
    parser.add_argument("--results", type=Path, default=RESULTS, help="folder of the results' CSV files")
    parser.add_argument(
        "--from-split",
        type=int,
        default=0,
        metavar="SPLIT",
        help="leave out the splits before this one; what the results have of them stays",
    )
    parser.add_argument("--page", action="store_true", help="only write README.md anew, from the results")
    options = parser.parse_args()
    if options.page:
        page.write(options.results)
        return
    if options.out is None:
        parser.error("--out is missing: name a folder for the finished cells")
    for name in options.suites:
        results = options.results / f"{name}.csv"
        try:
            run_suite(name, options.out, results, workers=options.workers, from_split=options.from_split)
        except Sit2Error as error:
            parser.exit(2, f"{name}: {error}\n")


def run_suite(name: str, out: Path, results: Path, *, workers: int = 0, from_split: int = 0) -> None:
    """Run what is not finished yet; ``results`` grows cell by cell."""
    finished: list[dict[str, Any]] = []
    for number, part in enumerate(suite.read(name, out, from_split=from_split)):
        config = replace(part.config, workers=workers)

        def rows(cells: list[Cell], part: suite.Part = part) -> list[dict[str, Any]]:
            return [row_of(cell, part.config, part.variant) for cell in cells]

        def grown(cells: list[Cell], rows: Rows = rows) -> None:
            write_results(results, [*finished, *rows(cells)], from_split=from_split)

        with Terminal(Screen(quiet=number > 0)) as terminal:
            networks = networks_folder(config.cache, out / "networks")
            work = GridRun(part.grid, config, out / "cells", networks, terminal)
            for places in work.rounds():
                finished.extend(rows(work.answer(work.measure(places), grown=grown)))


if __name__ == "__main__":
    main()
