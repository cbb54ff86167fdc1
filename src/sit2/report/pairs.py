"""The pairs of classes that are confused: how much, and the images that show it.

The test images of a pair are those of either class. An error of the pair: an image classified as the other class.
Fixed: an error of the control where the method is correct. Introduced: the reverse.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from itertools import zip_longest

import numpy as np

from sit2.records import BoolArray, ClassPair, IntArray, Predictions
from sit2.report.data import RunData
from sit2.report.gradcam import Explained, HeatMaps
from sit2.report.images import Album

STORIES = 12  # pairs that are shown with images
MOST_CONFUSED = 10  # pairs that are listed where none was chosen
EACH = 6  # images of each kind
EXPLAINED = 3  # of them, with heat maps


@dataclass(frozen=True)
class ErrorRate:
    """Errors among the images of a pair, with the 95 % Wilson interval of their rate."""

    errors: int
    images: int

    @property
    def rate(self) -> float:
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
    """A pair of classes on the test images."""

    rank: int
    pair: ClassPair
    errors: tuple[
        ErrorRate, ...
    ]  # of each recipe that is shown: the control, where there is one, and the method
    fixed: IntArray  # indices of test images; none where there is no control
    introduced: IntArray
    remaining: IntArray  # errors of the method

    @property
    def method_errors(self) -> ErrorRate:
        """The method's."""
        return self.errors[-1]


@dataclass(frozen=True)
class Guess:
    """What one recipe predicts for an image."""

    recipe: str
    predicted: str
    confidence: float


@dataclass(frozen=True)
class Picture:
    """A test image with the predictions of each recipe that is shown."""

    id: str
    src: str | None
    label: str
    guesses: tuple[Guess, ...]
    explained: Explained | None = None


@dataclass(frozen=True)
class Story:
    """A pair with its images."""

    row: PairRow
    of_a: tuple[tuple[str, str | None], ...]  # (id, data address) of training images
    of_b: tuple[tuple[str, str | None], ...]
    sheet: str | None  # the not-sure images made from the pair
    kinds: tuple[
        tuple[str, int, tuple[Picture, ...]], ...
    ]  # (title, how many there are, those that are shown)


def pair_rows(run: RunData) -> tuple[PairRow, ...]:
    """Return the chosen pairs in their order; without any, those that were confused most before training."""
    if not (run.shown and run.pairs):
        return ()
    shown = [run.predictions[recipe] for recipe in run.shown]
    pairs = run.chosen or run.pairs[:MOST_CONFUSED]
    return tuple(pair_row(rank, pair, shown) for rank, pair in enumerate(pairs, 1))


def pair_row(rank: int, pair: ClassPair, shown: Sequence[Predictions]) -> PairRow:
    """Count a pair's errors among the test images, by the control, if there is one, and by the method."""
    method = shown[-1]
    images = int(np.isin(method.labels, (pair.a, pair.b)).sum())
    wrong = [_confused(predictions, pair) for predictions in shown]
    nothing = np.zeros(0, dtype=np.int64)
    control = shown[0] if len(shown) > 1 else None
    return PairRow(
        rank,
        pair,
        tuple(ErrorRate(int(errors.sum()), images) for errors in wrong),
        fixed=nothing if control is None else np.flatnonzero(wrong[0] & method.correct),
        introduced=nothing if control is None else np.flatnonzero(wrong[1] & control.correct),
        remaining=_by_confidence(method, np.flatnonzero(wrong[-1])),
    )


def stories(run: RunData, rows: Sequence[PairRow], album: Album, heat: HeatMaps) -> tuple[Story, ...]:
    """Return the first pairs with images, and with heat maps of the first errors of each kind."""
    # synthesis/001_….png is of the first chosen pair.
    sheets = {int(path.name[:3]): path for path in (run.folder / "synthesis").glob("[0-9][0-9][0-9]_*.png")}
    samples, training = run.samples, run.samples.rows("test" if run.folds else "train")

    def examples(name: str) -> tuple[tuple[str, str | None], ...]:
        of_class = [(samples.ids[n], samples.paths[n]) for n in training if samples.labels[n] == name]
        return tuple((i, album.thumbnail(i, path)) for i, path in of_class[:EACH])

    def pictures(rows: IntArray) -> tuple[Picture, ...]:
        explained = [heat.of_image(int(n)) for n in rows[:EXPLAINED]]
        return tuple(picture(run, int(n), album, one) for n, one in zip_longest(rows[:EACH], explained))

    def kinds(row: PairRow) -> list[tuple[str, IntArray]]:
        if len(run.shown) == 1:
            return [("Confused images", row.remaining)]
        return [("Errors fixed", row.fixed), ("Errors introduced", row.introduced)]

    return tuple(
        Story(
            row,
            examples(row.pair.class_a),
            examples(row.pair.class_b),
            album.sheet(sheets[row.rank]) if row.pair.chosen and row.rank in sheets else None,
            tuple((title, len(rows), pictures(rows)) for title, rows in kinds(row)),
        )
        for row in rows[:STORIES]
    )


def picture(run: RunData, n: int, album: Album, explained: Explained | None = None) -> Picture:
    """Return test image n with its predictions."""
    shown = [run.predictions[recipe] for recipe in run.shown]
    name = shown[0].ids[n]
    guesses = tuple(
        Guess(recipe, run.classes[int(one.probabilities[n].argmax())], float(one.probabilities[n].max()))
        for recipe, one in zip(run.shown, shown, strict=True)
    )
    src = album.thumbnail(name, run.paths[n]) if explained is None else explained.src
    return Picture(name, src, run.classes[shown[0].labels[n]], guesses, explained)


def _confused(predictions: Predictions, pair: ClassPair) -> BoolArray:
    """(N,) bool: images of one class of a pair that were classified as the other."""
    labels, predicted = predictions.labels, predictions.predicted
    confused: BoolArray = ((labels == pair.a) & (predicted == pair.b)) | (
        (labels == pair.b) & (predicted == pair.a)
    )
    return confused


def _by_confidence(predictions: Predictions, rows: IntArray) -> IntArray:
    """Return rows, those of the highest confidence first."""
    ordered: IntArray = rows[np.argsort(-predictions.probabilities[rows].max(axis=1), kind="stable")]
    return ordered
