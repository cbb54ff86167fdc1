"""Which classes are confused: matrices, an order in which confused classes are neighbours, a graph.

N test images, K classes.
"""

from __future__ import annotations

import math
from collections import defaultdict
from collections.abc import Sequence
from dataclasses import dataclass
from typing import Any

import numpy as np

from sit2.records import FloatArray, IntArray, Predictions
from sit2.report.data import RunData
from sit2.report.images import Album

GRAPH_FROM = 13  # classes; with fewer, the matrix shows at a glance what a graph would
MOST_LINKS = 120
FEW_OF_A_CLASS = 20  # test images; the figures of a class with fewer are marked
PER_CELL = 24  # images that a cell shows
MOST_IMAGES = 4000  # that all cells show together


def matrix_of(predictions: Predictions) -> IntArray:
    """(K, K) int64: images of class i that were classified as class j."""
    classes = predictions.probabilities.shape[1]
    counts = np.bincount(predictions.labels * classes + predictions.predicted, minlength=classes**2)
    return counts.reshape(classes, classes).astype(np.int64)


def rates(matrix: FloatArray | IntArray) -> FloatArray:
    """Return rows that sum to 1, or to 0 where a class has no images; (K, K) float64."""
    totals = matrix.sum(axis=1, keepdims=True)
    fractions: FloatArray = matrix / np.where(totals > 0, totals, 1)
    return fractions


def shades(matrix: IntArray) -> FloatArray:
    """(K, K) float64 in [0, 1]: how dark a cell is drawn; the page's script does the same.

    The root of its rate, which makes a few errors visible beside many correct predictions; paler where the class
    has few images, so that a row of one image does not look as certain as one of hundreds.
    """
    certain = np.minimum(1.0, matrix.sum(axis=1, keepdims=True) / FEW_OF_A_CLASS)
    dark: FloatArray = np.sqrt(rates(matrix) * certain)
    return dark


def mutual(matrix: FloatArray | IntArray) -> FloatArray:
    """(K, K) float64 in [0, 2], symmetric, 0 on the diagonal: P(j given i) + P(i given j)."""
    fractions = rates(matrix)
    both: FloatArray = fractions + fractions.T
    np.fill_diagonal(both, 0.0)
    return both


def clustered(matrix: FloatArray | IntArray) -> list[int]:
    """Return the K classes in an order in which those that are confused are neighbours.

    Average linkage on 2 − P(j given i) − P(i given j), leaves in the order that is best for neighbours
    (Bar-Joseph et al. 2001).
    """
    if len(matrix) < 3:
        return list(range(len(matrix)))
    from scipy.cluster.hierarchy import leaves_list, linkage
    from scipy.spatial.distance import squareform

    distance = 2.0 - mutual(matrix)
    np.fill_diagonal(distance, 0.0)
    tree = linkage(squareform(distance, checks=False), method="average", optimal_ordering=True)
    return [int(k) for k in leaves_list(tree)]


@dataclass(frozen=True)
class Link:
    """Two classes that are confused, as a curve in the graph."""

    a: str
    b: str
    images: int
    path: str  # of an SVG
    width: float


@dataclass(frozen=True)
class Node:
    """A class on the graph's circle; its name is written outwards from (x, y)."""

    name: str
    x: float
    y: float
    angle: float  # of the text, in degrees
    end: bool  # whether the text ends at the circle, on its left half
    links: int


@dataclass(frozen=True)
class Graph:
    """Classes on a circle, joined where they are confused."""

    size: float  # width and height
    nodes: tuple[Node, ...]
    links: tuple[Link, ...]


def graph(matrix: IntArray, classes: Sequence[str], order: Sequence[int]) -> Graph:
    """Join the pairs of classes that are confused most, at most ``MOST_LINKS`` of them."""
    strength, errors = mutual(matrix), matrix + matrix.T
    found = [(i, j) for i in range(len(classes)) for j in range(i + 1, len(classes)) if errors[i, j]]
    found.sort(key=lambda ij: (-strength[ij], ij))
    kept = found[:MOST_LINKS]
    radius = max(120.0, len(classes) * 15 / (2 * math.pi))
    room = 20 + 6.4 * max(len(shortened(name)) for name in classes)
    centre = radius + room
    angles = {k: 2 * math.pi * n / len(classes) - math.pi / 2 for n, k in enumerate(order)}

    def at(k: int, distance: float) -> tuple[float, float]:
        x, y = (centre + distance * f(angles[k]) for f in (math.cos, math.sin))
        return round(x, 1), round(y, 1)

    top = max((float(strength[ij]) for ij in kept), default=1.0)
    links = []
    for i, j in reversed(kept):  # the strongest on top
        (x1, y1), (x2, y2) = at(i, radius), at(j, radius)
        far = abs(math.remainder(angles[i] - angles[j], 2 * math.pi)) / math.pi  # 0 side by side, 1 opposite
        cx, cy = (
            round(centre + 0.8 * (1 - far) * ((a + b) / 2 - centre), 1) for a, b in ((x1, x2), (y1, y2))
        )
        path = f"M{x1} {y1}Q{cx} {cy} {x2} {y2}"
        width = round(0.6 + 5.4 * float(strength[i, j]) / top, 2)
        links.append(Link(classes[i], classes[j], int(errors[i, j]), path, width))
    nodes = []
    for k in order:
        degrees = math.degrees(angles[k])
        left = math.cos(angles[k]) < -1e-9
        count = sum(k in ij for ij in kept)
        x, y = at(k, radius + 8)
        nodes.append(Node(classes[k], x, y, round(degrees + 180 if left else degrees, 1), left, count))
    return Graph(round(2 * centre, 1), tuple(nodes), tuple(links))


