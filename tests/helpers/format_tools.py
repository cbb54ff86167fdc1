"""What a row of docs/formats.md is written with: a case writes one file and returns the pixels expected."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

import numpy as np
from PIL import Image

SIDE = 16  # pixels: what is decoded at its own size is not scaled, so it can be compared exactly
RNG = np.random.default_rng(3)
START = RNG.bit_generator.state
FIRST = "with several frames or pages, of which the first is taken"  # a note


@dataclass(frozen=True)
class Case:
    """A row of the page."""

    fed: str
    out: str
    name: str  # of the file
    write: Callable[[Path], Any]  # returns (SIDE, SIDE[, 3]) expected
    channels: int
    how: dict[str, Any] = field(default_factory=dict)
    note: str = ""  # what is told
    atol: int = 0

    def make(self, path: Path) -> np.ndarray:
        """Write the file, the same whichever case came before; return the pixels expected."""
        RNG.bit_generator.state = START
        return np.asarray(self.write(path)).astype(int)


CASES: list[Case] = []


def case(fed: str, out: str, name: str, *, channels: int = 1, note: str = "", atol: int = 0, **how: Any):
    def add(make: Callable[[Path], Any]) -> Callable[[Path], Any]:
        CASES.append(Case(fed, out, name, make, channels, how, note, atol))
        return make

    return add


def noise(*channels: int, kind: Any = np.uint8, side: int = SIDE) -> np.ndarray:
    high = int(np.iinfo(kind).max) if np.issubdtype(kind, np.integer) else 1
    low = int(np.iinfo(kind).min) if np.issubdtype(kind, np.integer) else 0
    values = low + (high - low) * RNG.random((side, side, *channels))
    return values.round().astype(kind) if np.issubdtype(kind, np.integer) else values.astype(kind)


def smooth(*channels: int) -> Image.Image:
    """Without fine detail, which JPEG keeps well."""
    return Image.fromarray(noise(*channels)[:4, :4]).resize((SIDE, SIDE), Image.Resampling.BICUBIC)


def to_bytes(values: np.ndarray, low: float, high: float) -> np.ndarray:
    share = (np.asarray(values, np.float64) - low) / (high - low)
    return np.floor(255 * share.clip(0, 1) + 0.5).astype(np.uint8)


def over(pixels: np.ndarray, alpha: np.ndarray, background: int = 255) -> np.ndarray:
    share = (alpha / 255.0)[..., None] if pixels.ndim == 3 else alpha / 255.0
    return np.round(pixels * share + background * (1 - share)).astype(np.uint8)
