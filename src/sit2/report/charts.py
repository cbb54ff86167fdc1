"""Charts as data: drawn on the page by a template, and for papers by :mod:`sit2.report.figures`."""

from __future__ import annotations

import math
from collections.abc import Iterable, Sequence
from dataclasses import dataclass
from itertools import groupby

import numpy as np

from sit2.evaluation.bootstrap import Difference
from sit2.evaluation.selective import risk_coverage
from sit2.evaluation.words import points
from sit2.records import Predictions
from sit2.report.data import RunData
from sit2.training.history import Epoch

DOT = 8.0  # pixels
WIDE, HIGH = 1000, 400  # the plane that lines are drawn on; the page stretches it


@dataclass(frozen=True)
class Span:
    """A value with its interval, as one row."""

    name: str
    value: float
    lower: float
    upper: float
    text: str
    tone: str = ""  # "better" or "worse", where that is known

    @classmethod
    def of(cls, name: str, gap: Difference, text: str, verdict: str) -> Span:
        """Return a difference as a row, in percentage points; without an interval where that has no end."""
        values = (100 * gap.difference, 100 * gap.lower, 100 * gap.upper)
        if not all(map(math.isfinite, values)):
            values = (values[0],) * 3
        return cls(name, *values, text, verdict if verdict in ("better", "worse") else "")


@dataclass(frozen=True)
class Spans:
    """Values with intervals, one under the other on one axis."""

    name: str  # of the file
    title: str
    unit: str
    rows: tuple[Span, ...]
    ticks: tuple[float, ...]
    zero: float | None  # where a line says "no difference"

    def left(self, value: float) -> float:
        """Return where a value lies on the axis, in percent."""
        low, high = self.ticks[0], self.ticks[-1]
        return round(100 * min(1.0, max(0.0, (value - low) / (high - low))), 3)

    def width(self, row: Span) -> float:
        """Return the length of a row's interval, in percent."""
        return round(self.left(row.upper) - self.left(row.lower), 3)


@dataclass(frozen=True)
class Line:
    """A line, perhaps in a band; x and y are of equal length, and so is ``images`` where points differ in it."""

    name: str
    x: tuple[float, ...]
    y: tuple[float, ...]
    lower: tuple[float, ...] = ()
    upper: tuple[float, ...] = ()
    images: tuple[int, ...] = ()  # that each point stands for

    @property
    def widths(self) -> tuple[float, ...]:
        """How wide each point is drawn, in pixels: its area grows with its images."""
        most = max(self.images, default=1)
        sized = tuple(round(max(DOT / 2, 2 * DOT * (n / most) ** 0.5), 1) for n in self.images)
        return sized or (DOT,) * len(self.x)


@dataclass(frozen=True)
class Plot:
    """Lines in one plane."""

    name: str  # of the file
    title: str
    x_label: str
    y_label: str
    lines: tuple[Line, ...]
    x_ticks: tuple[float, ...]
    y_ticks: tuple[float, ...]
    diagonal: bool = False
    dots: bool = False

    def x(self, value: float) -> float:
        """Return where a value lies between the first and the last tick, in [0, WIDE]."""
        low, high = self.x_ticks[0], self.x_ticks[-1]
        return round(WIDE * (value - low) / (high - low), 1)

    def y(self, value: float) -> float:
        """Return where a value lies in [0, HIGH], downwards as SVG counts."""
        low, high = self.y_ticks[0], self.y_ticks[-1]
        return round(HIGH * (1 - (value - low) / (high - low)), 1)

    def path(self, line: Line) -> str:
        """Return the line as the path of an SVG."""
        return "M" + "L".join(f"{self.x(a)} {self.y(b)}" for a, b in zip(line.x, line.y, strict=True))

    def points(self, line: Line) -> list[tuple[str, float]]:
        """Return the line's points as (path of an SVG, width): drawn with round ends, they are dots."""
        places = zip(line.x, line.y, line.widths, strict=True)
        return [(f"M{self.x(a)} {self.y(b)}h.01", width) for a, b, width in places]

    def band(self, line: Line) -> str:
        """Return the outline of the line's band; "" where it has none."""
        if not line.lower:
            return ""
        there = [f"{self.x(a)} {self.y(b)}" for a, b in zip(line.x, line.upper, strict=True)]
        back = [f"{self.x(a)} {self.y(b)}" for a, b in zip(line.x, line.lower, strict=True)]
        return "M" + "L".join([*there, *reversed(back)]) + "Z"


