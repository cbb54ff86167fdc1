"""Antialiased bilinear scaling of whole numbers, to the bit as torch does it, with or without torch.

torch is the faster by far, and used where it is loaded already. Otherwise NumPy does the same sums, so that a model
sees the same pixels in training and in a program that has no torch. A side that is asked for is out of ``extent``
pixels, which may be less than there are by a fraction of one.

Letters: C channels.
"""

from __future__ import annotations

import functools
import sys
from collections.abc import Sequence
from typing import Any

import numpy as np
from numpy.typing import NDArray

from sit2.records import ByteArray

_ENOUGH = 1 + 1e-9  # torch rounds the size of the result down
_BITS, _MOST_SHIFT = 15, 22  # of a weight, and by how much it may be shifted
_EXACT = 16  # bits of shift up to which float32 holds every sum of weights times pixels
_PART = 16  # new columns at once: they are made of few old ones


def resized(pixels: ByteArray, size: tuple[int, int], extent: Sequence[float]) -> ByteArray:
    """Scale (height, width, C) uint8, whose picture takes ``extent`` of it, to ``size``: height, width."""
    if pixels.shape[:2] == size:
        return pixels
    factors = [out / side * _ENOUGH for out, side in zip(size, extent, strict=True)]
    return by_torch(pixels, factors) if sys.modules.get("torch") else by_numpy(pixels, size, factors)


def by_torch(pixels: ByteArray, factors: Sequence[float]) -> ByteArray:
    """Scale (height, width, C) uint8 by factors down and across."""
    import torch
    import torch.nn.functional as F

    images = torch.from_numpy(pixels).permute(2, 0, 1)[None]
    small = F.interpolate(images, scale_factor=list(factors), mode="bilinear", antialias=True)
    found: ByteArray = small[0].permute(1, 2, 0).numpy()
    return found


def by_numpy(pixels: ByteArray, size: tuple[int, int], factors: Sequence[float]) -> ByteArray:
    """Do what torch does: across first, then down, each rounded to whole numbers."""
    (height, width, _), (tall, wide), (down, across) = pixels.shape, size, factors
    planes = pixels.transpose(2, 0, 1)
    if width != wide:
        planes = _across(planes, wide, across)
    if height != tall:
        planes = _across(planes.swapaxes(1, 2), tall, down).swapaxes(1, 2)
    return np.ascontiguousarray(planes.transpose(1, 2, 0))


def _across(planes: ByteArray, out: int, factor: float) -> ByteArray:
    """(C, h, w) uint8 → (C, h, out) uint8: each column the weighted mean of some."""
    channels, height, width = planes.shape
    parts, shift = _weights(width, out, factor)
    values = planes.astype(parts[0][2].dtype, order="C").reshape(-1, width)
    total = np.empty((len(values), out), values.dtype)
    for number, (low, high, weights) in enumerate(parts):
        np.matmul(values[:, low:high], weights, out=total[:, number * _PART : (number + 1) * _PART])
    total += 0.5 * (1 << shift)
    total *= 1 / (1 << shift)
    return total.astype(np.uint8).reshape(channels, height, out)  # the fraction is cut off


@functools.lru_cache(maxsize=64)
def _weights(size: int, out: int, factor: float) -> tuple[list[tuple[int, int, NDArray[Any]]], int]:
    """Return weights of the columns low to high that some new ones are made of, part by part, and their shift.

    They are whole numbers, as floats of a kind in which every sum of them is exact.
    """
    scale = 1 / factor
    reach = max(scale, 1.0)
    centre = scale * (np.arange(out) + 0.5)
    first = np.maximum((centre - reach + 0.5).astype(np.intp), 0)
    last = np.minimum((centre + reach + 0.5).astype(np.intp), size)
    old = np.arange(size)
    shares = np.maximum(0.0, 1 - np.abs((old - centre[:, None] + 0.5) * (1 / reach)))
    shares[(old < first[:, None]) | (old >= last[:, None])] = 0
    shares /= shares.cumsum(axis=1)[:, -1:]  # summed in order, as torch does
    most, shift = shares.max(), 0
    while shift < _MOST_SHIFT and int(0.5 + most * (1 << (shift + 1))) < 1 << _BITS:
        shift += 1
    whole = np.floor(0.5 + shares * (1 << shift)).astype(np.float32 if shift <= _EXACT else np.float64)
    starts = range(0, out, _PART)
    places = [(int(first[n]), int(last[n : n + _PART].max())) for n in starts]
    return [
        (*p, whole[n : n + _PART, p[0] : p[1]].T.copy()) for n, p in zip(starts, places, strict=True)
    ], shift
