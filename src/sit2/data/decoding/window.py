"""The setting ``depth_window``: which values become 0 and 255 where an image has more than 8 bits."""

from __future__ import annotations

import math

from sit2.errors import ConfigError


def depth_limits(window: str) -> tuple[float, float] | None:
    """Return the two values of a ``depth_window`` LO,HI; None for "full" and "percentile".

    Raises:
        ConfigError: for anything else.
    """
    if window in ("full", "percentile"):
        return None
    try:
        low, high = (float(word) for word in window.split(","))
    except ValueError:
        low = high = math.nan
    if not -math.inf < low < high < math.inf:
        raise ConfigError(
            f"depth_window is {window!r}\nexpected full, percentile, or two values, lower first: -1000,400"
        )
    return low, high
