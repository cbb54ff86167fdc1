"""Test errors outside of the chosen pairs: where they lie, and why those pairs were not chosen."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from typing import Any

import numpy as np

from sit2.confusion.pairs import all_pairs, why_not_chosen
from sit2.confusion.settings import ConfusionSettings
from sit2.data.words import counted
from sit2.records import IntArray
from sit2.report.data import RunData
from sit2.report.matrix import matrix_of

MOST = 10  # pairs that are shown


@dataclass(frozen=True)
class Outside:
    """A pair of classes that was not chosen, with the test errors between the two."""

    class_a: str
    class_b: str
    errors: int
    images: int  # of the test, of either class
    score: float | None  # before training; None: not measured
    why: str  # it was not chosen; "" beyond those that are shown


@dataclass(frozen=True)
class Errors:
    """All test errors of a run's main recipe, inside and outside of the chosen pairs."""

    inside: int
    outside: int
    rows: tuple[Outside, ...]  # most errors first

    @property
    def all(self) -> int:
        """How many there are."""
        return self.inside + self.outside


def errors_outside(run: RunData) -> Errors | None:
    """Count the errors of the main recipe; None before there are predictions, or where no pair was chosen."""
    if run.method is None or not run.chosen:
        return None
    matrix = matrix_of(run.predictions[run.method])
    errors: IntArray = np.triu(matrix + matrix.T, 1)
    chosen = {(pair.a, pair.b) for pair in run.chosen}
    known = {(pair.a, pair.b): pair for pair in run.pairs}
    inside = sum(int(errors[ab]) for ab in chosen)
    wrong = [p for p in all_pairs(run.classes) if errors[p.a, p.b] and (p.a, p.b) not in chosen]
    wrong.sort(key=lambda pair: (-int(errors[pair.a, pair.b]), pair.class_a, pair.class_b))
    rows = [
        Outside(
            pair.class_a,
            pair.class_b,
            int(errors[pair.a, pair.b]),
            int(matrix[pair.a].sum() + matrix[pair.b].sum()),
            known[pair.a, pair.b].score if (pair.a, pair.b) in known else None,
            why_not_chosen(pair, run.pairs, **_rule(run.settings)) if number < MOST else "",
        )
        for number, pair in enumerate(wrong)
    ]
    return Errors(inside, int(errors.sum()) - inside, tuple(rows))


def outside_sentence(run: RunData) -> str:
    """Say how many test errors the chosen pairs hold, and where most others lie; "" if there are none."""
    found = errors_outside(run)
    if found is None or not found.all:
        return ""
    errors = counted(found.all, "test error")
    told = f"Of {errors}, {found.inside:,} lie in the chosen pairs and {found.outside:,} outside"
    if not found.rows:
        return f"{told}."
    most = found.rows[0]
    where = f"{most.class_a} and {most.class_b} (not chosen: {most.why})"
    return f"{told}, {most.errors:,} of these between {where}."


def _rule(settings: Mapping[str, Any]) -> dict[str, float]:
    """Return the settings that choose pairs, as the run had them."""
    usual = ConfusionSettings()
    given = {"coverage": settings.get("pair_coverage"), "min_confused": settings.get("min_confused")}
    defaults = {"coverage": usual.pair_coverage, "min_confused": usual.min_confused}
    return {
        name: float(value) if isinstance(value, int | float) else defaults[name]
        for name, value in given.items()
    }
