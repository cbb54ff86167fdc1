"""The pairs of classes that are confused: how much before and after, and the images that show it.

A is the set of test images of either class of a pair. Mended: the control took an image for the pair's other
class, the method gets it right. Made: the reverse.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from itertools import zip_longest

import numpy as np

from sit2.records import BoolArray, ClassPair, IntArray
from sit2.report.data import Answers, RunData
from sit2.report.heat import Heat, Look
from sit2.report.images import Album

STORIES = 12  # pairs that are shown with images
EACH = 6  # images of each kind
LOOKS = 3  # of them, with heat maps


@dataclass(frozen=True)
class Share:
    """Errors among the images of a pair, with the 95 % Wilson interval of their share."""

    errors: int
    images: int

    @property
    def share(self) -> float:
        """In [0, 1]; NaN without images."""
        return self.errors / self.images if self.images else float("nan")

    @property
    def interval(self) -> tuple[float, float]:
        """Wilson (1927); it takes images for independent."""
        from statsmodels.stats.proportion import proportion_confint

        if not self.images:
            return float("nan"), float("nan")
        low, high = proportion_confint(self.errors, self.images, method="wilson")
        return float(low), float(high)


@dataclass(frozen=True)
class PairRow:
    """A pair of classes on the test images, before (control) and after (method)."""

    rank: int
    pair: ClassPair
    before: Share
    after: Share
    mended: IntArray  # places among the test images
    made: IntArray


@dataclass(frozen=True)
class Picture:
    """An image of the run, with what each of the two said."""

    id: str
    src: str | None
    label: str
    before: str
    before_sure: float
    after: str
    after_sure: float
    look: Look | None = None


@dataclass(frozen=True)
class Story:
    """A pair with its images."""

    row: PairRow
    of_a: tuple[tuple[str, str | None], ...]  # (id, data address) of training images
    of_b: tuple[tuple[str, str | None], ...]
    sheet: str | None  # the not-sure images made from the pair
    mended: tuple[Picture, ...]
    made: tuple[Picture, ...]


def pair_rows(run: RunData) -> tuple[PairRow, ...]:
    """Return the chosen pairs in their order; without any, those that are confused most in the test."""
    if not (run.answers and run.pairs):
        return ()
    before, after = run.answers[run.control], run.answers[run.method]
    pairs = run.chosen or run.pairs[:10]
    return tuple(pair_row(rank, pair, before, after) for rank, pair in enumerate(pairs, 1))


def pair_row(rank: int, pair: ClassPair, before: Answers, after: Answers) -> PairRow:
    """Count a pair's errors in the test, before and after."""
    images = np.isin(before.labels, (pair.a, pair.b))
    taken_before, taken_after = (_taken_for_other(answers, pair) for answers in (before, after))
    return PairRow(
        rank,
        pair,
        Share(int(taken_before.sum()), int(images.sum())),
        Share(int(taken_after.sum()), int(images.sum())),
        np.flatnonzero(taken_before & after.correct),
        np.flatnonzero(taken_after & before.correct),
    )


def stories(run: RunData, rows: Sequence[PairRow], album: Album, heat: Heat) -> tuple[Story, ...]:
    """Return the first pairs with images, and with heat maps of the first errors mended and made."""
    # synthesis/001_….png is of the first chosen pair.
    sheets = {int(path.name[:3]): path for path in (run.folder / "synthesis").glob("[0-9][0-9][0-9]_*.png")}
    training = run.samples[run.samples["split"] == "train"]

    def examples(name: str) -> tuple[tuple[str, str | None], ...]:
        of_class = training[training["label"] == name].head(EACH)
        return tuple(
            (i, album.thumbnail(i, p)) for i, p in zip(of_class["id"], of_class["path"], strict=True)
        )

    def pictures(places: IntArray) -> tuple[Picture, ...]:
        looks = [heat.look(int(n)) for n in places[:LOOKS]]
        return tuple(picture(run, int(n), album, look) for n, look in zip_longest(places[:EACH], looks))

    return tuple(
        Story(
            row,
            examples(row.pair.class_a),
            examples(row.pair.class_b),
            album.sheet(sheets[row.rank]) if row.pair.chosen and row.rank in sheets else None,
            pictures(row.mended),
            pictures(row.made),
        )
        for row in rows[:STORIES]
    )


def picture(run: RunData, n: int, album: Album, look: Look | None = None) -> Picture:
    """Return test image n with what control and method said, and where they looked."""
    before, after = run.answers[run.control], run.answers[run.method]
    name, path = before.ids[n], before.paths[n]
    said = [(run.classes[a.predicted[n]], float(a.probabilities[n].max())) for a in (before, after)]
    src = album.thumbnail(name, path) if look is None else look.src
    return Picture(name, src, run.classes[before.labels[n]], *said[0], *said[1], look)


def _taken_for_other(answers: Answers, pair: ClassPair) -> BoolArray:
    a, b = (answers.labels == pair.a), (answers.labels == pair.b)
    taken: BoolArray = (a & (answers.predicted == pair.b)) | (b & (answers.predicted == pair.a))
    return taken
