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
        grid, config = suite.read(name)
        config = replace(config, workers=options.workers)

        def grown(cells: list[Cell], name: str = name) -> None:
            write_results(options.results / f"{name}.csv", cells)

        GridRun(grid, config, options.out, Screen(), grown).run()


if __name__ == "__main__":
    main()
