"""Classes that are each other's mirror images, or turned: arrows, hands, keep left and keep right.

Augmentation by flips teaches a network that they are one. A classifier in closed form, which learned images as they
are, is shown the same images flipped and turned: where it then takes one class for another, and the other for the
one as they are turned back, it is so.

Letters: N samples, K classes, C×H×W image.
"""

from __future__ import annotations

from collections.abc import Callable, Sequence
from dataclasses import dataclass
from statistics import NormalDist

import numpy as np
import torch
from torch import Tensor

from sit2.features.closed_form import fit_closed_form
from sit2.records import ByteArray, FloatArray, IntArray
from sit2.seeds import Seeds

MOST, MOST_OF_CLASS, FEWEST = (
    300,
    60,
    12,
)  # images that are looked at: in all, of a class; and at least of a class
MORE = 0.3  # fraction of images so taken for the other class, beyond those that are as they are
NEARLY = 0.35  # so far below the largest fraction another move counts as much
CHANCE = 0.01  # that classes which are not each other's mirror images are said to be

Move = Callable[[Tensor], Tensor]


def _turned(quarters: int) -> Move:
    return lambda images: images.rot90(quarters, (2, 3))


def _transposed(quarters: int) -> Move:
    return lambda images: images.flip(3).rot90(quarters, (2, 3))


# Name, move and the number of the move that undoes it; the first is all that a left-right flip does.
MIRROR = "mirrored left to right"
MOVES: tuple[tuple[str, Move, int], ...] = (
    (MIRROR, _transposed(0), 0),
    ("turned upside down", _turned(2), 1),
    ("mirrored top to bottom", _transposed(2), 2),
    ("turned by a quarter", _turned(1), 4),
    ("turned by a quarter", _turned(3), 3),
    ("mirrored along a diagonal", _transposed(1), 5),
    ("mirrored along a diagonal", _transposed(3), 6),
)
LEFT_RIGHT, ALL = (0,), tuple(range(len(MOVES)))  # what augmentation by flips does, and by flips and turns


@dataclass(frozen=True)
class Mirrored:
    """Two classes whose images look like the other's when flipped or turned."""

    a: int  # class
    b: int  # class
    how: str  # "mirrored left to right", …
    fraction: float  # of their images that then look more like the other class than like their own


def mirrored_classes(
    images: ByteArray,
    labels: IntArray,
    num_classes: int,
    *,
    rows: IntArray,
    moves: tuple[int, ...] = ALL,
    groups: Sequence[str] = (),
    seeds: Seeds,
) -> tuple[Mirrored, ...]:
    """Find pairs of classes that flips or turns exchange, each once.

    Args:
        images: (M, C, H, W) uint8.
        labels: (N,) in [0, K).
        num_classes: K.
        rows: (N,) in [0, M), the images that count; a sample of them is looked at.
        moves: indices of MOVES: what is tried; with one also the one that undoes it.
        groups: N names of patients, slides, …; empty where there are none.
        seeds: draws the sample, and the classifier's filters.

    Raises:
        DataError: all images that are looked at are of one group.
    """
    picked = _sample(labels, num_classes, max(FEWEST, min(MOST_OF_CLASS, MOST // num_classes)), seeds)
    known, which = labels[picked], rows[picked]
    counts = np.bincount(known, minlength=num_classes)
    if (counts >= FEWEST).sum() < 2:
        return ()
    own = tuple(groups[n] for n in picked) if groups else ()
    classifier, left_out = fit_closed_form(
        images, known, num_classes, rows=which, groups=own, seeds=seeds.child("mirrored")
    )
    before = _taken_for(left_out, known, num_classes)
    pixels = torch.from_numpy(np.ascontiguousarray(images[which])).float() / 255
    after = {
        number: _taken_for(classifier(move(pixels)).numpy(), known, num_classes)
        for number, (_, move, _) in enumerate(MOVES)
        if number in moves
    }
    tests = len(moves) * num_classes * (num_classes - 1) / 2
    limit = NormalDist().inv_cdf(1 - CHANCE / tests)  # of what would be a coin's toss for each image
    both = counts[:, None] + counts
    found: dict[tuple[int, int], Mirrored] = {}
    fractions, sure = [], np.zeros((num_classes, num_classes), dtype=bool)
    for number in moves:
        # Images of A that look like B, and those of B that look like A when they are turned back.
        there, home = after[number], after[MOVES[number][2]].T
        fraction = (there * counts[:, None] + home * counts) / np.maximum(both, 1)
        more = fraction - (before * counts[:, None] + before.T * counts) / np.maximum(both, 1)
        here = (np.minimum(there, home) >= 0.5) & (fraction >= 0.5 + limit / 2 / np.sqrt(np.maximum(both, 1)))
        sure |= here & (more >= MORE) & (np.minimum(counts[:, None], counts) >= FEWEST)
        fractions.append(np.where(np.minimum(there, home) >= 0.5, fraction, 0.0))
    for a, b in np.argwhere(sure | sure.T).tolist():
        if a < b:
            # Many moves may exchange the two, of arrows half a turn as well as a flip. The first is the mildest.
            most = max(max(one[a, b], one[b, a]) for one in fractions)
            first = next(n for n, one in enumerate(fractions) if max(one[a, b], one[b, a]) > most - NEARLY)
            how = MOVES[moves[first]][0]
            found[a, b] = Mirrored(a, b, how, float(max(fractions[first][a, b], fractions[first][b, a])))
    return tuple(found.values())


def _sample(labels: IntArray, num_classes: int, each: int, seeds: Seeds) -> IntArray:
    """Return at most ``each`` places of every class, ascending."""
    draw = seeds.numpy("mirrored")
    parts = [draw.permutation(np.flatnonzero(labels == k))[:each] for k in range(num_classes)]
    return np.sort(np.concatenate(parts)).astype(np.int64)


def _taken_for(scores: FloatArray, labels: IntArray, num_classes: int) -> FloatArray:
    """(K, K) from scores (N, K): the fraction of each row's class that looks more like each column's."""
    own = scores[np.arange(len(labels)), labels]
    found = np.zeros((num_classes, num_classes))
    for k in range(num_classes):
        if (labels == k).any():
            found[k] = (scores[labels == k] > own[labels == k, None]).mean(axis=0)
    return found
