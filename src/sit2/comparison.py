"""Many runs and what they say: does a method help, by how much, and how sure is that?

run.json  config.yaml  results.csv  cells/  pairs/  summary.csv  comparison.json  ranks.json  figures/
"""

from __future__ import annotations

import shlex
import shutil
import sys
from pathlib import Path
from typing import Any

import pandas as pd

from sit2.cells import Cell, Grid, GridRun
from sit2.config import Config
from sit2.evaluation.metrics import METRICS
from sit2.report.page import write_report
from sit2.runfolder import RunFolder
from sit2.screen import Screen

COLUMNS = ("dataset", "method", "split", "seed", "budget", *METRICS, "seconds")  # of results.csv


def compare_methods(
    grid: Grid, out: Path, config: Config, *, screen: Screen, overwrite: bool = False
) -> list[Cell]:
    """Run a grid in ``out``, where whatever an earlier call finished is taken up.

    Raises:
        Sit2Error: for anything that the caller can mend.
    """
    folder = _open(grid, out, config, overwrite=overwrite)
    rows: dict[tuple[Any, ...], dict[str, Any]] = {}

    def grown(cells: list[Cell]) -> None:
        for cell in cells:
            key = (cell.dataset, cell.labels, cell.method, *cell.repeat)
            if key not in rows:
                rows[key] = cell.row()
        order = [rows[c.dataset, c.labels, c.method, *c.repeat] for c in cells]
        folder.write_table("results.csv", pd.DataFrame(order, columns=list(COLUMNS)))

    with folder.running(), folder.stage("cells"):
        cells = GridRun(grid, config, folder.path, screen, grown).run()
    folder.save_info(cells=len(cells), hours=round(sum(c.outcome.seconds for c in cells) / 3600, 3))
    folder.finish()
    write_report(folder.path)
    return cells


def _open(grid: Grid, out: Path, config: Config, *, overwrite: bool) -> RunFolder:
    """Open a folder for a comparison: a new one, or one that a comparison was made in before."""
    cells = out / "cells"
    folder = RunFolder.open(
        out,
        settings=config.as_dict(),
        identity={
            "data": [str(source.path.expanduser().resolve()) for source in grid.sources],
            "methods": list(grid.methods),
        },
        command=shlex.join(["sit2", *sys.argv[1:]]),
        overwrite=overwrite or cells.is_dir(),
    )
    if overwrite:
        shutil.rmtree(cells, ignore_errors=True)
    folder.begin()
    return folder
