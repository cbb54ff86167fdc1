"""Named presets of augmentation: how far an image may be changed and still be itself. Knows no torch."""

from __future__ import annotations

from dataclasses import dataclass


@dataclass(frozen=True)
class Augmentation:
    """How far a sample may be changed; :mod:`sit2.training.augment` draws and applies the changes."""

    shift: float = 0.0  # of the side; the border is mirrored, as by padding and cropping at random
    mirror: bool = False  # left-right, half of the samples
    dihedral: bool = False  # flips and quarter turns: all eight of a square, the four flips of other shapes
    rotation: float = 0.0  # degrees, either way, of every second sample
    light: float = 0.0  # brightness and contrast, as a fraction
    tint: float = 0.0  # each colour channel's own brightness, as a fraction; gray images keep theirs


PRESETS: dict[str, Augmentation] = {
    "none": Augmentation(),
    "no-flip": Augmentation(shift=0.1, rotation=8, light=0.15, tint=0.05),  # text, signs, X-rays
    "flip": Augmentation(shift=0.1, rotation=8, mirror=True, light=0.15, tint=0.05),  # photographs
    "dihedral": Augmentation(shift=0.1, rotation=15, dihedral=True, light=0.15, tint=0.05),  # from above
}
ALIASES = {"any-way-up": "dihedral"}  # what a preset was called
