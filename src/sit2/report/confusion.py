"""Which classes are taken for which: matrices, an order in which confused classes stand together, a graph.

N test images, K classes.
"""

from __future__ import annotations

import math
from collections import defaultdict
from collections.abc import Sequence
from dataclasses import dataclass
from typing import Any

import numpy as np

from sit2.records import FloatArray, IntArray
from sit2.report.data import Answers, RunData
from sit2.report.images import Album

GRAPH_FROM = 13  # classes; with fewer, the matrix shows at a glance what a graph would
MOST_LINKS = 120
PER_CELL = 24  # images that a cell shows
MOST_IMAGES = 4000  # that all cells show together


def rates(matrix: FloatArray | IntArray) -> FloatArray:
    """Return rows that sum to 1, or to 0 where a class has no images; (K, K) float64."""
    totals = matrix.sum(axis=1, keepdims=True)
    shares: FloatArray = matrix / np.where(totals > 0, totals, 1)
    return shares


def mutual(matrix: FloatArray | IntArray) -> FloatArray:
    """(K, K) float64 in [0, 2], symmetric, 0 on the diagonal: P(j given i) + P(i given j)."""
    shares = rates(matrix)
    both: FloatArray = shares + shares.T
    np.fill_diagonal(both, 0.0)
    return both


def clustered(matrix: FloatArray | IntArray) -> list[int]:
    """Return the K classes in an order in which those that are confused stand side by side.

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


def heat_map(run: RunData, album: Album) -> dict[str, Any]:
    """Return what the page's script draws: matrices of every method, and the images behind their cells."""
    answers = list(run.answers.values())
    shown = [shown_rows(a) for a in answers]
    place = {n: k for k, n in enumerate(_by_turns(shown)[:MOST_IMAGES])}
    first = answers[0]
    return {
        "classes": list(run.classes),
        "order": order_of(run),
        "samples": np.bincount(first.labels, minlength=len(run.classes)).tolist(),
        "methods": [a.method for a in answers],
        "chosen": [a.method for a in answers].index(run.method),
        "matrices": [_sparse(a.matrix) for a in answers],
        "cells": [
            {f"{i},{j}": [place[n] for n in rows] for (i, j), rows in cells.items()} for cells in shown
        ],
        "images": [
            {
                "id": first.ids[n],
                "src": album.thumbnail(first.ids[n], first.paths[n]),
                "label": int(first.labels[n]),
                "by": [_said(a, n) for a in answers],
            }
            for n in place
        ],
        "measured": None if run.measured is None else _measured(run.measured.mass, run.measured.samples),
    }


def order_of(run: RunData) -> list[int]:
    """Return the order of the classes on the page: by what all methods together confuse."""
    matrices = [a.matrix for a in run.answers.values()]
    if not matrices:
        return clustered(run.measured.mass) if run.measured else list(range(len(run.classes)))
    total = np.sum(matrices, axis=0) + (0 if run.measured is None else run.measured.mass)
    return clustered(total)


Cells = dict[tuple[int, int], list[int]]  # (true class, predicted class) → places among the test images


def shown_rows(answers: Answers) -> Cells:
    """Return the images of every cell that are shown, those first of which the method was surest."""
    cells: Cells = defaultdict(list)
    for n in np.argsort(-answers.probabilities.max(axis=1), kind="stable"):
        i, j = int(answers.labels[n]), int(answers.predicted[n])
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


def _said(answers: Answers, n: int) -> list[float]:
    """Return [predicted class, its probability, the true class's probability]."""
    predicted, label = int(answers.predicted[n]), int(answers.labels[n])
    chances = answers.probabilities[n]
    return [predicted, round(float(chances[predicted]), 4), round(float(chances[label]), 4)]


def _sparse(matrix: IntArray) -> list[list[int]]:
    return [[int(i), int(j), int(matrix[i, j])] for i, j in np.argwhere(matrix)]


def _measured(mass: FloatArray, samples: IntArray) -> dict[str, Any]:
    """Soft counts, without what rounds to nothing."""
    cells = [[int(i), int(j), round(float(mass[i, j]), 2)] for i, j in np.argwhere(mass >= 0.005)]
    return {"cells": cells, "samples": samples.tolist()}
