"""Images that look nearly the same: saved again, cropped a little, brighter, the next frame of a film.

A perceptual hash proposes pairs, the pixels decide. Letters: N images, P pairs, C channels, S pixels
a side.
"""

from __future__ import annotations

from collections.abc import Iterator

import numpy as np
from numpy.typing import NDArray
from scipy.fft import dctn
from scipy.ndimage import gaussian_filter

from sit2.records import BoolArray, ByteArray, FloatArray, IntArray

HashArray = NDArray[np.uint64]

FARTHEST = 7  # bits of 64 in which the hashes of a pair may differ
LIKENESS = 0.9  # correlation of a pair's details; measured on ten real sets, see docs/check.md
TINT = 12.0  # of 255: how far the mean colours of a pair may lie apart, brightness aside
COARSE = 2.5 / 32  # of the side: what is larger than this is no detail; two X-rays of knees share all of it
CONTRAST = 2.0  # standard deviation, of 255; a flatter image looks like any other
_BLOCK = 1024  # images worked on at a time
_ROOM = 2**23  # hashes compared at a time


def perceptual_hash(gray: ByteArray) -> HashArray:
    """(N,) uint64 from (N, S, S) uint8, S at least 8: which low frequencies lie above their median.

    The DCT hash of Zauner (2010): the 8 × 8 lowest, first bit lowest. Hashes of nearly the same picture
    differ in few bits.
    """
    hashes = np.empty(len(gray), dtype=np.uint64)
    for start in range(0, len(gray), _BLOCK):
        part = gray[start : start + _BLOCK].astype(np.float32)
        low = dctn(part, axes=(1, 2))[:, :8, :8].reshape(len(part), 64)
        above = low > np.median(low, axis=1, keepdims=True)
        hashes[start : start + _BLOCK] = np.packbits(above, axis=1, bitorder="little").view("<u8")[:, 0]
    return hashes


def near_pairs(images: ByteArray) -> tuple[IntArray, FloatArray]:
    """Return (P, 2) rows i < j of (N, C, S, S) uint8 that look nearly the same, and (P,) their likeness.

    Likeness is the correlation of their details, the most alike first. Flat images have no pairs.
    """
    gray = np.round(images.mean(axis=1)).astype(np.uint8)
    colour = images.mean(axis=(2, 3))
    tint = colour - colour.mean(axis=1, keepdims=True)  # what does not change when a picture is made brighter
    rows = np.flatnonzero(gray.std(axis=(1, 2)) > CONTRAST)
    details = _details(gray[rows])
    found, alike = [np.empty((0, 2), np.int64)], [np.empty(0)]
    for pairs in close_hashes(perceptual_hash(gray[rows])):
        likeness = np.einsum("pn,pn->p", details[pairs[:, 0]], details[pairs[:, 1]]).astype(np.float64)
        near = likeness >= LIKENESS
        near &= np.abs(tint[rows[pairs[:, 0]]] - tint[rows[pairs[:, 1]]]).max(axis=1) <= TINT
        found.append(rows[pairs[near]])
        alike.append(likeness[near])
    pairs, likeness = np.concatenate(found), np.concatenate(alike)
    order = np.lexsort((pairs[:, 1], pairs[:, 0], -likeness))
    return pairs[order], likeness[order]


def close_hashes(hashes: HashArray, farthest: int = FARTHEST) -> Iterator[IntArray]:
    """Yield (P, 2) pairs of rows i < j whose hashes differ in at most ``farthest`` bits, at most 7.

    Every pair comes once. Two such hashes share at least one of their 8 bytes, so a hash is compared only
    with those that share a byte with it: N² / 64 comparisons where bytes are evenly spread, in large blocks.
    """
    for place in range(8):
        byte = (hashes >> np.uint64(8 * place)) & np.uint64(255)
        order = np.argsort(byte, kind="stable")
        for rows in np.split(order, np.flatnonzero(np.diff(byte[order])) + 1):
            step = max(1, _ROOM // max(1, len(rows)))
            for start in range(0, len(rows), step):
                one, other = rows[start : start + step], rows[start:]
                i, j = np.nonzero(np.bitwise_count(hashes[one, None] ^ hashes[other]) <= farthest)
                i, j = one[i[i < j]], other[j[i < j]]
                new = _differ_everywhere(hashes[i] ^ hashes[j], place)
                yield np.stack([i[new], j[new]], axis=1)


def _differ_everywhere(difference: HashArray, places: int) -> BoolArray:
    """(P,) bool: whether none of the first bytes are equal; else the pair came before, at that byte."""
    bytes_ = difference.astype("<u8").view(np.uint8).reshape(-1, 8)
    differ: BoolArray = (bytes_[:, :places] != 0).all(axis=1)
    return differ


def _details(gray: ByteArray) -> NDArray[np.float32]:
    """(N, S²) from (N, S, S) uint8: what is fine in each picture, of length 1: products are correlations."""
    details = np.empty((len(gray), gray[0].size if len(gray) else 0), dtype=np.float32)
    sigma = COARSE * gray.shape[1]
    for start in range(0, len(gray), _BLOCK):
        part = gray[start : start + _BLOCK].astype(np.float32)
        part -= gaussian_filter(part, (0, sigma, sigma), mode="nearest")
        flat = part.reshape(len(part), -1)
        details[start : start + _BLOCK] = flat / (np.linalg.norm(flat, axis=1, keepdims=True) + 1e-6)
    return details
