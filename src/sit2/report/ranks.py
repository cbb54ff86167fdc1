"""The critical-difference diagram (Demšar 2006, figure 1) of methods over data sets."""

from __future__ import annotations

from collections.abc import Sequence
from pathlib import Path

import numpy as np
import pandas as pd

from sit2.evaluation.ranks import Ranks
from sit2.report.figures import save


def draw_ranks(ranks: Ranks, path: Path, *, kinds: Sequence[str] = ("png", "svg")) -> None:
    """Write the diagram as ``path`` with each kind's ending: methods that a bar joins do not differ.

    A bar joins methods whose mean ranks are closer than the critical difference of Nemenyi's test.
    """
    import scikit_posthocs
    from matplotlib.backends.backend_agg import FigureCanvasAgg
    from matplotlib.figure import Figure

    means = pd.Series(ranks.mean_ranks, index=list(ranks.methods))
    p_values = pd.DataFrame(ranks.nemenyi_p, index=means.index, columns=means.index)
    figure = Figure(figsize=(9, 1.2 + 0.22 * len(means)), layout="constrained")
    FigureCanvasAgg(figure)
    axes = figure.add_subplot()
    scikit_posthocs.critical_difference_diagram(
        means,
        p_values,
        ax=axes,
        label_fmt_left="{label} ({rank:.1f})",
        label_fmt_right="({rank:.1f}) {label}",
    )
    for line in axes.get_lines():
        points = np.asarray(line.get_xydata())
        if np.ptp(points[:, 1]) == 0:  # a bar, whose points come in the order of a set of names
            line.set_xdata(np.sort(points[:, 0]))
    metric, gap = ranks.metric.replace("_", " "), f"{ranks.critical_difference:.1f}"
    axes.set_title(
        f"Mean rank by {metric} over {ranks.datasets} data sets (1 is best)\n"
        f"A bar joins methods that do not differ significantly (critical difference {gap})"
    )
    save(figure, path, kinds)
