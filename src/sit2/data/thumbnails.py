"""``thumbnails.npz``: small copies of images that came as arrays, which could not be found again for the report."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import numpy as np

from sit2.data.decoding.decode import decode
from sit2.data.decoding.image import Decoding
from sit2.data.readers.npz import check_claims
from sit2.records import ByteArray, Dataset
from sit2.storage.files import atomic
from sit2.storage.reading import damaged

SMALL = 72  # pixels on a side, at most
MOST = 4000  # images that are kept


def write_thumbnails(path: Path, dataset: Dataset, config: Any) -> None:
    """Keep the first images of a data set: ``ids`` (N,) and ``images`` (N, 3, H, W) uint8.

    ``config`` holds the settings of decoding, as for :meth:`Decoding.of`.
    """
    rows = range(min(MOST, len(dataset)))
    how = Decoding.of(config, channels=3, size=min(SMALL, config.image_size or SMALL))
    images = [decode(dataset.arrays[n], how) for n in rows]
    with atomic(path) as temporary, temporary.open("wb") as file:
        np.savez_compressed(file, ids=np.array([dataset.ids[n] for n in rows]), images=np.stack(images))


def read_thumbnails(path: Path) -> dict[str, ByteArray]:
    """Return the kept images (C, H, W) by id; nothing where there is no such file.

    Raises:
        RunFolderError: when it is damaged.
    """
    if not path.exists():
        return {}
    try:
        check_claims(path)
        with np.load(path, allow_pickle=False) as file:
            ids, images = file["ids"].tolist(), file["images"]
        if images.ndim != 4 or images.dtype != np.uint8 or images.shape[1] not in (1, 3):
            raise ValueError(f"its images are {images.dtype} of shape {images.shape}")
        return dict(zip(map(str, ids), images, strict=True))
    except Exception as error:  # NumPy raises nearly anything on a damaged file
        raise damaged(path, " ".join(str(error).split())) from None
