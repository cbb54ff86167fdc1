"""The committed results: one CSV file a suite, a row for each finished cell."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import asdict
from pathlib import Path
from typing import Any

import numpy as np
import pandas as pd

import sit2
from benchmarks.method.price import price_of
from sit2.evaluation.results import COLUMNS
from sit2.evaluation.selective import risk_coverage
from sit2.experiments.grid import Cell, Place
from sit2.storage.files import atomic

RESULTS = Path(__file__).parent / "results"
MORE = (
    "labels_per_class",
    "pairs",
    "train_images",
    "test_images",
    "images",
    "backbone",
    "image_size",
    "version",
    "classes",
    "val_images",
    "aurc",
    "accuracy_at_80",
    "samples_trained",
    "forward_passes_once",
    "forward_passes",
)  # the last seven since 2026-11-28: older files lack them
COVERAGE = 0.8  # fraction of the test images that are answered, the most confident first


def row_of(cell: Cell, place: Place, variant: str | None = None) -> dict[str, Any]:
    """Return a cell's row, in the contract's columns and ours; a variant stands under its own name."""
    config = place.config
    answered, risk, area = risk_coverage(cell.predictions)
    own = {
        "backbone": config.backbone,
        "image_size": config.image_size,
        "version": sit2.__version__,
        "classes": len(place.prepared.dataset.classes),
        "aurc": area,
        "accuracy_at_80": 1 - float(risk[np.searchsorted(answered, COVERAGE - 1e-9)]),
        **asdict(price_of(cell, place)),
    }
    return {**cell.row(), "method": variant or cell.method, **own}


def write_results(path: Path, rows: Sequence[Mapping[str, Any]], *, from_split: int = 0) -> None:
    """Write the rows of finished cells.

    Rows of splits before ``from_split`` that the file has already stay in front of them, as they are, whatever
    their methods are called.
    """
    table = pd.DataFrame(rows, columns=[*COLUMNS, *MORE])
    before = table.iloc[:0]
    if from_split and path.exists():
        before = pd.read_csv(path, dtype=str, keep_default_na=False)
        before = before[before["split"].astype(int) < from_split].reindex(
            columns=table.columns, fill_value=""
        )
    with atomic(path) as temporary:
        before.to_csv(temporary, index=False, lineterminator="\n")
        table.to_csv(temporary, mode="a", header=False, index=False, float_format="%.6f", lineterminator="\n")
