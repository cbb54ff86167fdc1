"""Some images of every confused pair: as many as its doubt is of all doubt, the nearest to call, and not alike."""

from __future__ import annotations

import numpy as np

from sit2.records import FloatArray, IntArray
from sit2.suggest.policies.policy import Candidates, highest

POOL = 4  # times the quota: of so many that are the nearest to call, those are taken that are not alike


def by_confusion(candidates: Candidates, count: int, _luck: np.random.Generator) -> IntArray:
    """Give each pair of classes its quota, and spread that out in feature space."""
    count, doubt = min(count, len(candidates.probabilities)), candidates.doubt
    pair = np.sort(candidates.first_two, axis=1) @ np.array([candidates.probabilities.shape[1], 1])
    names, member = np.unique(pair, return_inverse=True)
    mass = np.bincount(member, weights=doubt, minlength=len(names)).astype(np.float64)
    quota = quotas(mass, np.bincount(member, minlength=len(names)), count)
    chosen = []
    for number in highest(mass, len(names)):
        rows = np.flatnonzero(member == number)
        pool = rows[highest(doubt[rows], POOL * int(quota[number]))]
        if 0 < quota[number] < len(pool):
            pool = pool[spread_out(candidates.features(pool), int(quota[number]))]
        chosen.append(pool[: quota[number]])
    found: IntArray = np.concatenate(chosen).astype(np.int64)
    return found[highest(doubt[found], count)]


def quotas(mass: FloatArray, room: IntArray, count: int) -> IntArray:
    """Part ``count`` among pairs by their mass (P,), none more than its room (P,): by the highest averages.

    One by one goes to the pair with the most mass for each that it would then have (after D'Hondt).
    """
    given = np.zeros(len(mass), np.int64)
    for _ in range(min(count, int(room.sum()))):
        worth = np.where(given < room, (mass + 1e-12) / (given + 1), -1.0)
        given[worth.argmax()] += 1
    return given


def spread_out(features: FloatArray, count: int) -> IntArray:
    """Return rows of (n, D) features: the first, then the farthest from all before it (k-center greedy)."""
    scale = np.linalg.norm(features, axis=1, keepdims=True)
    directions = features / np.maximum(scale, 1e-12)
    chosen, near = [0], np.full(len(features), np.inf)
    while len(chosen) < min(count, len(features)):
        near = np.minimum(near, 1 - directions @ directions[chosen[-1]])
        near[chosen] = -np.inf
        chosen.append(int(near.argmax()))
    return np.array(chosen, np.int64)
