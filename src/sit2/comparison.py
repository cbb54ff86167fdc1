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
from sit2.errors import RunFolderError
from sit2.evaluation.metrics import METRICS
from sit2.runfolder import RunFolder, read_json
from sit2.screen import Screen

COLUMNS = ("dataset", "method", "split", "seed", "budget", *METRICS, "seconds")  # of results.csv


def compare_methods(
    grid: Grid, out: Path, config: Config, *, screen: Screen, overwrite: bool = False
) -> list[Cell]:
    """Run a grid in ``out``, where whatever an earlier call finished is taken up.

    Raises:
        Sit2Error: for anything that the caller can mend.
    """
    with _open(grid, out, config, overwrite=overwrite) as folder:
        if overwrite:
            shutil.rmtree(folder.path / "cells", ignore_errors=True)
        folder.begin()
        return _run(grid, folder, config, screen)


def _run(grid: Grid, folder: RunFolder, config: Config, screen: Screen) -> list[Cell]:
    """Run the grid; results.csv grows with every cell."""
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
    folder.finish(notes=screen.notes)
    return cells


def _open(grid: Grid, out: Path, config: Config, *, overwrite: bool) -> RunFolder:
    """Open a folder for a comparison: a new one, or one that a comparison was made in before."""
    return RunFolder.open(
        out,
        settings=config.as_dict(),
        identity={
            "data": [str(source.path.expanduser().resolve()) for source in grid.sources],
            "methods": list(grid.methods),
        },
        command=shlex.join(["sit2", *sys.argv[1:]]),
        overwrite=overwrite or _is_comparison(out),
    )


def _is_comparison(out: Path) -> bool:
    try:
        return isinstance(read_json(out / "run.json").get("data"), list)  # a run has one data set
    except RunFolderError:
        return (out / "cells").is_dir()
