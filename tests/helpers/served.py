"""What tests of the server share."""

from __future__ import annotations

import io
from collections.abc import Callable
from typing import Any

import numpy as np
from PIL import Image

Open = Callable[..., Any]  # settings -> a client of the finished run's model


def png(pixels: np.ndarray[Any, Any]) -> bytes:
    """Return (height, width) or (height, width, 3) uint8 as a PNG file."""
    buffer = io.BytesIO()
    Image.fromarray(pixels).save(buffer, "PNG")
    return buffer.getvalue()
