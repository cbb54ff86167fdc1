"""What every cell said, kept beside the results so that new questions need no new training.

One file for each cell, ``<folder>/<data set>, <labels> labels, split <n>, seed <n>/<method>.npz``: probabilities of
the validation images (of predictors that were fitted without each) and of the test images, with ids, labels and
classes.
"""

from __future__ import annotations

from hashlib import blake2b
from pathlib import Path
from urllib.parse import quote

import numpy as np

from sit2.experiments.grid import Cell
from sit2.records import Predictions
from sit2.storage.files import atomic

PARTS = ("validation", "test")
MOST = 120  # characters of a name


def keep(folder: Path, cell: Cell, classes: tuple[str, ...], method: str | None = None) -> Path:
    """Write what a cell said; return the file. A variant stands under its own name."""
    labels = "all" if cell.labels is None else cell.labels
    where = f"{_named(cell.dataset)}, {labels} labels, split {cell.split}, seed {cell.seed}"
    path = folder / where / f"{_named(method or cell.method)}.npz"
    content = {"classes": np.array(classes), "pairs": np.array([(p.a, p.b) for p in cell.pairs if p.chosen])}
    for name, said in zip(PARTS, (cell.validation, cell.predictions), strict=True):
        content |= {
            f"{name}_ids": np.array(said.ids),
            f"{name}_labels": said.labels,
            f"{name}_probabilities": said.probabilities,
        }
    path.parent.mkdir(parents=True, exist_ok=True)
    with atomic(path) as temporary, temporary.open("wb") as file:
        np.savez_compressed(file, **content)
    return path


def _named(name: str) -> str:
    """Return a name as every file system takes it."""
    text = quote(name, safe=" @+")
    return (
        text
        if len(text) <= MOST
        else f"{text[: MOST - 9]}-{blake2b(name.encode(), digest_size=4).hexdigest()}"
    )


def read(path: Path) -> dict[str, Predictions]:
    """Return the predictions of a cell by part: "validation" and "test"."""
    with np.load(path, allow_pickle=False) as content:
        return {
            name: Predictions(
                tuple(content[f"{name}_ids"].tolist()),
                content[f"{name}_labels"],
                content[f"{name}_probabilities"],
            )
            for name in PARTS
        }
