"""Many methods on many data sets: who is ahead, and is that more than chance (Demšar 2006)?

D data sets, M methods. This module never imports torch.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np

from sit2.records import FloatArray
from sit2.storage.reading import read_object, reading

ALPHA = 0.05


@dataclass(frozen=True)
class Ranks:
    """Mean ranks of M methods over D data sets; 1 is best."""

    metric: str  # that the methods are ranked by
    methods: tuple[str, ...]
    datasets: int
    mean_ranks: FloatArray  # (M,) in [1, M]
    friedman_p: float  # of no difference among all methods
    nemenyi_p: FloatArray  # (M, M) two-sided, each pair of methods; 1 on the diagonal
    critical_difference: float  # of mean ranks, at 0.05: methods that are farther apart differ

    def to_json(self) -> dict[str, Any]:
        """Return plain numbers and words, the methods from best to worst."""
        order = np.argsort(self.mean_ranks, kind="stable")
        names = [self.methods[n] for n in order]
        return {
            "metric": self.metric,
            "datasets": self.datasets,
            "methods": names,
            "mean_ranks": {self.methods[n]: float(self.mean_ranks[n]) for n in order},
            "friedman_p": self.friedman_p,
            "critical_difference": self.critical_difference,
            "nemenyi_p": {
                self.methods[a]: {self.methods[b]: float(self.nemenyi_p[a, b]) for b in order} for a in order
            },
        }

    @classmethod
    def from_json(cls, content: Mapping[str, Any]) -> Ranks:
        """Return what :meth:`to_json` wrote. Raises KeyError, TypeError or ValueError for anything else."""
        methods = tuple(str(name) for name in content["methods"])
        return cls(
            str(content["metric"]),
            methods,
            int(content["datasets"]),
            np.array([float(content["mean_ranks"][name]) for name in methods]),
            float(content["friedman_p"]),
            np.array([[float(content["nemenyi_p"][a][b]) for b in methods] for a in methods]),
            float(content["critical_difference"]),
        )


def read_ranks(path: Path) -> Ranks | None:
    """Read a ranks.json; None where there is no such file.

    Raises:
        RunFolderError: when it is damaged.
    """
    content = read_object(path)
    if content is None:
        return None
    with reading(path):
        return Ranks.from_json(content)


def rank_methods(scores: FloatArray, methods: Sequence[str], *, metric: str = "accuracy") -> Ranks:
    """Rank methods by their scores (D, M) in a metric on each data set, more being better; ties share ranks.

    The test of Friedman (1937) asks whether the methods differ at all, the one of Nemenyi (1963) which pairs
    do.

    Raises:
        ValueError: fewer than two data sets or three methods, or a score that is not a number.
    """
    import pandas as pd
    import scikit_posthocs
    from scipy import stats

    datasets, count = scores.shape
    if datasets < 2 or count < 3 or len(methods) != count or not np.isfinite(scores).all():
        raise ValueError(f"expected finite scores of 2 data sets and 3 methods at least, got {scores.shape}")
    ranks = stats.rankdata(-scores, axis=1)
    if (scores == scores[:, :1]).all():  # every test divides by the spread of ranks
        friedman_p, nemenyi = 1.0, np.ones((count, count))
    else:
        friedman_p = float(stats.friedmanchisquare(*scores.T).pvalue)
        nemenyi = scikit_posthocs.posthoc_nemenyi_friedman(pd.DataFrame(scores)).to_numpy(np.float64)
    quantile = stats.studentized_range.ppf(1 - ALPHA, count, np.inf) / np.sqrt(2)
    return Ranks(
        metric,
        tuple(methods),
        datasets,
        ranks.mean(axis=0),
        friedman_p,
        nemenyi,
        float(quantile * np.sqrt(count * (count + 1) / (6 * datasets))),
    )