def shortened(name: str, length: int = 18) -> str:
    """Return a name that is cut where it is longer."""
    return name if len(name) <= length else name[: length - 1] + "…"


def matrix_view(run: RunData, album: Album) -> dict[str, Any]:
    """Return what the page's script draws: matrices of every recipe, and the images behind their cells."""
    recipes, predictions = list(run.predictions), list(run.predictions.values())
    shown = [shown_rows(one) for one in predictions]
    place = {n: k for k, n in enumerate(_by_turns(shown)[:MOST_IMAGES])}
    first = predictions[0]
    controls = [run.control_of(recipe) for recipe in recipes]
    return {
        "classes": list(run.classes),
        "order": order_of(run),
        "few": FEW_OF_A_CLASS,
        "samples": np.bincount(first.labels, minlength=len(run.classes)).tolist(),
        "methods": recipes,
        "controls": [-1 if control is None else recipes.index(control) for control in controls],
        "chosen": recipes.index(run.shown[-1]),
        "matrices": [_sparse(matrix_of(one)) for one in predictions],
        "cells": [
            {f"{i},{j}": [place[n] for n in rows if n in place] for (i, j), rows in cells.items()}
            for cells in shown
        ],
        "images": [
            {
                "id": first.ids[n],
                "src": album.thumbnail(first.ids[n], run.paths[n]),
                "label": int(first.labels[n]),
                "by": [_predicted(one, n) for one in predictions],
            }
            for n in place
        ],
        "measured": None if run.confusion is None else _soft(run.confusion.mass, run.confusion.samples),
    }


def offered(view: dict[str, Any]) -> list[int]:
    """Return which recipes the reader can choose among: those that are not only somebody's control."""
    every = range(len(view["methods"]))
    return [m for m in every if view["controls"][m] >= 0 or m not in view["controls"]]


def order_of(run: RunData) -> list[int]:
    """Return the order of the classes on the page: by what all recipes together confuse."""
    matrices = [matrix_of(one) for one in run.predictions.values()]
    if not matrices:
        return clustered(run.confusion.mass) if run.confusion else list(range(len(run.classes)))
    total = np.sum(matrices, axis=0) + (0 if run.confusion is None else run.confusion.mass)
    return clustered(total)


Cells = dict[tuple[int, int], list[int]]  # (true class, predicted class) → indices of test images


def shown_rows(predictions: Predictions) -> Cells:
    """Return the images of every cell that are shown, those of the highest confidence first."""
    cells: Cells = defaultdict(list)
    predicted = predictions.predicted
    for n in np.argsort(-predictions.probabilities.max(axis=1), kind="stable"):
        i, j = int(predictions.labels[n]), int(predicted[n])
        if len(cells[i, j]) < (PER_CELL if i != j else PER_CELL // 3):
            cells[i, j].append(int(n))
    return dict(cells)


def _by_turns(shown: Sequence[Cells]) -> list[int]:
    """Return every shown image once: errors first, and of each cell one before any second one.

    In this order thumbnails are made, so that every cell keeps some where room is short.
    """
    turns = [
        (i == j, turn, n) for cells in shown for (i, j), rows in cells.items() for turn, n in enumerate(rows)
    ]
    return list(dict.fromkeys(n for *_, n in sorted(turns)))


def _predicted(predictions: Predictions, n: int) -> list[float]:
    """Return [predicted class, its probability, the true class's probability]."""
    probabilities, label = predictions.probabilities[n], int(predictions.labels[n])
    predicted = int(probabilities.argmax())
    return [predicted, round(float(probabilities[predicted]), 4), round(float(probabilities[label]), 4)]


def _sparse(matrix: IntArray) -> list[list[int]]:
    return [[int(i), int(j), int(matrix[i, j])] for i, j in np.argwhere(matrix)]


def _soft(mass: FloatArray, samples: IntArray) -> dict[str, Any]:
    """Soft counts, without what rounds to nothing."""
    cells = [[int(i), int(j), round(float(mass[i, j]), 2)] for i, j in np.argwhere(mass >= 0.005)]
    return {"cells": cells, "samples": samples.tolist()}
