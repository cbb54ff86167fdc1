"""A column of what images are evaluated by: of their manifest, or of a table beside them."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path

from sit2.data.readers.embedded import EMBEDDED
from sit2.data.readers.groups import groups_from_table, side_table
from sit2.data.readers.manifest import IN_FOLDER, MANIFEST, read_table
from sit2.errors import DataError, did_you_mean
from sit2.records import Dataset


@dataclass(frozen=True)
class Column:
    """A column of the manifest that is evaluated, or of a table beside the images."""

    table: Path
    name: str
    manifest: Path | None  # as it was given; None for another table

    @classmethod
    def of(cls, sources: Sequence[Path], by: str) -> Column:
        """Find a column before anything is predicted. Raises :class:`DataError` when it is not there."""
        first, beside = sources[0].expanduser(), side_table(by)
        if beside is not None:
            found = cls(*beside, manifest=None)
        elif len(sources) == 1 and (MANIFEST.accepts(first) or EMBEDDED.accepts(first)):
            held = [first / name for name in IN_FOLDER if (first / name).is_file()]
            found = cls(held[0] if first.is_dir() else first, by, manifest=first)
        else:
            raise DataError(
                f"no column {by!r}: {first} is no manifest, or not the only source\n"
                f"name the table too: --by TABLE.csv:{by}"
            )
        columns = read_table(found.table).columns
        if found.name not in columns:
            raise DataError(
                f"{found.table} has no column {found.name!r}\n{did_you_mean(found.name, columns)}"
            )
        return found

    def values(self, dataset: Dataset) -> tuple[str, ...]:
        """Return the value of each image; "(empty)" where a manifest has none."""
        if self.manifest is None:
            return groups_from_table(dataset, self.table, self.name).groups
        reader = EMBEDDED if EMBEDDED.accepts(self.manifest) else MANIFEST
        ids = reader.images(self.manifest, dataset.classes, "", "").ids  # one for each row
        known = dict(zip(ids, read_table(self.table).columns[self.name], strict=True))
        return tuple(known[name].strip() or "(empty)" for name in dataset.ids)
