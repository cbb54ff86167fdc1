"""Images that look nearly the same though their files differ, where that matters."""

from __future__ import annotations

import numpy as np

from sit2.data.pixels import Pixels
from sit2.data.quality.findings import Finding
from sit2.data.quality.leaks import described
from sit2.data.quality.near_duplicates import near_pairs
from sit2.data.words import counted, listed
from sit2.records import BoolArray, Dataset, FloatArray, IntArray

SURE = 0.99  # likeness from which on two files are one picture; below it, a person should look


def lookalikes(dataset: Dataset, pixels: Pixels) -> list[Finding]:
    """Find pairs of images that look nearly the same, but are neither copies nor of one group.

    Across given splits a sure pair is a leak.
    """
    readable = np.flatnonzero([not problem for problem in pixels.problems])
    pairs, likeness = near_pairs(pixels.images[readable])
    pairs = readable[pairs]
    told = ~(_same(dataset.duplicates, pairs) | _same(dataset.groups, pairs))
    pairs, likeness = pairs[told], likeness[told]
    across = ~_same(dataset.splits, pairs) & bool(dataset.splits)
    sure = across & (likeness >= SURE)
    return [
        *_near_leaks(dataset, pairs[sure], likeness[sure]),
        *_near_duplicates(dataset, pairs[~sure], likeness[~sure], across[~sure]),
    ]


def _same(values: tuple[str, ...], pairs: IntArray) -> BoolArray:
    """(P,) bool: whether both of a pair have the same value; never, where there are no values."""
    if not values:
        return np.zeros(len(pairs), dtype=np.bool_)
    array = np.array(values)
    same: BoolArray = array[pairs[:, 0]] == array[pairs[:, 1]]
    return same


def _near_leaks(dataset: Dataset, pairs: IntArray, likeness: FloatArray) -> list[Finding]:
    if not len(pairs):
        return []
    shows = "shows" if len(pairs) == 1 else "show"
    return [
        Finding(
            "near leak",
            "wrong",
            f"{counted(len(pairs), 'pair')} of images in different splits {shows} the same picture: "
            f"{_examples(dataset, pairs)}.",
            "keep both of a pair in one split",
            _files(dataset, pairs),
            _details(dataset, pairs, likeness),
        )
    ]


def _near_duplicates(
    dataset: Dataset, pairs: IntArray, likeness: FloatArray, across: BoolArray
) -> list[Finding]:
    if not len(pairs):
        return []
    text = f"{counted(len(pairs), 'pair')} of images {'looks' if len(pairs) == 1 else 'look'} nearly the same"
    differ = int((dataset.labels[pairs[:, 0]] != dataset.labels[pairs[:, 1]]).sum())
    more = [f"{across.sum():,} in different splits"] if across.any() else []
    more += [f"{differ:,} in different classes"] if differ else []
    text += f" ({', '.join(more)})" if more else ""
    hint = "look at them: what shows the same thing belongs into one split and one class"
    if not dataset.splits:
        hint += "; name what it shares with --groups or --group-pattern, and no split parts it"
    return [
        Finding(
            "near-duplicates",
            "warning",
            f"{text}: {_examples(dataset, pairs)}.",
            hint,
            _files(dataset, pairs),
            _details(dataset, pairs, likeness),
        )
    ]


def _details(dataset: Dataset, pairs: IntArray, likeness: FloatArray) -> tuple[dict[str, object], ...]:
    return tuple(
        {**described(dataset, pair.tolist()), "likeness": round(float(alike), 4)}
        for pair, alike in zip(pairs, likeness, strict=True)
    )


def _files(dataset: Dataset, pairs: IntArray) -> tuple[str, ...]:
    return tuple(dataset.ids[n] for n in dict.fromkeys(pairs.ravel().tolist()))


def _examples(dataset: Dataset, pairs: IntArray) -> str:
    return listed([f"{dataset.ids[i]} ≈ {dataset.ids[j]}" for i, j in pairs])
