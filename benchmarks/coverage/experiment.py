"""Random splits of one pool of images: how often the sets hold the true class, and how often that should be."""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import dataclass
from typing import Any

import numpy as np
import pandas as pd
import torch
from scipy import stats
from torch import Tensor

from sit2.features.frozen import fit_linear
from sit2.inference import chain
from sit2.inference.chain import Observations
from sit2.inference.decisions import possible
from sit2.inference.predictors.conformal import Conformal
from sit2.inference.predictors.ood import Unlike
from sit2.inference.predictors.predictor import Calibration, Outputs
from sit2.inference.predictors.temperature import Temperature
from sit2.records import FloatArray, IntArray
from sit2.seeds import Seeds

LEVELS = (0.9, 0.95)
TRAIN, CALIBRATE = 0.2, 0.2  # fractions of the images, or of the groups
RANDOM = np.random.default_rng


@dataclass(frozen=True)
class Pool:
    """All images of a set."""

    features: FloatArray  # (N, D) float32
    labels: IntArray  # (N,)
    groups: tuple[str, ...]  # N or none
    classes: int

    def parts(self, seed: int) -> tuple[IntArray, IntArray, IntArray]:
        """Return the rows to train on, to calibrate to and to test; no group is in two of them."""
        unit = np.unique(self.groups, return_inverse=True)[1] if self.groups else np.arange(len(self.labels))
        where = RANDOM(seed).permutation(unit.max() + 1) / (unit.max() + 1)
        place = where[unit]
        return (
            np.flatnonzero(place < TRAIN),
            np.flatnonzero((place >= TRAIN) & (place < TRAIN + CALIBRATE)),
            np.flatnonzero(place >= TRAIN + CALIBRATE),
        )


class Features:
    """Frozen features in place of images."""

    def __call__(self, images: Tensor, /) -> Tensor:
        raise NotImplementedError

    def features(self, images: Tensor, /) -> Tensor:
        return images


def experiment(name: str, pool: Pool, others: FloatArray, *, splits: int) -> pd.DataFrame:
    """Return a row for every split, kind of set and level."""
    rows = [row for seed in range(splits) for row in one_split(pool, others, seed)]
    return pd.DataFrame([{"dataset": name, **row} for row in rows])


def one_split(pool: Pool, others: FloatArray, seed: int) -> Iterator[dict[str, Any]]:
    """Yield what one split shows. Of test images of one group a random one counts: the promise is over groups."""
    train, calibrate, test = pool.parts(seed)
    every = torch.from_numpy(pool.features)
    groups = [pool.groups[n] for n in train] if pool.groups else []
    linear, _ = fit_linear(every[train], pool.labels[train], pool.classes, groups=groups)
    said = linear(every)
    labels, names = torch.from_numpy(pool.labels), np.array(pool.groups)
    known = tuple(names[calibrate].tolist()) if pool.groups else ()
    if pool.groups:
        test = RANDOM(seed).permutation(test)
        test = test[np.unique(names[test], return_index=True)[1]]
    seeds = Seeds(seed)
    kinds: dict[str, tuple[Any, ...]] = {
        "split": (Conformal(),),
        "per class": (Conformal(coverage_per_class=True),),
        "left out": (Temperature(), Conformal()),  # fitted to the images that calibrate
    }
    for kind, unfitted in kinds.items():
        seen = Observations(said[calibrate], (None,) * len(unfitted))
        fitted = chain.fitted(unfitted, seen, labels[calibrate])
        done, variants = chain.calibrated(
            fitted, seen, labels[calibrate], known, seeds, unfitted=unfitted if len(unfitted) > 1 else ()
        )
        new = Observations(said[test], (None,) * len(unfitted))
        p_values = chain.apply(done, new, variants).p_values
        promise = done[-1].promise()
        assert p_values is not None
        assert promise is not None
        for level in LEVELS:
            if level > promise.highest + 1e-9:
                continue
            inside = possible(p_values.numpy(), level)
            covered = inside[np.arange(len(test)), pool.labels[test]]
            each = [covered[pool.labels[test] == k].mean() for k in np.unique(pool.labels[test])]
            yield {
                "kind": kind,
                "level": level,
                "seed": seed,
                "calibration": promise.images,
                "test": len(test),
                "covered": int(covered.sum()),
                "size": inside.sum(axis=1).mean(),
                "decided": (inside.sum(axis=1) == 1).mean(),
                "least class": min(each),
                "mean class": np.mean(each),
            }
    yield unlike(every, (train, calibrate, test), known, others, seeds)


