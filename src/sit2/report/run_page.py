"""What the page of a run shows."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import replace
from pathlib import Path
from typing import Any

from sit2.config.recipe import Recipe
from sit2.errors import ConfigError
from sit2.evaluation.metrics import METRICS, RANKED, Metrics, accuracy_interval
from sit2.evaluation.selective import risk_coverage
from sit2.evaluation.words import percent, ratio
from sit2.records import SPLITS
from sit2.report import charts, quality, wording
from sit2.report.about import about
from sit2.report.classes import class_rows
from sit2.report.data import RunData
from sit2.report.gradcam import HeatMaps
from sit2.report.images import Album
from sit2.report.matrix import FEW_OF_A_CLASS, GRAPH_FROM, graph, matrix_of, matrix_view, offered, order_of
from sit2.report.outside import MOST, errors_outside
from sit2.report.pairs import pair_rows, stories
from sit2.report.tables import METRIC_TITLES, Table

# Of the file, for images; the rest is text.
FRACTIONS = {"pairs": 0.24, "heat": 0.08, "matrix": 0.38, "batches": 0.08}


def run_context(run: RunData, room: int) -> dict[str, Any]:
    """Return everything that ``run.html`` shows; ``room`` is how many bytes the page may have."""
    rows, pairs = class_rows(run), pair_rows(run)
    albums = Album.of(run, room).divided(FRACTIONS)
    heat = HeatMaps(run, albums["heat"])
    told = stories(run, pairs, albums["pairs"], heat)
    behind = albums["matrix"]
    view = matrix_view(run, behind) if run.predictions else None
    order = order_of(run)
    accuracy = charts.validation_accuracy(run)
    plots = [*charts.losses(run), *filter(None, [accuracy, charts.calibration(run), charts.risk(run)])]
    differences = charts.differences(run) if run.tests else None
    matrices = {recipe: matrix_of(one) for recipe, one in run.predictions.items()}
    drawn = run.method is not None and len(run.classes) >= GRAPH_FROM
    return {
        "run": run,
        "title": run.info.dataset.name or run.folder.name,
        "status": wording.status(run),
        "question": wording.question(run),
        "answer": wording.answer(run),
        "facts": quality.facts(run),
        "figures": quality.weakest_first(run.figures),
        "few": FEW_OF_A_CLASS,
        "watch": quality.watch_out(run),
        "unfinished": quality.unfinished(run),
        "helped": None if run.test is None else (wording.headline(run.test), wording.verdict(run.test)),
        "on_which_classes": wording.on_which_classes(run, rows),
        "trust": wording.trust(run),
        "next": wording.what_next(run),
        "metrics": metric_rows(run),
        "metric_titles": [METRIC_TITLES[name] for name in measured_metrics(run)],
        "sets": None if run.method is None else run.sets.get(run.method),
        "areas": [(recipe, risk_coverage(one)[2]) for recipe, one in run.predictions.items()],
        "rows": rows,
        "pairs": pairs,
        "measured_by": None if run.info.confusion is None else quality.measured_by(run.info.confusion),
        "outside": errors_outside(run),
        "most_outside": MOST,
        "stories": told,
        "heat": heat,
        "view": view,
        "offered": [] if view is None else offered(view),
        "graph": graph(matrices[run.shown[-1]], run.classes, order) if drawn else None,
        "differences": differences,
        "plots": plots,
        "charts": [*filter(None, [differences]), *plots],
        "matrices": [(recipe, matrix, run.classes, order) for recipe, matrix in matrices.items()],
        "album": behind,
        "counts": class_counts(run),
        "left_out": run.samples.unusable,
        "batches": batches(run, albums["batches"]),
        "about": about(run.info, run.settings, run.folder),
        "speed": speed(run),
    }


def measured_metrics(run: RunData) -> list[str]:
    """Return the metrics that were measured: errors within pairs are not, where no pair was chosen."""
    return [name for name in METRICS if any(values[name] is not None for values in run.metrics.values())]


def metric_rows(run: RunData) -> list[tuple[str, str, list[str]]]:
    """Return (recipe, what it is, cells): the main recipe first; the accuracy with its interval."""
    order = sorted(run.metrics, key=lambda recipe: (recipe != run.method, recipe in run.references))
    rows = []
    for recipe in order:
        cells = [metric_words(run.metrics[recipe], name) for name in measured_metrics(run)]
        if recipe in run.predictions:
            low, high = accuracy_interval(run.predictions[recipe])
            cells[0] += f" ({100 * low:.1f} to {100 * high:.1f})"
        rows.append((recipe, _role(run, recipe), cells))
    return rows


def _role(run: RunData, recipe: str) -> str:
    if recipe in run.references:
        return "reference, without training"
    return "control" if len(run.shown) > 1 and recipe == run.shown[0] else ""


def metric_words(values: Metrics, name: str) -> str:
    """Return one figure as the page shows it."""
    value = values[name]
    if value is None:
        return "–"
    if name in RANKED:
        return ratio(value)
    return f"{value:.3f}" if name == "log_loss" else percent(value)


def class_counts(run: RunData) -> list[tuple[str, list[int]]]:
    """Return (class, images in each of SPLITS)."""
    counts = {name: dict.fromkeys(SPLITS, 0) for name in run.classes}
    for label, split in zip(run.samples.labels, run.samples.splits, strict=True):
        if label in counts:
            counts[label][split] += 1  # type: ignore[index]
    return [(name, list(own.values())) for name, own in counts.items()]


def batches(run: RunData, album: Album) -> list[tuple[str, str]]:
    """Return (trainings and phases, sheet) of what networks are trained on, each once, as far as there is room."""
    names = _trainings(run)
    alike: dict[bytes, list[Path]] = {}  # trainings of one seed begin with the same images
    for path in sorted((run.folder / "batches").glob("*.png")):
        alike.setdefault(path.read_bytes(), []).append(path)
    found = []
    for paths in alike.values():
        parts = [path.stem.partition("_") for path in paths]  # the phase with its number: 1_pretrain
        told = [f"{names.get(name, name)}, phase {phase.replace('_', ': ', 1)}" for name, _, phase in parts]
        if address := album.sheet(paths[0]):
            found.append(("; ".join(told), address))
    return found


def _trainings(run: RunData) -> Mapping[str, str]:
    """Return the names of trainings by those of their files."""
    names = {}
    for text in run.info.methods:
        try:
            recipe = replace(Recipe.parse(text), predictors=())
        except ConfigError:
            continue
        names[recipe.file_name] = str(recipe)
    return names


def speed(run: RunData) -> Table:
    """Return seconds and images per second of every stage and training."""
    info, rows = run.info, []
    for stage, seconds in info.seconds.items():
        images = info.dataset.images if stage == "images" else 0
        rows.append([stage, f"{seconds:.1f}", _rate(images, seconds)])
    for recipe, seconds in info.training_seconds.items():
        rows.append(
            [f"training {recipe}", f"{seconds:.1f}", _rate(info.samples_seen.get(recipe, 0), seconds)]
        )
    return Table("speed", "Time", ("stage", "seconds", "images per second"), rows)


def _rate(images: float, seconds: float) -> str:
    return f"{images / seconds:,.0f}" if images and seconds else "–"