def ticks(low: float, high: float) -> tuple[float, ...]:
    """Return round numbers around [low, high], 1, 2 or 5 times a power of ten apart."""
    from matplotlib.ticker import MaxNLocator

    if not high > low:
        low, high = low - 0.5, high + 0.5
    found = MaxNLocator(nbins=4, steps=[1, 2, 5, 10]).tick_values(low, high)
    return tuple(round(float(tick), 10) for tick in found)


def tick_text(value: float) -> str:
    """Return a tick's label: "40k" for 40,000, "0.2", a true minus."""
    if abs(value) >= 1e6:
        text = f"{value / 1e6:g}M"
    elif abs(value) >= 1e4:
        text = f"{value / 1e3:g}k"
    else:
        text = f"{value:g}"
    return text.replace("-", "−")


def spans(name: str, title: str, unit: str, rows: Sequence[Span], zero: float | None = 0.0) -> Spans:
    """Lay rows on one axis; rows that hold NaN are left out."""
    kept = tuple(row for row in rows if all(map(math.isfinite, (row.value, row.lower, row.upper))))
    ends = [end for row in kept for end in (row.lower, row.upper)] + ([] if zero is None else [zero])
    return Spans(name, title, unit, kept, ticks(min(ends, default=0), max(ends, default=1)), zero)


def differences(run: RunData) -> Spans:
    """Return every recipe's difference from its control in accuracy."""
    rows = [
        Span.of(f"{test.method} − {test.control}", gap, difference_text(gap), test.told)
        for test in run.tests.values()
        for gap in [test.differences["accuracy"]]
    ]
    return spans("difference", "Difference in accuracy from the control, with 95 % intervals", POINTS, rows)


POINTS = "percentage points"


def difference_text(gap: Difference) -> str:
    """Return a difference with its interval, in percentage points."""
    if not (math.isfinite(gap.lower) and math.isfinite(gap.upper)):
        return f"{points(gap.difference)} (no interval)"
    return f"{points(gap.difference)} ({points(gap.lower)} to {points(gap.upper)})"


BINS = 10  # of confidence
SAMPLES_SEEN = "training images seen (with repeats)"


def losses(run: RunData) -> list[Plot]:
    """Return the training loss of every training, with a line for each phase; of several members the first."""
    plots = []
    for number, (name, epochs) in enumerate(_trainings(run).items()):
        lines = [line for phase in _phases(epochs) for line in _loss_lines(phase)]
        if not lines:
            continue
        values = [value for line in lines for value in line.y]
        plots.append(
            Plot(
                f"loss-{number}",
                f"Training loss of {name}",
                SAMPLES_SEEN,
                "loss",
                tuple(lines),
                ticks(0, max(line.x[-1] for line in lines)),
                ticks(min(0.0, *values), max(values)),
            )
        )
    return plots


def _loss_lines(epochs: Sequence[Epoch]) -> list[Line]:
    """Return the training loss of a phase, and the log-loss on the validation images where it was measured."""
    phase = epochs[0].phase
    points = [(e.samples_seen, e.loss) for e in epochs if math.isfinite(e.loss)]
    validation = [(e.samples_seen, e.val_log_loss) for e in epochs if e.val_log_loss is not None]
    return [*_line(phase, points), *_line(f"{phase}: validation log-loss", validation)]


