"""Image files: their formats, channels, bit depths and sizes, by their headers alone."""

from __future__ import annotations

from collections import Counter, defaultdict
from collections.abc import Sequence
from pathlib import Path

import numpy as np

from sit2.data.decoding.header import Header, header_of
from sit2.data.decoding.image import Unreadable
from sit2.data.pixels import source_of
from sit2.data.quality.findings import FileRow, Finding
from sit2.data.words import listed
from sit2.records import ByteArray, Dataset
from sit2.storage.process_state import quiet_libraries

SHORTCUT = 0.1  # how much better than the largest class's share the file alone may tell the class


def headers(dataset: Dataset, problems: Sequence[str]) -> list[Header | None]:
    """Return N headers, None for an unreadable image."""
    with quiet_libraries():  # what is odd about a file is told when it is decoded
        return [None if problems[n] else _header(source_of(dataset, n)) for n in range(len(dataset))]


def file_table(found: Sequence[Header | None]) -> tuple[FileRow, ...]:
    """Count the files of each kind, the most frequent first."""
    kinds: dict[tuple[str, str, int], list[tuple[int, int]]] = defaultdict(list)
    for header in found:
        if header is not None:
            kinds[header[:3]].append((header.width, header.height))
    rows = []
    for kind, sizes in sorted(kinds.items(), key=lambda item: -len(item[1])):
        sizes.sort(key=lambda size: (size[0] * size[1], size))
        rows.append(FileRow(*kind, len(sizes), sizes[0], sizes[len(sizes) // 2], sizes[-1]))
    return tuple(rows)


def shortcuts(dataset: Dataset, found: Sequence[Header | None]) -> list[Finding]:
    """Find out whether the file alone, its kind and size, tells the class: a network may learn just that.

    Each image is guessed to be of the class that most *other* files like it are of.
    """
    known = [n for n, header in enumerate(found) if header is not None]
    if not known:
        return []
    labels = dataset.labels[known]
    largest = np.bincount(labels).max() / len(known)
    tables: dict[Header, Counter[int]] = defaultdict(Counter)
    for n, label in zip(known, labels.tolist(), strict=True):
        header = found[n]
        assert header is not None
        tables[header][label] += 1
    right = sum(_guessed(table) for table in tables.values())
    if right / len(known) < largest + SHORTCUT:
        return []
    examples = [
        f"{header.kind} {header.width} × {header.height} ({dataset.classes[table.most_common()[0][0]]})"
        for header, table in sorted(tables.items(), key=lambda item: -_guessed(item[1]))
        if _guessed(table)
    ]
    return [
        Finding(
            "shortcut",
            "warning",
            f"Kind and size of the file alone tell the class of {right / len(known):.0%} of the images "
            f"(always the largest class: {largest:.0%}): {listed(examples)}.",
            "save all classes alike; else a network may learn how the images were made, not what they show",
        )
    ]


def _guessed(table: Counter[int]) -> int:
    """Count the images of one kind of file whose class is that of most others; a tie guesses nothing."""
    first, second = [*table.most_common(2), (-1, 0)][:2]
    return first[1] if first[1] - 1 > second[1] else 0


def _header(source: Path | ByteArray) -> Header | None:
    try:
        return header_of(source)
    except (Unreadable, MemoryError):
        return None
