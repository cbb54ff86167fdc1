"""Makes the folder of a comparison without training: scores and predictions are drawn."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import numpy as np

from sit2.evaluation.metrics import METRICS
from sit2.evaluation.ranks import rank_methods
from sit2.evaluation.results import results_table, summarise, summary_table
from sit2.evaluation.verdicts import PairedComparison, judge
from sit2.records import FloatArray, Predictions
from sit2.seeds import Seeds
from sit2.storage.run_folder import RunFolder
from sit2.storage.run_info import FORMAT_VERSION

RECIPES = ("plain", "mixup", "not-sure")
IMAGES = 60


def cell_rows(
    datasets: int, labels: tuple[int | None, ...], splits: int, *, gain: float = 0.0, seed: int = 0
) -> list[dict[str, Any]]:
    """Return the rows of finished cells; ``gain`` is how much better every method is than plain training."""
    draw = np.random.default_rng(seed)
    rows = []
    for dataset in range(1, datasets + 1):
        for number in labels:
            for split in range(splits):
                hard = draw.normal(0, 0.01)
                for recipe in RECIPES:
                    level = 0.6 + 0.05 * dataset + (number or 0) / 1000 + hard + draw.normal(0, 0.005)
                    accuracy = round(level + gain * (recipe != "plain"), 4)
                    metrics = dict.fromkeys(METRICS, accuracy) | {"pair_error": None, "log_loss": 1.2345}
                    rows.append(
                        {
                            "dataset": f"set{dataset}",
                            "method": recipe,
                            "split": split,
                            "seed": 0,
                            "budget": 900,
                        }
                        | metrics
                        | {"seconds": 1.5, "labels_per_class": number}
                    )
    return rows


def predictions_of(accuracy: float, split: int) -> Predictions:
    """Return predictions of two classes that are as accurate as they can be told to be."""
    labels = np.arange(IMAGES) % 2
    wrong = np.arange(IMAGES) < round((1 - accuracy) * IMAGES)
    probabilities: FloatArray = np.eye(2)[np.where(wrong, 1 - labels, labels)] * 0.8 + 0.1
    return Predictions(tuple(f"{split}-{n}" for n in range(IMAGES)), labels, probabilities)


def paired(rows: list[dict[str, Any]]) -> list[PairedComparison]:
    """Pair every recipe's rows with those of plain training."""
    found = []
    for dataset, labels in dict.fromkeys((row["dataset"], row["labels_per_class"]) for row in rows):
        own = [row for row in rows if (row["dataset"], row["labels_per_class"]) == (dataset, labels)]
        by = {
            recipe: {row["split"]: row["accuracy"] for row in own if row["method"] == recipe}
            for recipe in RECIPES
        }
        for recipe in RECIPES[1:]:
            repeats = tuple(
                (predictions_of(score, split), predictions_of(by["plain"][split], split))
                for split, score in by[recipe].items()
            )
            scores = tuple(by[recipe].values()), tuple(by["plain"].values())
            found.append(
                PairedComparison(
                    dataset,
                    labels,
                    recipe,
                    "plain",
                    "accuracy",
                    *scores,
                    repeats,
                    train_fraction=0.1,
                    test_fraction=0.3,
                )
            )
    return found


def made_comparison(
    folder: Path,
    *,
    datasets: int = 2,
    labels: tuple[int | None, ...] = (None,),
    splits: int = 3,
    gain: float = 0.0,
    **info: Any,
) -> Path:
    """Write the folder of a finished comparison of RECIPES."""
    run, rows = RunFolder(folder), cell_rows(datasets, labels, splits, gain=gain)
    run.write_table("results.csv", results_table(rows))
    run.write_table("summary.csv", summary_table(summarise(rows)))
    results = judge(paired(rows), seeds=Seeds(0), resamples=50)
    run.write_json("comparison.json", [result.to_json() for result in results])
    names = [f"set{d}" for d in range(1, datasets + 1)]
    scores = np.array([[mean_of(rows, name, recipe) for recipe in RECIPES] for name in names])
    if datasets > 1:
        run.write_json("ranks.json", rank_methods(scores, RECIPES).to_json())
    run.write_yaml("config.yaml", {"seed": 0, "control": "auto"})
    base = {
        "format_version": FORMAT_VERSION,
        "status": "complete",
        "command": "sit2 compare set1 set2 -o out",
        "data": [f"/data/{name}" for name in names],
        "methods": list(RECIPES),
        "versions": {"python": "3.11"},
        "machine": {},
        "seconds": {"cells": 9.0},
    }
    run.write_json("run.json", base | info)
    return folder


def mean_of(rows: list[dict[str, Any]], dataset: str, recipe: str) -> float:
    """Return the mean accuracy of a recipe on a data set."""
    return float(np.mean([r["accuracy"] for r in rows if (r["dataset"], r["method"]) == (dataset, recipe)]))
