"""Images that a program holds in its hands: arrays, or paths of files. Letters: N images, K classes."""

from __future__ import annotations

from collections.abc import Sequence
from pathlib import Path
from typing import Any

import numpy as np
from numpy.typing import NDArray

from sit2.data.decoding.image import DecodingSettings
from sit2.data.pixels import load_pixels_for
from sit2.data.readers.arrays import pixels_of
from sit2.data.readers.missing import none_missing
from sit2.data.words import unread
from sit2.errors import DataError, shown
from sit2.records import ByteArray, Dataset, IntArray


def as_sequence(X: Any) -> Any:
    """Return what has a length and is indexed by position; a pandas Series, for one, is not.

    Raises:
        DataError: for a single path, or nothing.
    """
    if X is None or isinstance(X, str | bytes | Path):
        raise DataError(f"X is {shown(X)}\nexpected images, or a list of paths")
    if hasattr(X, "to_numpy"):
        array = X.to_numpy()
        return list(array) if array.dtype == object and not is_paths(array) else array  # a column of arrays
    return X if hasattr(X, "__len__") else list(X)


def is_paths(X: Any) -> bool:
    """Tell paths of files from images, by the first."""
    return len(X) > 0 and isinstance(X[0], str | Path)


def dataset_of(X: Any, labels: IntArray, classes: list[str], groups: Sequence[object] | None) -> Dataset:
    """Put arrays or paths, with labels as class indices, into a Dataset.

    Args:
        X: images as :func:`~sit2.data.readers.arrays.pixels_of` takes them, or N paths.
        labels: (N,) int64, -1 where there is none.
        classes: K names.
        groups: N, or None.

    Raises:
        DataError: for another shape or type, or groups that do not fit, or one of which is missing.
    """
    words = () if groups is None else tuple(map(str, none_missing(groups, "group", "groups").tolist()))
    if groups is not None and len(words) != len(X):
        raise DataError(f"groups holds {len(words)}\nexpected one group for each of {len(X)} images")
    if is_paths(X):
        paths = tuple(str(path) for path in X)
        ids = tuple(f"{n:06d}" for n in range(len(paths)))
        return Dataset("X", Path(), tuple(classes), ids, paths, labels, words)
    try:
        images = np.asarray(X)
        _refuse_one_image(images)
        arrays = tuple(pixels_of(images, "X")[0])
    except ValueError:  # what NumPy makes of images that differ in shape
        raise DataError("X: the images differ in shape\nexpected all of one size, or paths") from None
    ids = tuple(f"{n:06d}" for n in range(len(arrays)))
    return Dataset("X", Path(), tuple(classes), ids, ids, labels, words, arrays=arrays)


def _refuse_one_image(images: NDArray[Any]) -> None:
    """Refuse (H, W, 3 or 4): it could only be meant as one colour image, not as H gray ones 3 pixels wide."""
    if images.ndim == 3 and images.shape[2] in (3, 4) and images.shape[1] > 4:
        shape = ", ".join(str(n) for n in images.shape)
        raise DataError(
            f"X has the shape ({shape}), which looks like one colour image\n"
            "expected images (N, H, W) or (N, H, W, 3); of a single image X give X[None]"
        )


def pixels_or_error(dataset: Dataset, how: DecodingSettings) -> ByteArray:
    """Decode images as settings or a model say: (N, C, size, size) uint8.

    Raises:
        DataError: images cannot be read; all of them are named, or counted.
    """
    pixels = load_pixels_for(how, dataset)
    if found := unread(dataset.paths, pixels.problems, ""):
        label = ", and its label" if (dataset.labels >= 0).all() else ""
        raise DataError(f"{found}\nleave out what cannot be read{label}")
    return pixels.images
