"""``medmnist://pathmnist``: MedMNIST's sets by name. Its package downloads what is not there yet."""

from __future__ import annotations

import os
from pathlib import Path

from sit2.data.readers.arrays import ARRAYS
from sit2.data.readers.reader import Reader, name_of
from sit2.errors import ConfigError, DataError, did_you_mean, in_one_line
from sit2.records import Dataset

SCHEME = "medmnist"
ROOT = "MEDMNIST_ROOT"  # the folder of its files; by default the package's own, ~/.medmnist
INSTALL = "pip install 'sit2[medmnist]'"


def local_file(path: Path) -> Path:
    """Return the ``.npz`` file of a name, which is downloaded if it must be.

    Raises:
        ConfigError: it is not there, and the package that downloads it is not installed.
        DataError: there is no such set, or it cannot be downloaded.
    """
    name = name_of(path, SCHEME) or ""
    root = Path(os.environ.get(ROOT) or Path.home() / ".medmnist").expanduser()
    file = root / f"{name}.npz"
    if "/" not in name and file.is_file():
        return file
    where = f"put {name}.npz into {root}, or name its folder by {ROOT}"
    try:
        import medmnist
    except ImportError:
        raise ConfigError(
            f"there is no {file}, and medmnist, which downloads it, is not installed\n{INSTALL}, or {where}"
        ) from None
    plain, _, size = name.partition("_")
    if plain not in medmnist.INFO or size not in ("", "64", "128", "224"):
        raise DataError(f"MedMNIST has no set {name!r}\n{did_you_mean(plain, medmnist.INFO)}")
    kind = getattr(medmnist, medmnist.INFO[plain]["python_class"])
    try:
        root.mkdir(parents=True, exist_ok=True)
        kind(split="train", download=True, root=str(root), size=int(size or 28))
    except Exception as error:  # of its own, whatever the network raises
        reason = in_one_line(error)
        raise DataError(f"cannot download {name} of MedMNIST: {reason}\n{where}") from None
    return file


def _read(path: Path, groups: str | None, layout: str) -> Dataset:
    return ARRAYS.read(local_file(path), groups, layout)


def _images(path: Path, classes: tuple[str, ...], layout: str, chosen: str) -> Dataset:
    return ARRAYS.images(local_file(path), classes, layout, chosen)


MEDMNIST = Reader(
    expects="",
    accepts=lambda path: name_of(path, SCHEME) is not None,
    read=_read,
    images=_images,
    scheme=SCHEME,
)
