"""More than 8 bits → 8 bits, by the rule that ``--depth-window`` names.

- ``full``: the whole range that the file declares becomes 0…255: of 16 bits 0…65535, of 12 bits 0…4095, of a
  DICOM file its window, or else its stored bits. Floats are taken to lie in 0…1. 32-bit whole numbers, and
  floats that lie elsewhere, have no known range and are refused.
- ``percentile``: of each image by itself, its percentiles 0.5 and 99.5 become 0 and 255.
- ``LO,HI``: these two values become 0 and 255, in the file's own units (of a CT's DICOM: Hounsfield).

What lies outside is clipped. Images of 8 bits are never touched.
"""

from __future__ import annotations

from typing import Any

import numpy as np
from numpy.typing import NDArray

from sit2.data.decoding.image import Tell, Unreadable, Wide
from sit2.data.decoding.window import depth_limits
from sit2.records import ByteArray

PERCENTILES = (0.5, 99.5)
OVERSHOOT = 0.01  # floats that were interpolated may lie so far outside of 0…1
DIM = "whose values fill less than a sixteenth of their range (see --depth-window of `sit2 train`)"


def narrow(wide: Wide, window: str, tell: Tell) -> ByteArray:
    """Return pixels as uint8 of the same shape; transparency keeps its whole range.

    Raises:
        Unreadable: where the rule does not say which values are black and white.
    """
    pixels = wide.pixels
    if pixels.dtype == np.uint8:
        return 255 - pixels if wide.inverted else pixels
    if pixels.dtype.kind == "f" and not np.isfinite(pixels).all():
        raise Unreadable("pixels that are no numbers (NaN or infinite)")
    seen = pixels[..., :-1] if pixels.shape[2:] in ((2,), (4,)) else pixels
    low, high = _limits(seen, wide.full, window)
    if window == "full" and float(seen.max()) - float(seen.min()) < (high - low) / 16:
        tell(DIM)
    scaled = _scaled(seen, low, high)
    if wide.inverted:
        scaled = 255 - scaled
    if seen is pixels:
        return scaled
    opaque = 1.0 if pixels.dtype.kind == "f" else float(np.iinfo(pixels.dtype).max)
    return np.concatenate([scaled, _scaled(pixels[..., -1:], 0.0, opaque)], axis=2)


def _limits(pixels: NDArray[Any], full: tuple[float, float] | None, window: str) -> tuple[float, float]:
    """Return the values that become 0 and 255."""
    if window == "percentile":
        low, high = np.percentile(pixels, PERCENTILES)
        return float(low), float(high)
    if given := depth_limits(window):
        return given
    if full is not None:
        return full
    low, high = float(pixels.min()), float(pixels.max())
    if pixels.dtype.kind != "f":
        raise Unreadable(
            f"32-bit pixels, whose range is unknown (here {low:g} to {high:g}): "
            "train with --depth-window LO,HI or percentile"
        )
    if low < -OVERSHOOT or high > 1 + OVERSHOOT:
        raise Unreadable(
            f"float pixels from {low:g} to {high:g}, but full means 0 to 1: "
            "train with --depth-window LO,HI or percentile"
        )
    return 0.0, 1.0


def _scaled(pixels: NDArray[Any], low: float, high: float) -> ByteArray:
    """Map low…high to 0…255; an image of a single value becomes 0."""
    exact: Any = np.float32 if pixels.dtype.itemsize <= 2 else np.float64
    share = (pixels.astype(exact) - exact(low)) * exact(255 / (high - low) if high > low else 0)
    scaled: ByteArray = np.rint(share.clip(0, 255)).astype(np.uint8)
    return scaled
