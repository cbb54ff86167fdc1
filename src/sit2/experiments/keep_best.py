"""The best recipe of a comparison as a run of its own: a model to use, with its page."""

from __future__ import annotations

from collections.abc import Sequence
from pathlib import Path

import numpy as np

from sit2.config.schema import changed
from sit2.evaluation.metrics import sample_losses
from sit2.events import Note
from sit2.experiments.design import Grid
from sit2.experiments.grid import Cell, GridRun
from sit2.experiments.run import Notes, open_run, run_grid
from sit2.storage.run_folder import RunFolder

BEST = "best"  # the folder, in that of the comparison


def keep_best(work: GridRun, folder: RunFolder, cells: Sequence[Cell]) -> dict[str, Path]:
    """Write a run of the best recipe for each data set, on the first split; networks that are there are used.

    The best has the lowest log-loss on the validation images, in the mean over the repeats; of several numbers of
    labels the largest counts. The test images choose nothing.

    Returns:
        "recipe on data set" → the run's folder.
    """
    written = {}
    split, seed = work.grid.repeats(work.config)[0]
    for source in work.grid.sources:
        own = [cell for cell in cells if cell.dataset == source.name]
        labels = max((cell.labels for cell in own if cell.labels is not None), default=None)
        losses: dict[str, list[float]] = {}
        for cell in own:
            if cell.labels == labels and len(cell.validation.ids):
                losses.setdefault(cell.method, []).append(float(sample_losses(cell.validation).mean()))
        if not losses:
            work.listener(
                Note(f"{source.name} has no validation images to choose the best recipe by: none is kept")
            )
            continue
        best = min(losses, key=lambda name: float(np.mean(losses[name])))
        more = {
            "method": best,
            "control": "none",
            "split_seed": split,
            "seed": seed,
            "labels_per_class": labels,
        }
        config = changed(work.config, **source.settings, **more)
        target = folder.path / BEST
        target = target if len(work.grid.sources) == 1 else target / source.name
        grid = Grid((source,), (config.recipe,), splits=1, trials=work.grid.trials, is_run=True)
        data = source.data
        with open_run(data, target, config, grid.recipes) as run:
            heard = Notes(work.listener)
            run_grid(GridRun(grid, config, run.state, work.networks, heard), run, config, heard)
        written[f"{best} on {source.name}"] = target
    return written
