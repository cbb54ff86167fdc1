"""sit2: better image classifiers from few labels, by training on the classifier's own confusion.

An implementation of SIT² (Synthesized Image Training Techniques, ACM TOMM 2024) after its published abstract.
"""

from __future__ import annotations

import importlib
from typing import TYPE_CHECKING, Any

__version__ = "0.1.0"

if TYPE_CHECKING:
    from sit2.confusion.pairs import select_pairs
    from sit2.errors import ConfigError, DataError, ModelError, RunFolderError, Sit2Error, TrainingError
    from sit2.estimator import SIT2Classifier
    from sit2.experiments.comparison import Comparison, compare
    from sit2.experiments.run import Run, train
    from sit2.inference.model import Model, load
    from sit2.records import ClassPair
    from sit2.synthesis.mixer import Mixed, NotSureMixer

# Loaded on first use, so that `sit2 --help` does not wait for torch.
_HOMES = {
    "ClassPair": "sit2.records",
    "Comparison": "sit2.experiments.comparison",
    "ConfigError": "sit2.errors",
    "DataError": "sit2.errors",
    "Mixed": "sit2.synthesis.mixer",
    "Model": "sit2.inference.model",
    "ModelError": "sit2.errors",
    "NotSureMixer": "sit2.synthesis.mixer",
    "Run": "sit2.experiments.run",
    "RunFolderError": "sit2.errors",
    "SIT2Classifier": "sit2.estimator",
    "Sit2Error": "sit2.errors",
    "TrainingError": "sit2.errors",
    "compare": "sit2.experiments.comparison",
    "load": "sit2.inference.model",
    "select_pairs": "sit2.confusion.pairs",
    "train": "sit2.experiments.run",
}

__all__ = [  # noqa: RUF022 (the order of use)
    "train",
    "Run",
    "compare",
    "Comparison",
    "load",
    "Model",
    "SIT2Classifier",
    "select_pairs",
    "ClassPair",
    "NotSureMixer",
    "Mixed",
    "Sit2Error",
    "ConfigError",
    "DataError",
    "RunFolderError",
    "ModelError",
    "TrainingError",
]


def __getattr__(name: str) -> Any:
    if name not in _HOMES:
        raise AttributeError(f"module 'sit2' has no attribute {name!r}")
    return getattr(importlib.import_module(_HOMES[name]), name)


def __dir__() -> list[str]:
    return [*__all__, "__version__"]
