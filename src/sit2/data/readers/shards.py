"""WebDataset shards: one ``.tar`` file, or a folder of them, in which files of one sample share their name.

``000017.jpg`` and ``000017.cls`` are one sample; the label is in ``.cls``, ``.label`` or ``label`` of ``.json``.
Shards whose names begin with a split (``train-000000.tar``) give splits.
"""

from __future__ import annotations

import json
import tarfile
from pathlib import Path

import numpy as np

from sit2.data.memory import fits
from sit2.data.readers.manifest import Images, Table, reader_of_tables
from sit2.data.readers.reader import holds_files_alone, split_of_file
from sit2.data.readers.walk import is_image
from sit2.errors import DataError, in_one_line

_LABELS = ("cls", "label", "json")  # where a sample's label may be
Sample = dict[str, bytes]  # ending → content


def _shards(path: Path) -> list[Path]:
    """Return the shards that a path is or holds, by name."""
    if path.is_dir():
        found = sorted(file for file in path.glob("*.tar") if file.is_file())
        return found if found and holds_files_alone(path) else []
    return [path] if path.suffix.lower() == ".tar" and path.is_file() else []


def _samples(path: Path) -> dict[str, Sample]:
    """Return the samples of a shard by key: images and labels only, in the shard's order."""
    found: dict[str, Sample] = {}
    try:
        with tarfile.open(path, "r:") as archive:
            for member in archive:
                folder, _, file = member.name.rpartition("/")
                stem, dot, ending = file.partition(".")
                if not (member.isfile() and dot and stem):
                    continue
                ending = ending.lower()
                if ending not in _LABELS and not is_image(f"x.{ending}"):
                    continue
                content = archive.extractfile(member)
                if content is not None:
                    key = f"{folder}/{stem}" if folder else stem
                    found.setdefault(key, {})[ending] = content.read()
    except (OSError, tarfile.TarError, EOFError) as error:
        reason = in_one_line(error)
        raise DataError(
            f"cannot read the shard {path}: {reason}\nexpected an uncompressed .tar file of WebDataset"
        ) from None
    return found


def _label(sample: Sample, place: str) -> str:
    """Return a sample's label as text, "" where it has none."""
    for ending in _LABELS[:2]:
        if ending in sample:
            return sample[ending].decode(errors="replace").strip()
    if "json" not in sample:
        return ""
    try:
        content = json.loads(sample["json"])
    except ValueError:
        raise DataError(f"{place}: its .json is damaged\nexpected an object with a label") from None
    label = content.get("label") if isinstance(content, dict) else None
    return "" if label is None else str(label)


def _tables(path: Path) -> tuple[Table, Images]:
    files = _shards(path)
    if not fits(sum(file.stat().st_size for file in files)):
        raise DataError(f"the shards of {path} are larger than the memory\ntrain on fewer of them")
    columns: dict[str, list[str]] = {"label": [], "split": []}
    places, arrays = [], []
    for file in files:
        for key, sample in _samples(file).items():
            place = f"{file.name}/{key}"
            image = next((content for ending, content in sample.items() if ending not in _LABELS), None)
            if image is None:
                continue
            columns["label"].append(_label(sample, f"{path}, {place}"))
            columns["split"].append(split_of_file(file.name) or "")
            places.append(place)
            arrays.append(np.frombuffer(image, np.uint8))
    if not arrays:
        raise DataError(
            f"no images in the shards of {path}\nexpected files such as 000017.jpg and 000017.cls"
        )
    if not all(columns["split"]):
        del columns["split"]
    numeric = all(label.isdecimal() for label in columns["label"])
    return Table(path, columns, places), Images(tuple(arrays), numeric)


SHARDS = reader_of_tables("", lambda path: bool(_shards(path)), _tables)
