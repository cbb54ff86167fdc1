"""Does it help? ``python -m benchmarks.method SUITE --out DIR`` runs a suite, or goes on with it.

``python -m benchmarks.method declared --data FOLDER_OR_MANIFEST…`` runs a suite on other sets than its own.
"""

from __future__ import annotations

import argparse
import sys
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field, replace
from pathlib import Path
from typing import Any

import numpy as np
import yaml

from benchmarks.method import kept, page, power, suite
from benchmarks.method.contrast import declared_contrast
from benchmarks.method.results import RESULTS, row_of, write_results
from benchmarks.method.tables import load
from sit2.cli.progress import Screen
from sit2.cli.terminal import Terminal
from sit2.data.cache import networks_folder
from sit2.errors import ConfigError, Sit2Error
from sit2.experiments.grid import Cell, GridRun, Place


def main() -> None:
    parser = argparse.ArgumentParser(prog="benchmarks.method", description=__doc__)
    parser.add_argument("suites", nargs="*", default=["ten"], metavar="SUITE", help=", ".join(suite.names()))
    parser.add_argument(
        "--data",
        nargs="+",
        default=[],
        metavar="DATA",
        help="folders or manifests, or name=path, in place of its sets",
    )
    parser.add_argument("--out", type=Path, help="folder of finished cells, for all suites")
    parser.add_argument("--workers", type=int, default=0, help="parallel trainings; 0: one per core")
    parser.add_argument("--results", type=Path, help="folder of the results' CSV files")
    parser.add_argument(
        "--set",
        nargs="+",
        action="extend",
        default=[],
        metavar="KEY=VALUE",
        help=f"change a setting of the suite, or its {', '.join(suite.DESIGN)}",
    )
    parser.add_argument(
        "--from-split",
        type=int,
        default=0,
        metavar="SPLIT",
        help="leave out the splits before this one; what the results have of them stays",
    )
    parser.add_argument("--page", action="store_true", help="only write README.md anew, from the results")
    parser.add_argument(
        "--contrast", action="store_true", help="only print the contrast that a suite declares"
    )
    parser.add_argument(
        "--power",
        action="store_true",
        help="only say what the contrast can show, by the spread of its results",
    )
    options = parser.parse_args()
    results, out = _folders(options)
    try:
        if options.page:
            page.write(results)
            return
        for name in options.suites:
            if options.power:
                print("\n".join(power.sentences(load(_there(results, name)))))
            elif options.contrast:
                print(declared_contrast(load(_there(results, name))).told())
            else:
                if out is None:
                    parser.error("--out is missing: name a folder for the finished cells")
                run = Run(
                    name, out, results / f"{name}.csv", workers=options.workers, from_split=options.from_split
                )
                whole = run(options.data, _changes(options.set))
                if options.data and run.rows:
                    print()
                    print(declared_contrast(load(run.results)).told())
                if not whole:
                    parser.exit(1)
    except Sit2Error as error:
        parser.exit(2, f"{', '.join(options.suites)}: {error}\n")


def _folders(options: argparse.Namespace) -> tuple[Path, Path | None]:
    """Return where the results are, and where the cells, if that is known."""
    if not options.data:
        return options.results or RESULTS, options.out
    results = options.results or options.out or Path("on-data")  # nothing is added to the committed ones
    return results, options.out or results / "cells"


def _there(results: Path, name: str) -> Path:
    suite.file_of(name)
    if not (path := results / f"{name}.csv").exists():
        raise ConfigError(
            f"there are no results in {path}\nrun the suite first, or name their folder: --results"
        )
    return path


def _changes(given: Sequence[str]) -> dict[str, Any]:
    changes = {}
    for one in given:
        key, equals, value = one.partition("=")
        if not equals:
            raise ConfigError(f"cannot read --set {one!r}\nexpected KEY=VALUE, such as --set splits=2")
        changes[key.replace("-", "_")] = yaml.safe_load(value)
    return changes


@dataclass
class Run:
    """A suite on its way: ``results`` grows cell by cell."""

    suite: str
    out: Path
    results: Path
    workers: int = 0
    from_split: int = 0
    rows: list[dict[str, Any]] = field(default_factory=list)  # of finished rounds
    _kept: set[Path] = field(default_factory=set)

    def __call__(self, data: Sequence[str] = (), changes: Mapping[str, Any] | None = None) -> bool:
        """Run what is not finished yet; say whether all of it could be run.

        Of ``data``, a set that cannot be used is left out, and it is said why.
        """
        parts = suite.read(self.suite, self.out, from_split=self.from_split, data=data, changes=changes)
        self.results.parent.mkdir(parents=True, exist_ok=True)
        whole = True
        for number, part in enumerate(parts):
            before = len(self.rows)
            try:
                self._run(part, quiet=number > 0 and not data)
            except Sit2Error as error:
                if not data:
                    raise
                whole, name = False, part.grid.sources[0].name
                print(f"{name} is left out: {error}", file=sys.stderr)
                del self.rows[before:]  # of a set all repeats, or none
        if not whole:
            self._write([])
        return whole

    def _run(self, part: suite.Part, *, quiet: bool) -> None:
        config = replace(part.config, workers=self.workers)
        with Terminal(Screen(quiet=quiet)) as terminal:
            networks = networks_folder(config.cache, self.out / "networks")
            work = GridRun(part.grid, config, self.out / "cells", networks, terminal)
            for number, drawn in enumerate(work.rounds()):
                if not number and not quiet:
                    for sentence in fewer_labels(drawn):
                        print(sentence)
                places = work.measure(drawn)
                at = {(place.name, place.labels): place for place in places}

                def rows(cells: list[Cell], at: Mapping[Any, Place] = at) -> list[dict[str, Any]]:
                    return [row_of(cell, at[cell.dataset, cell.labels], part.variant) for cell in cells]

                def grown(cells: list[Cell], at: Mapping[Any, Place] = at) -> None:
                    for cell in cells:
                        self._keep(cell, at[cell.dataset, cell.labels], part.variant)
                    self._write(rows(cells, at))

                self.rows.extend(rows(work.answer(places, grown=grown)))

    def _keep(self, cell: Cell, place: Place, variant: str | None) -> None:
        known = Path(f"{cell.dataset}/{cell.labels}/{cell.repeat}/{variant or cell.method}")
        if known not in self._kept:
            self._kept.add(known)
            kept.keep(self.out / "kept", cell, place.prepared.dataset.classes, variant)

    def _write(self, more: list[dict[str, Any]]) -> None:
        write_results(self.results, [*self.rows, *more], from_split=self.from_split)


def fewer_labels(places: Sequence[Place]) -> list[str]:
    """Say where there are fewer labels a class than are asked for: what there is, is taken."""
    sentences = []
    for place in places:
        labels = place.prepared.dataset.labels
        for split, asked in (("train", place.labels), ("val", place.config.val_per_class)):
            counts = np.bincount(
                labels[place.prepared.rows(split)], minlength=len(place.prepared.dataset.classes)
            )
            if asked is not None and (fewer := int((counts < asked).sum())):
                what = {"train": "training", "val": "validation"}[split]
                sentences.append(
                    f"{place.name}: {fewer} of {len(counts)} classes have fewer than the {asked} {what} images "
                    f"that are asked for, {counts.min()} at least; what there is, is taken"
                )
    return sentences


if __name__ == "__main__":
    main()
