"""What is wrong with this dataset? Nothing is changed; each finding says how to fix it."""

from __future__ import annotations

from collections.abc import Sequence

import numpy as np

from sit2.data.pixels import Pixels
from sit2.data.quality.classes import class_sizes, class_table, missing_classes
from sit2.data.quality.files import file_table, headers, shortcuts
from sit2.data.quality.findings import Checkup, ClassRow, FileRow, Finding
from sit2.data.quality.labels import suspicious_labels
from sit2.data.quality.leaks import duplicates, label_conflicts, leaks
from sit2.data.quality.lookalikes import lookalikes
from sit2.data.words import counted, listed
from sit2.records import Dataset, FloatArray

__all__ = ["Checkup", "ClassRow", "FileRow", "Finding", "check", "quick_check"]

_REASONS = 3  # why images cannot be read, that are told
SIZE = 32  # pixels a side that images are compared at


def check(
    dataset: Dataset,
    pixels: Pixels,
    *,
    folds: int = 0,
    balance: str = "none",
    probabilities: FloatArray | None = None,
    credible: float = 1.0,
    others: Sequence[Finding] = (),
) -> Checkup:
    """Look a dataset over.

    Args:
        dataset: as a reader returned it, its copies named.
        pixels: its images, decoded at SIZE pixels (any size from 8 on will do), and why some cannot be.
        folds: those that will measure confusion; 0: none do.
        balance: what is done against imbalance, as the setting says.
        probabilities: (N, K), each row of a classifier that did not learn from it; NaN where there is none.
            With them labels are examined too.
        credible: a label that they give more than this probability is not suspected.
        others: what was found elsewhere, or by looking at images in other ways.

    Raises:
        ConfigError: when labels are to be examined and cleanlab is not installed.
    """
    problems = pixels.problems
    seen = headers(dataset, problems)
    findings = _worst_first(
        *quick_check(dataset, problems, folds=folds, balance=balance),
        *lookalikes(dataset, pixels),
        *shortcuts(dataset, seen),
        *(suspicious_labels(dataset, probabilities, credible) if probabilities is not None else ()),
        *others,
    )
    return Checkup(
        dataset.name,
        class_table(dataset, problems),
        file_table(seen),
        len(np.unique(dataset.groups)) if dataset.groups else 0,
        findings,
        dataset,
    )


def quick_check(
    dataset: Dataset, problems: Sequence[str], *, folds: int = 0, balance: str = "none"
) -> tuple[Finding, ...]:
    """Find what needs no further reading of the images: broken files, leaks, small classes, …

    Args:
        dataset: N images, their copies named.
        problems: why an image cannot be read, or "", for each.
        folds, balance: as :func:`check` takes them.
    """
    return _worst_first(
        *_unreadable(dataset, problems),
        *label_conflicts(dataset),
        *leaks(dataset),
        *duplicates(dataset),
        *missing_classes(dataset),
        *class_sizes(dataset, problems, folds, balance),
        *(Finding("ignored", "note", note, "") for note in dataset.notes),
    )


def _worst_first(*findings: Finding) -> tuple[Finding, ...]:
    rank = {"wrong": 0, "warning": 1, "note": 2}
    return tuple(sorted(findings, key=lambda finding: rank[finding.severity]))


def _unreadable(dataset: Dataset, problems: Sequence[str]) -> list[Finding]:
    bad = [n for n, problem in enumerate(problems) if problem]
    if not bad:
        return []
    named = any("--" in problems[n] for n in bad)  # a reason that names the setting which reads the image
    return [
        Finding(
            "unreadable",
            "warning",
            f"{counted(len(bad), 'image')} cannot be read and will be left out: {_by_reason(dataset, problems)}.",
            "use the setting that is named, or save them otherwise"
            if named
            else "save them again, or remove them",
            tuple(dataset.ids[n] for n in bad),
            tuple({"id": dataset.ids[n], "problem": problems[n]} for n in bad),
        )
    ]


def _by_reason(dataset: Dataset, problems: Sequence[str]) -> str:
    """Return "one.png: why", or, where images share a reason, "why: one.png, two.png and 7 more"."""
    reasons: dict[str, list[str]] = {}
    for name, why in zip(dataset.ids, problems, strict=True):
        if why:
            reasons.setdefault(why, []).append(name)
    often = sorted(reasons.items(), key=lambda item: -len(item[1]))
    told = [
        f"{why}: {listed(names)}" if len(names) > 1 else f"{listed(names)}: {why}"
        for why, names in often[:_REASONS]
    ]
    rest = sum(len(names) for _, names in often[_REASONS:])
    return "; ".join(told) + (f" and {counted(rest, 'other')}" if rest else "")
