"""What may lie in a folder of images, and what comes out of it: the rows of docs/formats.md, as files.

Every case writes one file and returns the pixels that are expected of it, worked out without sit2. A module
of cases registers them; the order of the imports is that of the page.
"""

from __future__ import annotations

# isort: off
import format_jpeg  # noqa: F401
import format_png  # noqa: F401
import format_tiff  # noqa: F401
import format_others  # noqa: F401
import format_dicom  # noqa: F401

# isort: on
from format_tools import CASES, SIDE

__all__ = ["CASES", "SIDE"]
