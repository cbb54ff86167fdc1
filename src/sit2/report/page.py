"""The page: one HTML file that opens offline, loads nothing from outside itself, and prints."""

from __future__ import annotations

import base64
import hashlib
import math
from collections.abc import Mapping
from dataclasses import replace
from pathlib import Path
from typing import Any

from sit2.errors import ConfigError
from sit2.evaluation.words import p_value, percent, ratio
from sit2.report import charts
from sit2.report.comparison_page import comparison_context
from sit2.report.data import load_comparison, load_run
from sit2.report.figures import write_figures
from sit2.report.matrix import shortened
from sit2.report.run_page import run_context
from sit2.report.tables import comparison_tables, run_tables, write_tables
from sit2.storage.files import atomic
from sit2.storage.run_info import COMPLETE, read_info

MEGABYTES = 5.0  # of the file


def write_report(folder: Path, *, megabytes: float = MEGABYTES, last: bool = False) -> Path:
    """Write ``report.html``, ``figures/`` and ``tables/`` into a run folder or a comparison's folder.

    Args:
        folder: what ``sit2 train``, ``confusion`` or ``compare`` wrote.
        megabytes: how large the page may become; images are left out where there is no room.
        last: the page is the last that a run has to write: it describes the run as complete.

    Returns:
        The page's path.

    Raises:
        RunFolderError: it is no such folder, another version wrote it, or a file in it is damaged.
        ConfigError: for a size that is none.
    """
    if not (math.isfinite(megabytes) and megabytes > 0):
        raise ConfigError(f"megabytes is {megabytes}\nexpected a number above 0")
    if read_info(folder).is_comparison:
        data = load_comparison(folder)
        data = replace(data, info=replace(data.info, status=COMPLETE)) if last else data
        context, tables = comparison_context(data), comparison_tables(data)
        template = "compare.html"
    else:
        run = load_run(folder)
        run = replace(run, info=replace(run.info, status=COMPLETE)) if last else run
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
        "percent": lambda fraction: percent(fraction) if _known(fraction) else "–",
        "number": lambda value, digits=3: f"{value:.{digits}f}" if _known(value) else "–",
        "ratio": lambda value: ratio(value) if _known(value) else "–",
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
