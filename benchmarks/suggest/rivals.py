"""Query strategies of scikit-activeml, where it is installed (``pip install scikit-activeml``)."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

import numpy as np

from benchmarks.suggest.pool import Round
from sit2.records import IntArray

Chooser = Callable[[Round, int], IntArray]  # what is known, how many → rows of the rest
RIVALS: dict[str, Chooser] = {}


def _rival(make: Callable[[int], Any], *, asks: bool) -> Chooser:
    """Return a strategy as a chooser; one that ``asks`` needs a classifier, which is a logistic regression."""

    def choose(now: Round, count: int) -> IntArray:
        from skactiveml.classifier import SklearnClassifier
        from sklearn.linear_model import LogisticRegression

        features, labels = now.pool.features, now.pool.labels
        scaled = (features - features.mean(axis=0)) / (features.std(axis=0) + 1e-6)
        told = np.full(len(scaled), np.nan)
        told[now.known] = labels[now.known]
        seed = int(now.luck.integers(1 << 31))
        more = {}
        if asks:
            classifier = SklearnClassifier(
                LogisticRegression(C=0.01, max_iter=200), classes=np.unique(labels), random_state=seed
            )
            more = {"clf": classifier}
        found: IntArray = make(seed).query(X=scaled, y=told, candidates=now.rest, batch_size=count, **more)
        return found.astype(np.int64)

    return choose


try:
    from skactiveml.pool import Badge, CoreSet, TypiClust
except ImportError:
    pass
else:
    RIVALS = {
        "badge": _rival(lambda seed: Badge(random_state=seed), asks=True),
        "core-set": _rival(lambda seed: CoreSet(random_state=seed), asks=False),
        "typiclust": _rival(lambda seed: TypiClust(random_state=seed), asks=False),
    }
