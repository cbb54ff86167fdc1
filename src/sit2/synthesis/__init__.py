"""Mixing: images that carry features of two classes.

A synthesizer draws masks. A mask says, for every pixel, what share of the left parent to take, so all
synthesizers end in one linear interpolation, and a batch may use all of them at once.
"""

from __future__ import annotations

from sit2.synthesis.blend import Blend
from sit2.synthesis.halves import Halves
from sit2.synthesis.patches import Patches
from sit2.synthesis.synthesizer import Synthesizer

SYNTHESIZERS: dict[str, type[Synthesizer]] = {
    "blend": Blend,
    "halves": Halves,
    "patches": Patches,
}
