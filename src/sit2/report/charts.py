"""Charts as data: drawn on the page by a template, and for papers by :mod:`sit2.report.figures`."""

from __future__ import annotations

import math
from collections.abc import Sequence
from dataclasses import dataclass

import numpy as np

from sit2.evaluation.words import points
from sit2.records import FloatArray
from sit2.report.data import Answers, Gap, RunData

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
    def of(cls, name: str, gap: Gap, text: str, verdict: str, *, scale: float = 100.0) -> Span:
        """Return a difference as a row."""
        values = (scale * gap.difference, scale * gap.lower, scale * gap.upper)
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

    def place(self, value: float) -> float:
        """Return where a value lies on the axis, in percent."""
        low, high = self.ticks[0], self.ticks[-1]
        return round(100 * min(1.0, max(0.0, (value - low) / (high - low))), 3)

    def width(self, row: Span) -> float:
        """Return the length of a row's interval, in percent."""
        return round(self.place(row.upper) - self.place(row.lower), 3)


@dataclass(frozen=True)
class Line:
    """A line, perhaps in a band; x and y are of equal length."""

    name: str
    x: tuple[float, ...]
    y: tuple[float, ...]
    lower: tuple[float, ...] = ()
    upper: tuple[float, ...] = ()


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
        """Return a place between the first and the last tick, in [0, WIDE]."""
        low, high = self.x_ticks[0], self.x_ticks[-1]
        return round(WIDE * (value - low) / (high - low), 1)

    def y(self, value: float) -> float:
        """Return a place in [0, HIGH], downwards as SVG counts."""
        low, high = self.y_ticks[0], self.y_ticks[-1]
        return round(HIGH * (1 - (value - low) / (high - low)), 1)

    def path(self, line: Line) -> str:
        """Return the line as the path of an SVG."""
        return "M" + "L".join(f"{self.x(a)} {self.y(b)}" for a, b in zip(line.x, line.y, strict=True))

    def points(self, line: Line) -> str:
        """Return the line's points as the path of an SVG: drawn with round ends, they are dots."""
        return "".join(f"M{self.x(a)} {self.y(b)}h.01" for a, b in zip(line.x, line.y, strict=True))

    def band(self, line: Line) -> str:
        """Return the outline of the line's band; "" where it has none."""
        if not line.lower:
            return ""
        there = [f"{self.x(a)} {self.y(b)}" for a, b in zip(line.x, line.upper, strict=True)]
        back = [f"{self.x(a)} {self.y(b)}" for a, b in zip(line.x, line.lower, strict=True)]
        return "M" + "L".join([*there, *reversed(back)]) + "Z"


def ticks(low: float, high: float, about: int = 4) -> tuple[float, ...]:
    """Return round numbers around [low, high], 1, 2 or 5 times a power of ten apart."""
    if not high > low:
        low, high = low - 0.5, high + 0.5
    rough = (high - low) / about
    power = 10.0 ** math.floor(math.log10(rough))
    step = next(m * power for m in (1, 2, 5, 10) if m * power >= rough * (1 - 1e-9))
    first, last = math.floor(low / step + 1e-9), math.ceil(high / step - 1e-9)
    return tuple(round(n * step, 10) for n in range(first, last + 1))


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
    """Return every method's difference from its control in accuracy, in percentage points."""
    rows = [
        Span.of(f"{test.method} − {test.control}", test.gap, gap_text(test.gap), test.verdict)
        for test in run.tests
    ]
    return spans("difference", "Difference in accuracy, with 95 % intervals", "percentage points", rows)


def gap_text(gap: Gap) -> str:
    """Return a difference with its interval, in percentage points."""
    return f"{points(gap.difference)} ({points(gap.lower)} to {points(gap.upper)})"


def losses(run: RunData) -> tuple[Plot, ...]:
    """Return each method's training loss by samples seen, a line for every phase."""
    plots = []
    for number, (method, steps) in enumerate(run.history.items()):
        if not steps:
            continue
        phases = dict.fromkeys(step.phase for step in steps)
        lines = []
        for phase in phases:
            own = [step for step in steps if step.phase == phase]
            lines.append(Line(phase, tuple(s.samples_seen for s in own), tuple(s.loss for s in own)))
            checked = [s for s in own if s.validation is not None]
            if checked:
                y = tuple(float(s.validation or 0.0) for s in checked)
                lines.append(Line(f"{phase}, validation", tuple(s.samples_seen for s in checked), y))
        high = max(value for line in lines for value in line.y)
        low = min(0.0, *(value for line in lines for value in line.y))
        title = f"Loss of {method}"
        plots.append(
            Plot(
                f"loss-{number}",
                title,
                "images through the network",
                "loss",
                tuple(lines),
                ticks(0, max(step.samples_seen for step in steps)),
                ticks(low, high),
            )
        )
    return tuple(plots)


def calibration(run: RunData) -> Plot | None:
    """Return how often each method is right, by how sure it is."""
    lines = tuple(_reliability(answers) for answers in run.answers.values())
    scale = (0.0, 20.0, 40.0, 60.0, 80.0, 100.0)
    if not lines:
        return None
    return Plot(
        "calibration",
        "Calibration: sureness and truth",
        "how sure it is (%)",
        "how often it is right (%)",
        lines,
        scale,
        scale,
        diagonal=True,
        dots=True,
    )


def _reliability(answers: Answers, bins: int = 10) -> Line:
    """Return mean sureness and accuracy, in percent, in bins of equal width."""
    sure: FloatArray = answers.probabilities.max(axis=1)
    place = np.minimum((sure * bins).astype(np.int64), bins - 1)
    filled = [b for b in range(bins) if (place == b).any()]
    x = tuple(round(100 * float(sure[place == b].mean()), 2) for b in filled)
    y = tuple(round(100 * float(answers.correct[place == b].mean()), 2) for b in filled)
    return Line(answers.method, x, y)
