"""The page: one HTML file that opens offline, asks for no address outside itself, and prints."""

from __future__ import annotations

import base64
import hashlib
import math
from collections.abc import Mapping
from dataclasses import replace
from pathlib import Path
from typing import Any

from sit2.errors import ConfigError
from sit2.evaluation.words import p_value, percent
from sit2.records import SPLITS
from sit2.report import charts, wording
from sit2.report.about import about
from sit2.report.classes import class_rows
from sit2.report.compared import comparison_context
from sit2.report.comparison import is_comparison, load_comparison
from sit2.report.confusion import GRAPH_FROM, graph, heat_map, order_of, shortened
from sit2.report.data import RunData, load_run
from sit2.report.figures import write_figures
from sit2.report.heat import Heat
from sit2.report.images import Album
from sit2.report.pairs import pair_rows, stories
from sit2.report.tables import Table, comparison_tables, run_tables, write_tables
from sit2.storage.files import atomic

MEGABYTES = 5.0  # of the file
# Of the file, for images; the rest is text.
SHARES = {"pairs": 0.24, "heat": 0.08, "matrix": 0.38, "batches": 0.08}


def write_report(folder: Path, *, megabytes: float = MEGABYTES, last: bool = False) -> Path:
    """Write ``report.html``, ``figures/`` and ``tables/`` into a run folder or a comparison's folder.

    Args:
        folder: what ``sit2 train``, ``confusion`` or ``compare`` wrote.
        megabytes: how large the page may become; images are left out where there is no room.
        last: the page is the last that a run has to write: it tells of the run as complete.

    Returns:
        The page's path.

    Raises:
        RunFolderError: when it is no such folder, or a file in it is damaged.
        ConfigError: for a size that is none.
    """
    if not (math.isfinite(megabytes) and megabytes > 0):
        raise ConfigError(f"megabytes is {megabytes}\nexpected a number above 0")
    complete = {"status": "complete"} if last else {}
    if is_comparison(folder):
        data = load_comparison(folder)
        data = replace(data, info=data.info | complete)
        context, tables = comparison_context(data), comparison_tables(data)
        template = "compare.html"
    else:
        run = load_run(folder)
        run = replace(run, info=run.info | complete)
        context, tables = run_context(run, int(megabytes * 1e6)), run_tables(run)
        template = "run.html"
    write_figures(folder / "figures", context["charts"], context.get("matrices", ()))
    write_tables(folder / "tables", tables)
    with atomic(folder / "report.html") as path:
        # A path of bytes that are not UTF-8 is spelt out: no browser could follow it anyway.
        path.write_text(render(template, context), encoding="utf-8", errors="backslashreplace")
    return folder / "report.html"


def render(template: str, context: Mapping[str, Any]) -> str:
    """Fill a template; everything that comes from a run is escaped."""
    from jinja2 import Environment, PackageLoader, StrictUndefined

    environment = Environment(
        loader=PackageLoader("sit2.report"),
        autoescape=True,
        undefined=StrictUndefined,
        trim_blocks=True,
        lstrip_blocks=True,
    )
    environment.filters |= {
        "percent": lambda share: percent(share) if _known(share) else "–",
        "number": lambda value, digits=3: f"{value:.{digits}f}" if _known(value) else "–",
        "p_value": p_value,
        "tick": charts.tick_text,
        "short": shortened,
    }
    source = (Path(__file__).parent / "templates" / "page.js").read_text(encoding="utf-8")
    style = (Path(__file__).parent / "templates" / "page.css").read_text(encoding="utf-8")
    digest = base64.b64encode(hashlib.sha256(source.encode()).digest()).decode()
    return environment.get_template(template).render(
        context, script=source, style=style, script_hash=f"sha256-{digest}"
    )


def _known(value: float | None) -> bool:
    return value is not None and not math.isnan(value)


def run_context(run: RunData, room: int) -> dict[str, Any]:
    """Return everything that ``run.html`` shows."""
    pairs = pair_rows(run)
    albums = Album.of(run, room).divided(SHARES)
    heat = Heat(run, albums["heat"])
    told = stories(run, pairs, albums["pairs"], heat)
    behind = albums["matrix"]
    seen = heat_map(run, behind) if run.answers else None
    order = order_of(run)
    main = run.answers.get(run.method)
    plots = [*charts.losses(run), *filter(None, [charts.calibration(run)])]
    differences = charts.differences(run) if run.tests else None
    return {
        "run": run,
        "title": f"{run.info.get('dataset', {}).get('name', run.folder.name)}",
        "test": run.test,
        "wording": wording,
        "rows": class_rows(run),
        "pairs": pairs,
        "stories": told,
        "heat": heat,
        "seen": seen,
        "graph": graph(main.matrix, run.classes, order)
        if main is not None and len(run.classes) >= GRAPH_FROM
        else None,
        "differences": differences,
        "plots": plots,
        "charts": [*filter(None, [differences]), *plots],
        "matrices": [(m, a.matrix, run.classes, order) for m, a in run.answers.items()],
        "album": behind,
        "splits": {split: run.labels_of(split) for split in SPLITS},
        "left_out": left_out(run),
        "batches": batches(run, albums["batches"]),
        "next": wording.what_next(run, pairs),
        "about": about(run.info, run.settings, run.folder),
        "speed": speed(run),
    }


def batches(run: RunData, album: Album) -> list[tuple[str, str]]:
    """Return (method and phase, sheet) of what the networks saw, as far as there is room."""
    paths = sorted((run.folder / "batches").glob("*.png"))
    shown = [(path.stem.replace("_", ", "), album.sheet(path)) for path in paths]
    return [(name, address) for name, address in shown if address]


def left_out(run: RunData) -> list[tuple[str, str]]:
    """Return (file, reason) of what could not be used."""
    if "problem" not in run.samples:
        return []
    bad = run.samples[run.samples["problem"] != ""]
    return list(zip(bad["path"], bad["problem"], strict=True))


def speed(run: RunData) -> Table:
    """Return seconds and images per second of every stage and training."""
    rows = []
    images = run.info.get("dataset", {}).get("images", 0)
    for stage, seconds in run.info.get("seconds", {}).items():
        rows.append([stage, f"{seconds:.1f}", _rate(images if stage == "images" else 0, seconds)])
    samples_seen = run.info.get("samples_seen", {})
    for method, seconds in run.info.get("training_seconds", {}).items():
        rows.append([f"training {method}", f"{seconds:.1f}", _rate(samples_seen.get(method, 0), seconds)])
    return Table("speed", "Time by stage", ("stage", "seconds", "images/s"), rows)


def _rate(images: float, seconds: float) -> str:
    return f"{images / seconds:,.0f}" if images and seconds else "–"
