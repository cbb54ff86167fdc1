"""How good sets of possible classes and decisions are, and how errors fall when a model may keep silent.

N images, K classes. This module never imports torch.
"""

from __future__ import annotations

import math
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np

from sit2.evaluation.proportions import Share
from sit2.records import BoolArray, ClassPair, FloatArray, Predictions
from sit2.storage.reading import read_object, reading


@dataclass(frozen=True)
class SetFigures:
    """What holds of some images: all, those of a class, or those of a pair of classes."""

    name: str
    covered: Share  # images whose set holds the true class; of no images where there are no sets
    size: float  # classes in a set, on average
    decided: Share  # images for which one class was decided on
    right: Share  # of these, those that are of this class

    @classmethod
    def of(cls, name: str, rows: BoolArray, predictions: Predictions, said: Said) -> SetFigures:
        """Count the images ``rows``, (N,) bool."""
        own = predictions.take(rows)
        certain, groups = said.decided[rows], own.groups

        def share(holds: BoolArray, among: BoolArray) -> Share:
            names = tuple(g for g, is_in in zip(groups, among, strict=True) if is_in) if groups else ()
            return Share.of(holds[among], names)

        every = np.ones(len(own.ids), dtype=np.bool_)
        if said.inside is None:
            covered, size = share(every, ~every), math.nan
        else:
            inside = said.inside[rows]
            covered = share(inside[np.arange(len(inside)), own.labels], every)
            size = float(inside.sum(axis=1).mean()) if len(inside) else math.nan
        return cls(name, covered, size, share(certain, every), share(own.correct, certain))


@dataclass(frozen=True)
class Said:
    """What was said of N images."""

    decided: BoolArray  # (N,): one class
    inside: BoolArray | None = None  # (N, K): the possible classes; None: there are no sets
    unlike: BoolArray | None = None  # (N,): unlike the training images; None: not said


@dataclass(frozen=True)
class SetReport:
    """How good the sets and decisions of a model are on test images."""

    coverage: float | None  # that was asked for; None: there are no sets
    guarantee: str  # what that promises
    all: SetFigures
    classes: tuple[SetFigures, ...]
    pairs: tuple[SetFigures, ...]  # of the chosen pairs
    unlike: Share | None  # called unlike the training images
    area: float  # under the risk–coverage curve

    @classmethod
    def of(
        cls,
        predictions: Predictions,
        said: Said,
        classes: Sequence[str],
        pairs: Sequence[ClassPair],
        *,
        coverage: float | None,
        guarantee: str,
    ) -> SetReport:
        """Measure N labelled images."""
        labels = predictions.labels

        def figures(name: str, rows: BoolArray) -> SetFigures:
            return SetFigures.of(name, rows, predictions, said)

        return cls(
            coverage,
            guarantee,
            figures("all images", np.ones(len(labels), dtype=np.bool_)),
            tuple(figures(name, labels == k) for k, name in enumerate(classes)),
            tuple(
                figures(f"{p.class_a} – {p.class_b}", np.isin(labels, (p.a, p.b))) for p in pairs if p.chosen
            ),
            None if said.unlike is None else Share.of(said.unlike, predictions.groups),
            risk_coverage(predictions)[2],
        )

    @property
    def rows(self) -> tuple[SetFigures, ...]:
        """All images, then the classes, then the chosen pairs."""
        return (self.all, *self.classes, *self.pairs)

    def to_json(self) -> dict[str, Any]:
        """Return plain numbers and words; what there is nothing to measure by is None."""
        return {
            "coverage": self.coverage,
            "guarantee": self.guarantee,
            "all": _plain(self.all),
            "classes": [_plain(one) for one in self.classes],
            "pairs": [_plain(one) for one in self.pairs],
            "unlike": None if self.unlike is None else _share(self.unlike),
            "area": self.area,
        }


def risk_coverage(predictions: Predictions) -> tuple[FloatArray, FloatArray, float]:
    """Return (N,) fraction of the images that are answered, (N,) their errors, and the area under this curve.

    The most confident are answered first; images of equal confidence count alike. The area (Geifman & El-Yaniv
    2017) is the mean of the errors over all fractions: the lower, the better confidence tells errors.
    """
    confidence, wrong = predictions.probabilities.max(axis=1), ~predictions.correct
    values, place = np.unique(-confidence, return_inverse=True)
    mean = np.bincount(place, wrong) / np.maximum(1, np.bincount(place, minlength=len(values)))
    answered = np.arange(1, len(wrong) + 1)
    risk: FloatArray = np.cumsum(mean[np.sort(place)]) / answered
    return answered / len(wrong), risk, float(risk.mean()) if len(risk) else math.nan


def read_set_reports(path: Path) -> dict[str, SetReport]:
    """Read a sets.json: recipe → report; nothing where there is no such file.

    Raises:
        RunFolderError: when it is damaged.
    """
    content = read_object(path)
    with reading(path):
        return {recipe: _report(one) for recipe, one in (content or {}).items()}


def _report(content: Mapping[str, Any]) -> SetReport:
    unlike, coverage = content["unlike"], content["coverage"]
    return SetReport(
        None if coverage is None else float(coverage),
        str(content["guarantee"]),
        _figures(content["all"]),
        tuple(map(_figures, content["classes"])),
        tuple(map(_figures, content["pairs"])),
        None if unlike is None else _as_share(unlike),
        float(content["area"]),
    )


def _plain(one: SetFigures) -> dict[str, Any]:
    shares = {name: _share(getattr(one, name)) for name in ("covered", "decided", "right")}
    return {"name": one.name, "size": None if math.isnan(one.size) else one.size, **shares}


def _figures(content: Mapping[str, Any]) -> SetFigures:
    size = content["size"]
    shares = (_as_share(content[name]) for name in ("covered", "decided", "right"))
    covered, decided, right = shares
    return SetFigures(
        str(content["name"]), covered, math.nan if size is None else float(size), decided, right
    )


def _share(share: Share) -> dict[str, Any]:
    interval = [share.lower, share.upper] if share.n else None
    return {"value": share.value if share.n else None, "hits": share.hits, "n": share.n, "interval": interval}


def _as_share(content: Mapping[str, Any]) -> Share:
    lower, upper = content["interval"] or (math.nan, math.nan)
    return Share(int(content["hits"]), int(content["n"]), float(lower), float(upper))
