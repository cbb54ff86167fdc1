"""Arrows that point left, right, up or down: classes that flips and quarter turns exchange; and discs, none."""

from __future__ import annotations

from pathlib import Path

import numpy as np
from numpy.typing import NDArray
from synthetic import save

SIDE = 32  # pixels
TURNS = {"right": 0, "up": 1, "left": 2, "down": 3}  # quarters


def arrow(kind: str, draw: np.random.Generator) -> NDArray[np.uint8]:
    """Return one image (32, 32, 3) of a class of TURNS, or of "disc"."""
    y, x = np.mgrid[:SIDE, :SIDE] + 0.5
    cy, cx = SIDE / 2 + draw.uniform(-4, 4, 2)
    radius = SIDE * draw.uniform(0.25, 0.38)
    across, down = (x - cx) / radius, (y - cy) / radius
    shaft = (abs(down) < 0.18) & (across > -1) & (across < 0.3)
    inside = shaft | ((across > 0) & (abs(down) < (1 - across) * 0.7))
    if kind == "disc":
        inside = across**2 + down**2 < 0.6
    dark, light = draw.uniform(0, 110, 3), draw.uniform(130, 250, 3)
    ground, colour = (dark, light) if draw.random() < 0.5 else (light, dark)
    pixels = np.where(inside[:, :, None], colour, ground) + draw.normal(0, 12, (SIDE, SIDE, 3))
    turned = np.rot90(pixels, TURNS.get(kind, 0))
    return np.ascontiguousarray(turned.clip(0, 255).round().astype(np.uint8))


def arrows(*kinds: str, per_class: int = 40) -> tuple[NDArray[np.uint8], NDArray[np.int64]]:
    """Return images (N, 3, 32, 32) and labels (N,), the classes one after the other."""
    draw = np.random.default_rng(0)
    labels = np.repeat(np.arange(len(kinds)), per_class)
    images = np.stack([arrow(kinds[k], draw) for k in labels])
    return np.ascontiguousarray(images.transpose(0, 3, 1, 2)), labels


def write_arrows(root: Path, *kinds: str, per_class: int = 40) -> Path:
    """Write root/<class>/<number>.png; return root."""
    for n, (pixels, k) in enumerate(zip(*arrows(*kinds, per_class=per_class), strict=True)):
        save(root / kinds[k] / f"{n:03d}.png", np.ascontiguousarray(pixels.transpose(1, 2, 0)))
    return root