def validation_accuracy(run: RunData) -> Plot | None:
    """Return the accuracy on the validation images during every training; None where it was not measured."""
    lines: list[Line] = []
    for name, epochs in _trainings(run).items():
        measured = [(e.samples_seen, 100 * e.val_accuracy) for e in epochs if e.val_accuracy is not None]
        lines += _line(name, measured)
    if not lines:
        return None
    values = [value for line in lines for value in line.y]
    return Plot(
        "validation-accuracy",
        "Validation accuracy during training",
        SAMPLES_SEEN,
        "accuracy (%)",
        tuple(lines),
        ticks(0, max(line.x[-1] for line in lines)),
        ticks(min(values), max(values)),
        dots=True,
    )


def _line(name: str, points: Sequence[tuple[float, float]]) -> list[Line]:
    return [Line(name, *map(tuple, zip(*points, strict=True)))] if points else []


def _trainings(run: RunData) -> dict[str, list[Epoch]]:
    """Return the epochs of every training by its name; of recipes with several members the first member's."""
    found: dict[str, list[Epoch]] = {}
    several = {epoch.method for epoch in run.history if epoch.member > 1}
    for epoch in run.history:
        if epoch.member == 1:
            name = f"{epoch.method} (first member)" if epoch.method in several else epoch.method
            found.setdefault(name, []).append(epoch)
    return found


def _phases(epochs: Iterable[Epoch]) -> list[list[Epoch]]:
    """Return the epochs of each phase."""
    return [list(group) for _, group in groupby(epochs, key=lambda epoch: epoch.phase)]


def calibration(run: RunData) -> Plot | None:
    """Return the accuracy of each recipe by its confidence."""
    lines = tuple(_reliability(recipe, predictions) for recipe, predictions in run.predictions.items())
    scale = (0.0, 20.0, 40.0, 60.0, 80.0, 100.0)
    if not lines:
        return None
    return Plot(
        "calibration",
        "Calibration: accuracy by confidence",
        "confidence (%)",
        "accuracy (%)",
        lines,
        scale,
        scale,
        diagonal=True,
        dots=True,
    )


def risk(run: RunData) -> Plot | None:
    """Return the errors of each recipe when only the most confident images are classified."""
    lines = [_risk(recipe, predictions) for recipe, predictions in run.predictions.items()]
    if not lines:
        return None
    return Plot(
        "risk-coverage",
        "Errors among the most confident images",
        "images classified (%), the most confident first",
        "errors (%)",
        tuple(lines),
        (0.0, 20.0, 40.0, 60.0, 80.0, 100.0),
        ticks(0, max(value for line in lines for value in line.y)),
    )


RISK_POINTS = 200  # of a line, at most


def _risk(recipe: str, predictions: Predictions) -> Line:
    answered, errors, _ = risk_coverage(predictions)
    shown = np.unique(np.linspace(0, len(errors) - 1, min(RISK_POINTS, len(errors))).round().astype(int))
    return Line(
        recipe,
        tuple(round(100 * float(value), 2) for value in answered[shown]),
        tuple(round(100 * float(value), 2) for value in errors[shown]),
    )


def _reliability(recipe: str, predictions: Predictions) -> Line:
    """Return mean confidence and accuracy, in percent, and the images of ten bins of equal width."""
    from sklearn.calibration import calibration_curve

    confidence = predictions.probabilities.max(axis=1).clip(0, 1)
    accuracy, mean = calibration_curve(predictions.correct.astype(int), confidence, n_bins=BINS)
    inner = np.linspace(0, 1, BINS + 1)[1:-1]
    _, images = np.unique(np.searchsorted(inner, confidence), return_counts=True)  # as calibration_curve does
    return Line(
        recipe,
        tuple(round(100 * float(value), 2) for value in mean),
        tuple(round(100 * float(value), 2) for value in accuracy),
        images=tuple(int(n) for n in images),
    )
