"""Drawn cells: a small labelled set for the demo, made without a download.

Six classes of cell nuclei, drawn in the colours of a stained smear. Two pairs of neighbours shade into each other,
round and oval, two lobes and three, so a classifier has something to confuse.
"""

from __future__ import annotations

import math
from collections.abc import Callable

import numpy as np
from PIL import Image, ImageDraw, ImageFilter

from sit2.records import ByteArray, Dataset, FloatArray
from sit2.seeds import Seeds

SIZE = 96  # pixels a side
_FINE = 2  # drawn larger and scaled down, for smooth borders
Blob = tuple[float, float, float, float, float]  # centre x, y, radii, angle in radians; unit: half the side


def drawn_cells(seed: int = 0, per_class: int = 60) -> Dataset:
    """Return 6 × ``per_class`` images (96, 96, 3) uint8; the same ``seed``, the same images."""
    from sit2.data.readers.arrays import from_arrays

    seeds = Seeds(seed).child("drawn cells")
    images = [
        _cell(_NUCLEI[name], seeds.numpy(name, number)) for name in _NUCLEI for number in range(per_class)
    ]
    labels = np.repeat(list(_NUCLEI), per_class)
    return from_arrays(np.stack(images), labels, "drawn cells")


def _cell(nucleus: Callable[[np.random.Generator], list[Blob]], luck: np.random.Generator) -> ByteArray:
    """Draw one cell among pale red ones."""
    side = SIZE * _FINE
    background = luck.normal((236, 222, 226), 6)
    image = Image.new("RGB", (side, side), _colour(background))
    draw = ImageDraw.Draw(image)
    for _ in range(luck.integers(4, 9)):  # red cells around
        x, y = luck.uniform(-1.1, 1.1, 2)
        if math.hypot(x, y) > 0.75:
            _fill(draw, (x, y, 0.3, 0.28, luck.uniform(0, math.pi)), luck.normal((222, 176, 178), 6))
    shift, turn, scale = luck.normal(0, 0.06, 2), luck.uniform(0, 2 * math.pi), luck.uniform(0.85, 1.1)

    def placed(blob: Blob) -> Blob:
        x, y, long, short, angle = blob
        across, down = math.cos(turn) * x - math.sin(turn) * y, math.sin(turn) * x + math.cos(turn) * y
        return (across * scale + shift[0], down * scale + shift[1], long * scale, short * scale, angle + turn)

    body = luck.uniform(0.62, 0.72)
    _fill(draw, placed((0, 0, body, body * luck.uniform(0.9, 1), 0)), luck.normal((205, 190, 222), 7))
    purple = luck.normal((112, 70, 150), 9)
    for blob in nucleus(luck):
        _fill(draw, placed(blob), purple)
    image = image.filter(ImageFilter.GaussianBlur(luck.uniform(0.8, 2.2)))
    pixels = np.asarray(image.resize((SIZE, SIZE), Image.Resampling.BOX), dtype=np.float64)
    noisy: ByteArray = np.clip(pixels + luck.normal(0, 5, pixels.shape), 0, 255).round().astype(np.uint8)
    return noisy


def _fill(draw: ImageDraw.ImageDraw, blob: Blob, colour: FloatArray) -> None:
    """Fill a turned ellipse."""
    x, y, long, short, angle = blob
    t = np.linspace(0, 2 * math.pi, 48, endpoint=False)
    across, down = long * np.cos(t), short * np.sin(t)
    points = np.stack(
        [
            x + across * math.cos(angle) - down * math.sin(angle),
            y + across * math.sin(angle) + down * math.cos(angle),
        ]
    )
    corners = (points.T + 1) / 2 * SIZE * _FINE
    draw.polygon([(float(a), float(b)) for a, b in corners], fill=_colour(colour))


def _colour(values: FloatArray) -> tuple[int, int, int]:
    red, green, blue = (int(value) for value in np.clip(values, 0, 255))
    return red, green, blue


def _round(luck: np.random.Generator) -> list[Blob]:
    radius = luck.uniform(0.36, 0.46)
    return [(0, 0, radius, radius * luck.uniform(0.86, 1.0), 0)]


def _oval(luck: np.random.Generator) -> list[Blob]:
    radius = luck.uniform(0.4, 0.5)
    return [(0, 0, radius, radius * luck.uniform(0.68, 0.95), 0)]


def _bean(luck: np.random.Generator) -> list[Blob]:
    return _arc(luck, count=9, bend=luck.uniform(0.6, 1.4), radius=0.3, thick=luck.uniform(0.2, 0.26))


def _ring(luck: np.random.Generator) -> list[Blob]:
    return _arc(luck, count=16, bend=luck.uniform(4.2, 5.6), radius=0.32, thick=luck.uniform(0.1, 0.14))


def _arc(luck: np.random.Generator, *, count: int, bend: float, radius: float, thick: float) -> list[Blob]:
    """Return discs along an arc of ``bend`` radians."""
    angles = np.linspace(-bend / 2, bend / 2, count)
    return [
        (radius * (math.cos(a) - 0.5), radius * math.sin(a), thick * luck.uniform(0.92, 1.08), thick, 0)
        for a in angles
    ]


def _lobes(luck: np.random.Generator, count: int) -> list[Blob]:
    """Return lobes around the middle; one may hide behind its neighbour."""
    gap = 2 * math.pi / count
    angles = [gap * n + luck.normal(0, 0.4) for n in range(count)]
    out = luck.uniform(0.16, 0.27)
    return [
        (out * math.cos(a), out * math.sin(a), luck.uniform(0.17, 0.25), luck.uniform(0.15, 0.2), a)
        for a in angles
    ]


_NUCLEI: dict[str, Callable[[np.random.Generator], list[Blob]]] = {
    "round": _round,
    "oval": _oval,
    "bean": _bean,
    "ring": _ring,
    "two lobes": lambda luck: _lobes(luck, 2),
    "three lobes": lambda luck: _lobes(luck, 3),
}
