"""Settings of decoding whose text is more than a word: ``depth_window`` and ``channels_from``."""

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


def check_channels_from(channels: tuple[int, ...]) -> None:
    """Raise :class:`ConfigError` unless this many channels make an image: none (all are taken), one or three."""
    if len(channels) not in (0, 1, 3):
        raise ConfigError(
            f"channels_from names {len(channels)} channels\nexpected one (gray) or three (red, green, "
            "blue), of which one may stand twice: 0,1,1"
        )
