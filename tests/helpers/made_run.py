"""Makes run folders without training: predictions are given, so that every figure can be computed by hand."""

from __future__ import annotations

import json
from collections.abc import Sequence
from pathlib import Path
from typing import Any

import numpy as np
import pandas as pd
import yaml
from PIL import Image

from sit2.confusion.pairs import matrix_table, measure, pairs_table, select_pairs
from sit2.confusion.predictions_file import predictions_table
from sit2.evaluation.metrics import compute_metrics
from sit2.evaluation.statistics import compare_all
from sit2.records import FloatArray, IntArray, Predictions
from sit2.seeds import Seeds

SIDE = 32


def chances(labels: IntArray, predicted: IntArray, classes: int, sure: float = 0.8) -> FloatArray:
    """Return (N, K) probabilities: ``sure`` for the predicted class, the rest for the true one, or shared."""
    rest = (1 - sure) / (classes - 1)
    table = np.full((len(labels), classes), rest)
    table[np.arange(len(labels)), predicted] = sure
    return table


def write_run(
    folder: Path,
    classes: Sequence[str],
    labels: IntArray,
    control: IntArray,
    method: IntArray,
    *,
    images: Path | None = None,
    names: Sequence[str] | None = None,
    groups: Sequence[str] = (),
    **info: Any,
) -> Path:
    """Write the folder of a run whose two methods predicted ``control`` and ``method`` on N test images."""
    number = len(classes)
    ids = list(names or [f"{classes[k]}/{n:05d}.png" for n, k in enumerate(labels)])
    given = {"plain": control, "multi-label": method}
    tables = {m: chances(labels, predicted, number) for m, predicted in given.items()}
    predictions = {m: Predictions(tuple(ids), labels, p, tuple(groups)) for m, p in tables.items()}
    pairs = select_pairs(tables["plain"], labels, classes=list(classes))
    confusion = measure(tables["plain"], labels, list(classes))
    for part in ("confusion", "predictions", "history", "synthesis"):
        (folder / part).mkdir(parents=True, exist_ok=True)
    samples = [(i, i, classes[k], g, "test", "") for i, k, g in zip(ids, labels, groups or ids, strict=True)]
    samples += [(f"train-{i}", i, c, g, "train", "") for i, _, c, g, _, _ in samples[: 4 * number]]
    samples.append(("broken.png", "broken.png", classes[0], "", "unused", "truncated"))
    columns = ["id", "path", "label", "group", "split", "problem"]
    table = pd.DataFrame(samples, columns=columns)
    table["group"] = table["group"] if groups else ""
    table.to_csv(folder / "samples.csv", index=False)
    for m, p in predictions.items():
        predictions_table(p, classes, ids).to_csv(folder / "predictions" / f"{m}.csv", index=False)
        steps = [
            {"phase": "train", "samples_seen": 10 * n, "loss": 1 / n, "validation": None} for n in (1, 2, 3)
        ]
        write_json(folder / "history" / f"{m}.json", {"progress": steps})
    pairs_table(pairs).to_csv(folder / "confusion" / "pairs.csv", index=False)
    matrix_table(confusion).to_csv(folder / "confusion" / "matrix.csv", index=False)
    metrics = {m: {"test": compute_metrics(p, pairs)} for m, p in predictions.items()}
    write_json(folder / "metrics.json", metrics)
    tests = compare_all(predictions, "plain", seeds=Seeds(0), resamples=200)
    write_json(folder / "comparison.json", {m: test.to_json() for m, test in tests.items()})
    (folder / "config.yaml").write_text(
        yaml.safe_dump({"seed": 0, "method": "multi-label", "resize": "stretch"})
    )
    base = {
        "format_version": 1,
        "status": "complete",
        "command": "sit2 train DATA",
        "data": "/data/set",
        "methods": list(given),
        "versions": {"python": "3.11"},
        "machine": {"processor": "x86_64"},
        "seconds": {"images": 1.0},
        "root": str(images or folder / "nowhere"),
        "dataset": {"name": "made", "fingerprint": "f" * 32, "classes": list(classes), "images": len(labels)},
        "samples_seen": dict.fromkeys(given, 100),
        "training_seconds": dict.fromkeys(given, 2.0),
    }
    write_json(folder / "run.json", base | info)
    return folder


def write_images(root: Path, classes: Sequence[str], labels: IntArray, seed: int = 0) -> Path:
    """Write the test images that :func:`write_run` names by default: noise, which hardly compresses."""
    draw = np.random.default_rng(seed)
    for n, k in enumerate(labels):
        path = root / classes[k] / f"{n:05d}.png"
        path.parent.mkdir(parents=True, exist_ok=True)
        Image.fromarray(draw.integers(0, 256, (SIDE, SIDE, 3), dtype=np.uint8)).save(path)
    return root


def random_run(folder: Path, number: int, count: int, *, images: Path | None = None, seed: int = 0) -> Path:
    """Write a run of ``number`` classes and ``count`` test images, a third of them wrong, near its class."""
    draw = np.random.default_rng(seed)
    labels = np.arange(count) % number
    near = (labels + draw.choice([-1, 1], count)) % number
    answers = [np.where(draw.random(count) < share, near, labels) for share in (0.35, 0.25)]
    classes = [f"class {k:03d}" for k in range(number)]
    if images is not None:
        write_images(images, classes, labels)
    return write_run(folder, classes, labels, *answers, images=images)


def write_json(path: Path, content: Any) -> None:
    """Write JSON."""
    path.write_text(json.dumps(content), encoding="utf-8")
