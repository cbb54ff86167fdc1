"""The frozen records that travel between the stages.

Letters used throughout: N samples, K classes, P pairs, C×H×W channels, height and width.
This module knows NumPy only: statistics, pairs and reports read it without torch.
"""

from __future__ import annotations

from dataclasses import dataclass, replace
from pathlib import Path
from typing import Literal

import numpy as np
from numpy.typing import NDArray

FloatArray = NDArray[np.float64]
IntArray = NDArray[np.int64]
BoolArray = NDArray[np.bool_]
ByteArray = NDArray[np.uint8]

Split = Literal["train", "val", "test", "unused"]
SPLITS: tuple[Split, ...] = ("train", "val", "test", "unused")


@dataclass(frozen=True)
class Dataset:
    """A labelled set of images that were found, not yet decoded.

    ``labels[n]`` indexes ``classes``; -1 means that the image has no known label (only ``predict`` accepts
    that). ``groups`` and ``splits`` are empty tuples where the source gives none, ``duplicates`` where there are
    none.
    """

    name: str
    root: Path
    classes: tuple[str, ...]  # K names, sorted
    ids: tuple[str, ...]  # N, unique; for files the POSIX path relative to the root
    paths: tuple[str, ...]  # N, as samples.csv shows them, relative to the root
    labels: IntArray  # (N,) int64
    groups: tuple[str, ...] = ()  # N or none
    splits: tuple[str, ...] = ()  # N or none, each "train", "val" or "test"
    arrays: tuple[
        ByteArray, ...
    ] = ()  # N images (H, W[, C]) uint8, if pixels came along; or bytes (B,) of files
    notes: tuple[str, ...] = ()  # what was ignored on the way, for the screen
    duplicates: tuple[str, ...] = ()  # N or none: one name for all images that are equal to the byte
    added: tuple[bool, ...] = ()  # N or none: came beside the source, for training only
    layout: str = ""  # what the folders mean, such as "class" or "split/class"; "" where there are none

    def __len__(self) -> int:
        return len(self.ids)

    def take(self, rows: IntArray) -> Dataset:
        """Return the samples ``rows``, classes unchanged."""
        keep = [int(r) for r in rows]

        def pick(values: tuple[str, ...]) -> tuple[str, ...]:
            return tuple(values[r] for r in keep) if values else ()

        return replace(
            self,
            ids=pick(self.ids),
            paths=pick(self.paths),
            labels=self.labels[rows],
            groups=pick(self.groups),
            splits=pick(self.splits),
            duplicates=pick(self.duplicates),
            added=tuple(self.added[r] for r in keep) if self.added else (),
            arrays=tuple(self.arrays[r] for r in keep) if self.arrays else (),
        )


@dataclass(frozen=True)
class Confusion:
    """Where a classifier puts its probability, by true class.

    ``mass[i, j]`` is the sum, over the samples of class i, of the probability that the classifier gave to
    class j: a soft count. Rows of classes without samples are zero and are never read as "not confused".
    """

    classes: tuple[str, ...]
    mass: FloatArray  # (K, K)
    samples: IntArray  # (K,) int64: samples behind each row


@dataclass(frozen=True)
class ClassPair:
    """Two classes, how much a classifier confuses them, and whether not-sure images are made from them."""

    a: int  # class index, a < b
    b: int
    class_a: str
    class_b: str
    score: float  # P(b given a) + P(a given b), in [0, 2]
    lower: float  # 95 % interval of the score
    upper: float
    confused: float  # soft count of samples of either class taken for the other
    samples: int  # samples of both classes behind the score
    chosen: bool = False


@dataclass(frozen=True)
class Predictions:
    """Class probabilities of one model on labelled samples."""

    ids: tuple[str, ...]  # N
    labels: IntArray  # (N,) int64
    probabilities: FloatArray  # (N, K) float64, rows sum to 1
    groups: tuple[str, ...] = ()  # N or none
    p_values: FloatArray | None = None  # (N, K): classes above 1 − coverage are possible; None: not known
    unlike: BoolArray | None = None  # (N,): unlike the training images; None: not known

    @property
    def predicted(self) -> IntArray:
        """(N,) int64: the most probable class."""
        best: IntArray = self.probabilities.argmax(axis=1)
        return best

    @property
    def correct(self) -> BoolArray:
        """(N,) bool."""
        right: BoolArray = self.predicted == self.labels
        return right

    def take(self, rows: IntArray | BoolArray) -> Predictions:
        """Return the predictions of the samples ``rows`` (indices or a mask)."""
        index = np.flatnonzero(rows) if rows.dtype == np.bool_ else rows
        return Predictions(
            tuple(self.ids[i] for i in index),
            self.labels[index],
            self.probabilities[index],
            tuple(self.groups[i] for i in index) if self.groups else (),
            None if self.p_values is None else self.p_values[index],
            None if self.unlike is None else self.unlike[index],
        )
