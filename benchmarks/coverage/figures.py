"""The coverage of single splits beside the law that it should follow."""

from __future__ import annotations

from pathlib import Path

import numpy as np
import pandas as pd

from benchmarks.coverage.experiment import law_of


def draw(splits: pd.DataFrame, folder: Path) -> None:
    """Write one PNG: a panel for every set and level."""
    from matplotlib.figure import Figure

    panels = list(splits[splits["kind"] == "split"].groupby(["dataset", "level"], sort=False))
    figure = Figure(figsize=(4.2 * len(panels) / 2, 6), layout="constrained")
    axes = figure.subplots(2, max(1, len(panels) // 2), squeeze=False).T.flat
    for axis, ((dataset, level), rows) in zip(axes, panels, strict=True):
        share = rows["covered"] / rows["test"]
        test, calibration = int(rows["test"].median()), int(rows["calibration"].median())
        law = law_of(calibration, test, level)
        count = np.arange(test + 1)
        edges = np.linspace(share.min(), share.max(), 16)
        axis.hist(share, bins=edges, density=True, color="#9bbcd6", label=f"{len(rows)} splits")
        axis.plot(count / test, law.pmf(count) * test, color="#b3401f", label="beta-binomial law")
        axis.axvline(level, color="#444", linestyle="--", linewidth=1, label="promised")
        axis.set_xlim(share.min() - 0.01, share.max() + 0.01)
        axis.set_title(f"{dataset}, {100 * level:g} %", fontsize=10)
        axis.set_xlabel("test images whose set holds the true class")
        axis.set_yticks([])
    axes = figure.axes
    axes[0].legend(fontsize=8, frameon=False)
    folder.mkdir(parents=True, exist_ok=True)
    figure.savefig(folder / "coverage.png", dpi=110)
