"""The rows of docs/formats.md on the other formats."""

from __future__ import annotations

import numpy as np
from format_tools import FIRST, case, noise
from PIL import Image


@case("BMP", "the same pixels", "a.bmp", channels=3)
def _(path):
    pixels = noise(3)
    Image.fromarray(pixels).save(path)
    return pixels


@case("WebP", "three channels", "a.webp", channels=3)
def _(path):
    pixels = noise(3)
    Image.fromarray(pixels).save(path, lossless=True)
    return pixels


@case("GIF, several frames", "the first frame, said", "a.gif", note=FIRST)
def _(path):
    frames = [Image.fromarray(noise()) for _ in range(3)]
    frames[0].save(path, save_all=True, append_images=frames[1:])
    return np.asarray(frames[0])


@case("PGM", "the same pixels", "a.pgm")
def _(path):
    pixels = noise()
    Image.fromarray(pixels).save(path)
    return pixels
