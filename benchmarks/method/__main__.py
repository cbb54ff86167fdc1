"""Does it help? ``python -m benchmarks.method --out DIR`` runs a suite, or goes on with it."""

from __future__ import annotations

import argparse
from dataclasses import replace
from pathlib import Path

from benchmarks.method import suite
from benchmarks.method.results import RESULTS, write_results
from sit2.cells import Cell, GridRun
from sit2.screen import Screen


def main() -> None:
    parser = argparse.ArgumentParser(prog="benchmarks.method", description=__doc__)
    parser.add_argument("suites", nargs="*", default=["ten"], choices=suite.names(), metavar="SUITE")
    parser.add_argument("--out", type=Path, required=True, help="folder of finished cells, for all suites")
    parser.add_argument("--workers", type=int, default=0, help="parallel trainings; 0: one per core")
    parser.add_argument("--results", type=Path, default=RESULTS, help="folder of the results' CSV files")
    options = parser.parse_args()
    for name in options.suites:
        finished: dict[int, list[Cell]] = {}
        for number, part in enumerate(suite.read(name)):

            def grown(cells: list[Cell], part: suite.Part = part, number: int = number) -> None:
                finished[number] = [replace(c, method=part.variant or c.method) for c in cells]
                every = [cell for cells in finished.values() for cell in cells]
                write_results(options.results / f"{name}.csv", every)

            config = replace(part.config, workers=options.workers)
            GridRun(part.grid, config, options.out, Screen(quiet=number > 0), grown).run()


if __name__ == "__main__":
    main()
