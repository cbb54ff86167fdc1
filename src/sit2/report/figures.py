"""The page's charts as PNG and SVG, for papers. matplotlib is loaded when they are drawn."""

from __future__ import annotations

from collections.abc import Iterable, Sequence
from contextlib import AbstractContextManager
from pathlib import Path
from typing import TYPE_CHECKING

import numpy as np

from sit2.records import IntArray
from sit2.report.charts import Plot, Spans
from sit2.report.matrix import FEW_OF_A_CLASS, rates, shades, shortened
from sit2.storage.escaping import visible
from sit2.storage.files import atomic
from sit2.storage.process_state import Shared, quiet_libraries

if TYPE_CHECKING:
    from matplotlib.axes import Axes
    from matplotlib.figure import Figure

COLOURS = (
    "#0072B2",
    "#D55E00",
    "#007A5A",
    "#B8508C",
    "#8C6D00",
    "#444444",
)  # Okabe & Ito, darkened for paper
DASHES = ("-", "--", "-.", ":")
Matrix = tuple[str, IntArray, Sequence[str], Sequence[int]]  # method, counts, classes, order


def write_figures(
    folder: Path, charts: Iterable[Plot | Spans], matrices: Iterable[Matrix] = ()
) -> list[Path]:
    """Write every chart and matrix as <name>.png and <name>.svg; return the paths."""
    written = []
    for chart in charts:
        figure = _plot(chart) if isinstance(chart, Plot) else _spans(chart)
        written += save(figure, folder / chart.name)
    for number, matrix in enumerate(matrices):
        written += save(_matrix(matrix), folder / f"confusion-{number}")
    return written


def _axes(width: float, height: float) -> tuple[Figure, Axes]:
    """Return a figure that belongs to no window."""
    from matplotlib.backends.backend_agg import FigureCanvasAgg
    from matplotlib.figure import Figure

    figure = Figure(figsize=(width, height), layout="constrained")
    FigureCanvasAgg(figure)
    return figure, figure.add_subplot()


def _spans(chart: Spans) -> Figure:
    figure, axes = _axes(6.5, 1.1 + 0.35 * len(chart.rows))
    for y, row in enumerate(reversed(chart.rows)):
        axes.plot([row.lower, row.upper], [y, y], color=COLOURS[0], linewidth=3, solid_capstyle="butt")
        axes.plot([row.value], [y], "o", color=COLOURS[1])
    if chart.zero is not None:
        axes.axvline(chart.zero, color="#444444", linewidth=1)
    axes.set_yticks(range(len(chart.rows)), [_plain(row.name) for row in reversed(chart.rows)])
    axes.set(xlim=(chart.ticks[0], chart.ticks[-1]), xlabel=chart.unit, ylim=(-0.6, len(chart.rows) - 0.4))
    axes.set_title(_plain(chart.title))
    return figure


def _plot(chart: Plot) -> Figure:
    figure, axes = _axes(6.5, max(4.0, 1.5 + 0.25 * len(chart.lines)))  # as tall as its legend
    for number, line in enumerate(chart.lines):
        colour, dash = COLOURS[number % len(COLOURS)], DASHES[number % len(DASHES)]
        marker = "o" if chart.dots else None
        axes.plot(line.x, line.y, dash, color=colour, label=_plain(line.name), marker=marker, markersize=4)
        if line.images:  # areas in square points; the line's own markers are the smallest
            axes.scatter(line.x, line.y, [width**2 / 2 for width in line.widths], color=colour, linewidths=0)
        if line.lower:
            axes.fill_between(line.x, line.lower, line.upper, color=colour, alpha=0.15, linewidth=0)
    if chart.diagonal:
        axes.plot(
            [chart.x_ticks[0], chart.x_ticks[-1]],
            [chart.y_ticks[0], chart.y_ticks[-1]],
            color="#888888",
            linewidth=1,
        )
    axes.set(xlim=(chart.x_ticks[0], chart.x_ticks[-1]), ylim=(chart.y_ticks[0], chart.y_ticks[-1]))
    axes.set(xlabel=_plain(chart.x_label), ylabel=_plain(chart.y_label))
    axes.set_title(_plain(chart.title))
    axes.legend(frameon=False)
    return figure


def _matrix(matrix: Matrix) -> Figure:
    method, counts, classes, order = matrix
    fractions = rates(counts)[np.ix_(order, order)]
    side = min(12.0, max(4.0, 2.5 + 0.22 * len(order)))
    size = min(7.0, 72 * (side - 2.5) / len(order))  # of the names, in points
    figure, axes = _axes(side, side)
    dark = shades(counts)[np.ix_(order, order)]
    image = axes.imshow(dark, cmap="Blues", vmin=0, vmax=1)
    names = [_plain(shortened(classes[k])) for k in order]
    images = counts.sum(axis=1)[list(order)]
    rows = [
        f"{name} ({n:,}{', few' if n < FEW_OF_A_CLASS else ''})"
        for name, n in zip(names, images, strict=True)
    ]
    axes.set_xticks(range(len(order)), names, rotation=90, fontsize=size)
    axes.set_yticks(range(len(order)), rows, fontsize=size)
    axes.set(xlabel="predicted class", ylabel="true class (test images); rows of few are paler")
    axes.set_title(_plain(f"{method}: test images of each class"))
    bar = figure.colorbar(image, ax=axes, shrink=0.7, ticks=np.sqrt([0, 0.05, 0.2, 0.5, 1]))
    bar.ax.set_yticklabels(["0", "5 %", "20 %", "50 %", "100 %"])
    if len(order) <= 12:
        for i, j in np.argwhere(counts[np.ix_(order, order)]):
            tone = "white" if dark[i, j] > 0.55 else "black"
            text = f"{counts[order[i], order[j]]}\n{100 * fractions[i, j]:.0f} %"
            axes.text(j, i, text, ha="center", va="center", color=tone, fontsize=6)
    return figure


def _same_bytes(_: None) -> AbstractContextManager[None]:
    from matplotlib import rc_context

    return rc_context({"svg.hashsalt": "sit2", "svg.fonttype": "none"})


_SAME_BYTES = Shared(_same_bytes)

_METADATA: dict[str, dict[str, None]] = {"png": {"Software": None}, "svg": {"Date": None, "Creator": None}}


def save(figure: Figure, path: Path, kinds: Sequence[str] = tuple(_METADATA)) -> list[Path]:
    """Write a figure as ``path`` with the ending of each kind; the same figure gives the same bytes."""
    paths = []
    with _SAME_BYTES(None), quiet_libraries():  # a name may be in a script without a font
        figure.draw_without_rendering()
        figure.set_layout_engine("none")  # laid out once for both files
        for kind in kinds:
            paths.append(path.with_name(f"{path.name}.{kind}"))
            with atomic(paths[-1]) as temporary:
                figure.savefig(temporary, format=kind, dpi=150, metadata=_METADATA[kind])
    return paths


def _plain(text: str) -> str:
    """Return a text in which matplotlib sees no formula and no control character."""
    return visible(text, newlines=False).replace("$", r"\$")
