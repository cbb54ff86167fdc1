"""Does the closed-form classifier order the pairs of classes as trained networks do?

Reference: the pair scores of a 5-fold estimate, averaged over three seeds. Ceiling: how well the same
estimate with a fourth seed agrees with it. Every seed is the fourth in turn. The trainings (four 5-fold
estimates a set) are kept in a folder, so a run that was stopped goes on. Results before 2026-11-27 call it "probe".
"""

from __future__ import annotations

import os
import tempfile
from collections.abc import Iterator
from dataclasses import replace
from itertools import combinations
from pathlib import Path

import numpy as np
from scipy.stats import spearmanr

from benchmarks.datasets import TEN, ImageSet
from benchmarks.speed.timing import Ratio
from sit2.config.schema import Config
from sit2.events import nobody
from sit2.experiments.confusion import measure_confusion
from sit2.experiments.prepare import Prepared, prepare
from sit2.records import FloatArray

SEEDS = 4
SETS = tuple(one for one in TEN if one.name != "busi")  # three classes make three pairs: no order to speak of


def ratios(_rounds: int) -> Iterator[Ratio]:
    """Measure every set, then the median over sets; a round is a seed."""
    orders: list[float] = []
    overlaps: list[float] = []
    for one in SETS:
        config = Config(
            backbone="small-cnn",
            image_size=32,
            labels_per_class=50,
            augment=one.augment,
            groups=one.groups,
            workers=1,
            threads=1,
        )
        prepared = prepare(one.path, config, nobody)
        trained = [_kept(one, prepared, replace(config, seed=seed)) for seed in range(SEEDS)]
        closed = [
            _scores(prepared, replace(config, seed=seed, confusion="closed-form")) for seed in range(SEEDS)
        ]
        references = [np.mean(trained[:s] + trained[s + 1 :], axis=0) for s in range(SEEDS)]
        for name, agree, found in (
            ("closed_form_fidelity", _rank_correlation, orders),
            ("closed_form_overlap", _top_overlap, overlaps),
        ):
            ceiling = np.mean([agree(t, r) for t, r in zip(trained, references, strict=True)])
            reached = [agree(c, r) for c, r in zip(closed, references, strict=True)]
            line = Ratio(
                name,
                float(np.mean(reached) / ceiling),
                float(min(reached) / ceiling),
                float(max(reached) / ceiling),
                SEEDS,
                f"{one.name}: closed form {np.mean(reached):.3f} over another seed's {ceiling:.3f}",
            )
            found.append(line.ratio)
            yield line
    for name, found in (("closed_form_fidelity", orders), ("closed_form_overlap", overlaps)):
        yield Ratio(
            name, float(np.median(found)), min(found), max(found), SEEDS, f"median of {len(SETS)} sets"
        )


def _rank_correlation(scores: FloatArray, reference: FloatArray) -> float:
    return float(spearmanr(scores, reference).statistic)


def _top_overlap(scores: FloatArray, reference: FloatArray) -> float:
    """Fraction of the top pairs, the fewest with half of all confusion, that are top ones of ``scores`` too."""
    order = np.argsort(-reference)
    count = int(np.searchsorted(reference[order].cumsum(), reference.sum() / 2)) + 1
    return len(set(order[:count]) & set(np.argsort(-scores)[:count])) / count


def _scores(prepared: Prepared, config: Config) -> FloatArray:
    """(P,) the score of every pair of classes, in one order."""
    with tempfile.TemporaryDirectory() as scratch:
        (measured,) = measure_confusion(
            [(prepared, config, None)], needed=True, networks=Path(scratch), keep=None, listener=nobody
        )
    assert measured is not None
    by_name = {frozenset((pair.class_a, pair.class_b)): pair.score for pair in measured.pairs}
    return np.array([by_name[frozenset(both)] for both in combinations(prepared.dataset.classes, 2)])


def _kept(one: ImageSet, prepared: Prepared, config: Config) -> FloatArray:
    base = Path(os.environ.get("SIT2_BENCH_WORK", "build/bench"))
    path = base / f"fidelity-{one.name}-{config.seed}-{prepared.fingerprint[:8]}.npy"
    if not path.exists():
        path.parent.mkdir(parents=True, exist_ok=True)
        np.save(path, _scores(prepared, config))
    kept: FloatArray = np.load(path)
    return kept
