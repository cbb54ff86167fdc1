"""Hugging Face datasets: ``hf://name``, what ``save_to_disk`` wrote, and folders of Parquet files.

The first two are read by the package datasets, which keeps what it downloads in a cache of its own.
"""

from __future__ import annotations

from collections.abc import Mapping
from pathlib import Path
from typing import Any

from sit2.data.parquet import holds_images, read_arrow
from sit2.data.readers.embedded import class_names, from_arrow
from sit2.data.readers.manifest import Images, Table, reader_of_tables
from sit2.data.readers.reader import SPLIT_NAMES, holds_files_alone, name_of, split_of_file
from sit2.errors import ConfigError, DataError, did_you_mean, in_one_line

SCHEME = "hf"
SAVED = ("dataset_dict.json", "state.json")  # by which `save_to_disk` is known: of several splits, of one
INSTALL = "pip install 'sit2[huggingface]'"


def tables_of(parts: Mapping[str, Any], where: Path) -> tuple[Table, Images | None]:
    """Return Hugging Face datasets by split, or one of them without a split, as a table and its images.

    Raises:
        DataError: for a split of another name, a streamed dataset, or a row without an image.
    """
    import pyarrow as pa

    tables, splits = [], list[str]()
    for split, part in parts.items():
        if split and split.lower() not in SPLIT_NAMES:
            raise DataError(f"unknown split {split!r}\n{did_you_mean(split.lower(), SPLIT_NAMES)}")
        if not hasattr(part, "__len__"):
            raise DataError("a streamed dataset has no end that is known\nload it without streaming=True")
        tables.append(part.with_format("arrow")[:])
        splits += [split] * len(part)
    names = {
        name: list(feature.names)
        for part in parts.values()
        for name, feature in (part.features or {}).items()
        if getattr(feature, "names", None)
    }
    found = pa.concat_tables(tables, promote_options="default")
    table, images = from_arrow(found, where, names)
    if any(splits):
        table = table._replace(columns={**table.columns, "split": splits})
    return table, images


def _accepts(path: Path) -> bool:
    return name_of(path, SCHEME) is not None or _is_saved(path) or bool(_parquets(path))


def _is_saved(path: Path) -> bool:
    return path.is_dir() and any((path / name).is_file() for name in SAVED)


def _parquets(path: Path) -> list[Path]:
    """Return the Parquet files with images of a folder, or of its folder ``data``, in the order of their names."""
    for folder in (path, path / "data"):
        found = sorted(folder.glob("*.parquet")) if folder.is_dir() else []
        if found and holds_files_alone(path, "data") and all(map(holds_images, found)):
            return found
    return []


def _tables(path: Path) -> tuple[Table, Images | None]:
    name = name_of(path, SCHEME)
    if name is None and not _is_saved(path):
        return _of_files(path, _parquets(path))
    try:
        import datasets
    except ImportError:
        raise ConfigError(f"{path} needs the package datasets, which is not installed\n{INSTALL}") from None
    try:
        found = datasets.load_from_disk(str(path)) if name is None else datasets.load_dataset(name)
    except Exception as error:  # nearly anything: no network, no such name, a damaged file
        reason = in_one_line(error)
        hint = (
            "expected what `save_to_disk` wrote"
            if name is None
            else "without a network: save it with `save_to_disk` elsewhere, and name that folder"
        )
        raise DataError(f"cannot load {path if name is None else f'hf://{name}'}: {reason}\n{hint}") from None
    return tables_of(found if isinstance(found, Mapping) else {"": found}, Path(name or path.name))


def _of_files(path: Path, files: list[Path]) -> tuple[Table, Images | None]:
    """Read Parquet files one after the other; their names say the splits, where all of them do."""
    import pyarrow as pa

    try:
        tables = [read_arrow(file) for file in files]
        found = pa.concat_tables(tables, promote_options="default")
    except (OSError, ValueError) as error:
        reason = in_one_line(error)
        raise DataError(
            f"cannot read the Parquet files in {path}: {reason}\nexpected files with the same columns"
        ) from None
    table, images = from_arrow(found, path / files[0].name, class_names(found.schema))
    named = [split_of_file(file.name) or "" for file in files]
    if all(named) and "split" not in table.columns:
        splits = [split for split, part in zip(named, tables, strict=True) for _ in range(part.num_rows)]
        table = table._replace(columns={**table.columns, "split": splits})
    return table, images


HUB = reader_of_tables("", _accepts, _tables, SCHEME)
