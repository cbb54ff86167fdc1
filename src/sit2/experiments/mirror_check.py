"""Does augmentation by flips exchange classes? Asked by `sit2 check`, and before anything is trained."""

from __future__ import annotations

import os
from dataclasses import replace

import numpy as np

from sit2.config.schema import Config
from sit2.data.quality.exchanged import exchanged
from sit2.data.quality.findings import Finding
from sit2.data.splits import connected_groups
from sit2.events import Listener, Note
from sit2.experiments.prepare import Prepared
from sit2.features.mirrored_classes import ALL, LEFT_RIGHT, MIRROR, mirrored_classes
from sit2.records import ByteArray, Dataset, IntArray
from sit2.seeds import Seeds
from sit2.training.augmentations import PRESETS
from sit2.training.device import threads


def exchanged_classes(
    dataset: Dataset, images: ByteArray, index: IntArray, rows: IntArray, moves: tuple[int, ...] = ALL
) -> list[Finding]:
    """Find classes that flips or turns exchange, by a sample of the images.

    Args:
        dataset: N images.
        images: (M, C, H, W) uint8.
        index: (N,) in [0, M): where each lies.
        rows: in [0, N): which may be looked at.
        moves: of :data:`~sit2.features.mirrored_classes.MOVES`, what is tried.
    """
    known = dataset.take(rows)
    groups = connected_groups(known.groups, known.duplicates)
    if not len(rows) or (groups and len(set(groups)) < 2):
        return []
    with threads(os.cpu_count() or 1):
        found = mirrored_classes(
            images,
            known.labels,
            len(dataset.classes),
            rows=index[rows],
            moves=moves,
            groups=groups,
            seeds=Seeds(0),
        )
    pairs = [(dataset.classes[one.a], dataset.classes[one.b], one.how) for one in found]
    return exchanged(pairs, by_a_flip=any(one.how == MIRROR for one in found))


def warned_of_flips(prepared: Prepared, config: Config, listener: Listener) -> Prepared:
    """Warn where the preset of augmentation exchanges classes; the finding joins those of the images.

    By the training images alone.
    """
    how = PRESETS[config.augment]
    if not (how.mirror or how.dihedral):
        return prepared
    found = exchanged_classes(
        prepared.dataset,
        prepared.store.images,
        prepared.index,
        prepared.rows("train"),
        ALL if how.dihedral else LEFT_RIGHT,
    )
    for finding in found:
        listener(Note(f"{finding.text} {finding.hint[:1].upper()}{finding.hint[1:]}."))
    warnings = tuple(replace(finding, severity="warning") for finding in found)
    return replace(prepared, findings=(*prepared.findings, *warnings))


def readable_rows(dataset: Dataset, problems: tuple[str, ...]) -> IntArray:
    """Return the images that can be read and that no given split keeps for the test."""
    splits = dataset.splits or ("",) * len(dataset)
    return np.array(
        [n for n, problem in enumerate(problems) if not problem and splits[n] != "test"], dtype=np.int64
    )