def unlike(
    every: Tensor,
    parts: tuple[IntArray, IntArray, IntArray],
    known: tuple[str, ...],
    others: FloatArray,
    seeds: Seeds,
) -> dict[str, Any]:
    """Return how many new images are called unlike the training images, and how many of other sets."""
    train, calibrate, test = parts
    ask = Features()
    predictor = Unlike(reference=torch.nn.functional.normalize(every[train], dim=1))
    nothing = Outputs(every[:0], every[:0])
    number = len(calibrate)
    calibration = Calibration(
        torch.zeros(number).long(), torch.zeros(number).long(), exact=True, groups=known, seeds=seeds
    )
    ready = predictor.calibrate(nothing, predictor.observe(every[calibrate], ask), calibration)

    def called(features: Tensor) -> FloatArray:
        found = ready(nothing, ready.observe(features, ask)).unlike
        assert found is not None
        return found.double().numpy()

    assert ready.distances is not None
    new = called(every[test])
    return {
        "kind": "unlike",
        "level": 1 - ready.false_alarms,
        "seed": seeds.root,
        "calibration": len(ready.distances),
        "test": len(test),
        "covered": int((1 - new).sum()),
        "found in other sets": called(torch.from_numpy(others[:2000])).mean(),
    }


def measure(splits: pd.DataFrame) -> pd.DataFrame:
    """Return a row for every set, kind and level: what was promised, what was seen, and whether it fits the law."""
    found = []
    for (dataset, kind, level), rows in splits.groupby(["dataset", "kind", "level"], sort=False):
        share = (rows["covered"] / rows["test"]).to_numpy()
        low, high = interval(share, float(rows["test"].mean()), float(rows["calibration"].mean()))
        law = [law_of(int(row.calibration), int(row.test), level).interval(0.9) for row in rows.itertuples()]
        within = [a <= row.covered <= b for (a, b), row in zip(law, rows.itertuples(), strict=True)]
        marginal = kind != "per class"  # whose sets follow the law class by class
        found.append(
            {
                "dataset": dataset,
                "kind": kind,
                "promised": level if kind != "left out" else 2 * level - 1,
                "asked": level,
                "splits": len(rows),
                "calibration": rows["calibration"].mean(),
                "coverage": share.mean(),
                "lower": low,
                "upper": high,
                "least": share.min(),
                "within 90 % of the law": np.mean(within) if marginal else np.nan,
                "law p": law_p(rows, level) if kind in ("split", "unlike") else np.nan,
                "size": rows["size"].mean(),
                "decided": rows["decided"].mean(),
                "mean class": rows["mean class"].mean(),
                "found in other sets": rows["found in other sets"].mean(),
            }
        )
    return pd.DataFrame(found)


def law_of(calibration: int, test: int, level: float) -> Any:
    """Return the law of how many of the test images are covered: beta-binomial (Vovk 2012)."""
    out = int(np.floor((calibration + 1) * (1 - level) + 1e-9))  # ranks that are left out of n + 1
    return stats.betabinom(test, calibration + 1 - out, out)


def law_p(rows: pd.DataFrame, level: float) -> float:
    """Return p of a Kolmogorov–Smirnov test of single splits against their laws, as if they were independent."""
    draw, places = RANDOM(0), []
    for row in rows.itertuples():
        law = law_of(int(row.calibration), int(row.test), level)
        below = law.cdf(row.covered - 1)
        places.append(below + draw.random() * (law.cdf(row.covered) - below))
    return float(stats.kstest(places, "uniform").pvalue)


def interval(share: FloatArray, test: float, calibration: float) -> tuple[float, float]:
    """Return a 95 % interval of the mean over splits that overlap (Nadeau & Bengio 2003).

    Two splits share images, so their mean varies more than that of as many independent ones: by 1 / splits plus
    the odds of a test image. Where most images are test images, as here, that is capped at the spread of one split:
    nothing is wider.
    """
    factor = 1 / len(share) + test / (test + calibration) / (1 - test / (test + calibration))
    half = stats.t.ppf(0.975, len(share) - 1) * share.std(ddof=1) * min(1.0, factor) ** 0.5
    return float(share.mean() - half), float(share.mean() + half)
