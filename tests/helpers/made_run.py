"""Makes run folders without training: predictions are given, so that every figure can be computed by hand."""

from __future__ import annotations

import json
from collections.abc import Sequence
from pathlib import Path
from typing import Any

import numpy as np
from PIL import Image

from sit2.confusion.matrix_file import matrix_table
from sit2.confusion.pairs import measure, select_pairs
from sit2.confusion.pairs_file import pairs_table
from sit2.confusion.predictions_file import predictions_table
from sit2.data.samples import Samples
from sit2.evaluation.metrics import compute_metrics
from sit2.evaluation.statistics import compare_all
from sit2.events import EpochEnded
from sit2.records import FloatArray, IntArray, Predictions
from sit2.report.data import load_run
from sit2.report.page import render
from sit2.report.run_page import run_context
from sit2.seeds import Seeds
from sit2.storage.run_folder import RunFolder, file_name
from sit2.storage.run_info import FORMAT_VERSION
from sit2.training.history import history_table

SIDE = 32


def chances(labels: IntArray, predicted: IntArray, classes: int, sure: float = 0.8) -> FloatArray:
    """Return (N, K) probabilities: ``sure`` for the predicted class, the others share the rest evenly."""
    rest = (1 - sure) / (classes - 1)
    table = np.full((len(labels), classes), rest)
    table[np.arange(len(labels)), predicted] = sure
    return table


def epochs(method: str, *rows: tuple[str, int, float, float | None, float | None]) -> list[EpochEnded]:
    """Return a training's history from (phase, samples seen, loss, validation accuracy and log-loss)."""
    return [
        EpochEnded(
            name=method,
            method=method,
            phase=phase,
            epoch=number,
            step=number,
            steps=len(rows),
            samples_seen=seen,
            loss=loss,
            lr=0.001,
            val_accuracy=accuracy,
            val_log_loss=log_loss,
            seconds=0.5 * number,
        )
        for number, (phase, seen, loss, accuracy, log_loss) in enumerate(rows, 1)
    ]


def write_run(
    folder: Path,
    classes: Sequence[str],
    labels: IntArray,
    control: IntArray | None,
    method: IntArray,
    *,
    recipes: Sequence[str] = ("plain", "multi-label"),
    images: Path | None = None,
    names: Sequence[str] | None = None,
    groups: Sequence[str] = (),
    settings: dict[str, Any] | None = None,
    **info: Any,
) -> Path:
    """Write the folder of a run whose recipes predicted ``control`` and ``method`` on N test images.

    Without a control the run is of the last recipe alone.
    """
    number, run = len(classes), RunFolder(folder)
    ids = list(names or [f"{classes[k]}/{n:05d}.png" for n, k in enumerate(labels)])
    own = recipes[1:] if control is None else recipes
    given = dict(zip(own, [method] if control is None else [control, method], strict=True))
    tables = {recipe: chances(labels, predicted, number) for recipe, predicted in given.items()}
    predictions = {m: Predictions(tuple(ids), labels, p, tuple(groups)) for m, p in tables.items()}
    first = tables[own[0]]
    pairs = select_pairs(first, labels, classes=list(classes))
    samples = samples_of(ids, [classes[k] for k in labels], groups, number)
    run.write_table("samples.csv", samples.table())
    for recipe, one in predictions.items():
        run.write_table(f"predictions/{file_name(recipe)}.csv", predictions_table(one, classes, ids))
    rows = [("train", 10 * n, 1 / n, 0.5 + n / 10 if n > 1 else None, None) for n in (1, 2, 3)]
    run.write_table("history.csv", history_table([(m, [epochs(m, *rows)]) for m in given]))
    run.write_table("confusion/pairs.csv", pairs_table(pairs))
    run.write_table("confusion/matrix.csv", matrix_table(measure(first, labels, list(classes))))
    run.write_json("metrics.json", {m: {"test": compute_metrics(p, pairs)} for m, p in predictions.items()})
    controls = {} if control is None else {recipes[1]: recipes[0]}
    tests = compare_all(predictions, controls, seeds=Seeds(0), resamples=200)
    run.write_json("comparison.json", {m: test.to_json() for m, test in tests.items()})
    run.write_yaml(
        "config.yaml",
        {"seed": 0, "method": recipes[1], "control": "auto", "resize": "stretch", **(settings or {})},
    )
    base = {
        "format_version": FORMAT_VERSION,
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
    run.write_json("run.json", base | info)
    return folder


def samples_of(ids: Sequence[str], labels: Sequence[str], groups: Sequence[str], classes: int) -> Samples:
    """Return test images, as training images the first ``4 * classes`` under another id, and a broken file."""
    more = 4 * classes
    count = len(ids[:more])
    return Samples(
        (*ids, *(f"train-{name}" for name in ids[:more]), "broken.png"),
        (*ids, *ids[:more], "broken.png"),
        (*labels, *labels[:more], labels[0]),
        (*groups, *groups[:more], "") if groups else (),
        ("test",) * len(ids) + ("train",) * count + ("unused",),
        ("",) * (len(ids) + count) + ("truncated",),
    )


def write_images(root: Path, classes: Sequence[str], labels: IntArray, seed: int = 0) -> Path:
    """Write the test images that :func:`write_run` names by default: noise, which hardly compresses."""
    draw = np.random.default_rng(seed)
    for n, k in enumerate(labels):
        path = root / classes[k] / f"{n:05d}.png"
        path.parent.mkdir(parents=True, exist_ok=True)
        Image.fromarray(draw.integers(0, 256, (SIDE, SIDE, 3), dtype=np.uint8)).save(path)
    return root


def random_run(
    folder: Path, number: int, count: int, *, images: Path | None = None, seed: int = 0, single: bool = False
) -> Path:
    """Write a run of ``number`` classes and ``count`` test images, a third of them wrong, near its class.

    ``single``: of plain training alone, without a control.
    """
    draw = np.random.default_rng(seed)
    labels = np.arange(count) % number
    near = (labels + draw.choice([-1, 1], count)) % number
    answers = [np.where(draw.random(count) < fraction, near, labels) for fraction in (0.35, 0.25)]
    classes = [f"class {k:03d}" for k in range(number)]
    if images is not None:
        write_images(images, classes, labels)
    if single:
        return write_run(folder, classes, labels, None, answers[1], recipes=("", "plain+tta"), images=images)
    return write_run(folder, classes, labels, *answers, images=images)


def page_text(run: Path, *, room: int = 5_000_000) -> str:
    """Return a run's page as ``write_report`` makes it, without the figures and tables beside it."""
    return render("run.html", run_context(load_run(run), room))


def write_json(path: Path, content: Any) -> None:
    """Write JSON."""
    path.write_text(json.dumps(content), encoding="utf-8")


def change_json(path: Path, **more: Any) -> None:
    """Change some entries of a JSON object."""
    write_json(path, json.loads(path.read_text(encoding="utf-8")) | more)
