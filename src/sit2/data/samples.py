"""``samples.csv``: every image that was found, the split it is in, and why it could not be used."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING, Self

import numpy as np

from sit2.records import SPLITS, ByteArray, Dataset, IntArray, Split
from sit2.storage.reading import damaged, read_table

if TYPE_CHECKING:
    import pandas as pd

COLUMNS = ("id", "path", "label", "group", "split", "problem")
DIGEST = "digest"  # one more column, which runs of before do not have
FOLD = "fold"  # a column more, of a run with cross-validation
CALIBRATION = (
    "calibration"  # a column more, where images are kept for that: of "val", those that only calibrate
)


@dataclass(frozen=True)
class Samples:
    """N images, column by column."""

    ids: tuple[str, ...] = ()
    paths: tuple[str, ...] = ()  # relative to the data set's root
    labels: tuple[str, ...] = ()  # names of classes
    groups: tuple[str, ...] = ()  # N or none
    splits: tuple[str, ...] = ()  # each one of SPLITS
    problems: tuple[str, ...] = ()  # why an image cannot be read, or ""
    digests: tuple[str, ...] = ()  # N or none: of its pixels as the network sees them; "" where it has none
    folds: tuple[str, ...] = ()  # N or none: from "1", the fold that an image was left out in, or ""
    calibrates: tuple[bool, ...] = ()  # N or none: the "val" that neither choose nor fit anything

    @classmethod
    def of(
        cls,
        found: Dataset,
        splits: Sequence[str],
        problems: Sequence[str],
        digests: ByteArray | None = None,
    ) -> Self:
        """Return the images of a data set with their splits and problems, and the digests (N, 16) of pixels."""
        labels = tuple(found.classes[n] for n in found.labels)
        texts = () if digests is None else as_texts(digests)
        texts = tuple("" if bad else text for text, bad in zip(texts, problems, strict=False))
        only = tuple(split == CALIBRATION for split in splits)
        named = tuple("val" if split == CALIBRATION else split for split in splits)
        known = found.ids, found.paths, labels, found.groups
        return cls(*known, named, tuple(problems), texts, calibrates=only if any(only) else ())

    def __len__(self) -> int:
        return len(self.ids)

    def rows(self, split: Split) -> IntArray:
        """Return the rows of a split."""
        return np.flatnonzero(np.array(self.splits, dtype=object) == split).astype(np.int64)

    @property
    def unusable(self) -> list[tuple[str, str]]:
        """Return (path, why) of every image that cannot be used."""
        return [(path, why) for path, why in zip(self.paths, self.problems, strict=True) if why]

    def table(self) -> pd.DataFrame:
        """Return the table that is written."""
        import pandas as pd

        columns = (self.ids, self.paths, self.labels, self.groups, self.splits, self.problems)
        cells = {name: list(cells) or [""] * len(self) for name, cells in zip(COLUMNS, columns, strict=True)}
        cells |= {name: list(more) for name, more in ((DIGEST, self.digests), (FOLD, self.folds)) if more}
        if self.calibrates:
            cells[CALIBRATION] = ["yes" if only else "" for only in self.calibrates]
        # pandas' own strings refuse file names with broken characters
        return pd.DataFrame(cells, columns=pd.Index(list(cells)), dtype=object)


def as_texts(digests: ByteArray) -> tuple[str, ...]:
    """Return digests (N, 16) uint8 as N texts of 32 hexadecimal digits."""
    return tuple(row.tobytes().hex() for row in digests)


def read_samples(path: Path) -> Samples:
    """Read samples.csv; no images where there is no such file.

    Raises:
        RunFolderError: when it is damaged.
    """
    table = read_table(path, *COLUMNS)
    if table is None:
        return Samples()
    cells = {name: tuple(table[name]) for name in COLUMNS}
    unknown = [split for split in cells["split"] if split not in SPLITS]
    if unknown:
        raise damaged(path, f"{unknown[0]!r} is no split")
    groups = cells["group"] if any(cells["group"]) else ()
    digests = tuple(table[DIGEST]) if DIGEST in table.columns and any(table[DIGEST]) else ()
    folds = tuple(table[FOLD]) if FOLD in table.columns else ()
    only = tuple(cell == "yes" for cell in table[CALIBRATION]) if CALIBRATION in table.columns else ()
    return Samples(
        cells["id"],
        cells["path"],
        cells["label"],
        groups,
        cells["split"],
        problems=cells["problem"],
        digests=digests,
        folds=folds,
        calibrates=only,
    )
