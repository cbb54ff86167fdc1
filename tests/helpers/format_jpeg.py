"""The rows of docs/formats.md on JPEG."""

from __future__ import annotations

import numpy as np
from format_tools import case, smooth
from PIL import Image


@case("JPEG", "three channels", "a.jpg", channels=3, atol=3)
def _(path):
    smooth(3).save(path, quality=95)
    return Image.open(path)


@case("JPEG, gray", "one channel", "a.jpg", atol=1)
def _(path):
    smooth().save(path, quality=95)
    return Image.open(path)


@case("JPEG, progressive", "three channels", "a.jpg", channels=3, atol=3)
def _(path):
    smooth(3).save(path, quality=95, progressive=True)
    return Image.open(path)


@case("JPEG, CMYK", "RGB", "a.jpg", channels=3, atol=3)
def _(path):
    smooth(3).convert("CMYK").save(path, quality=95)
    return Image.open(path).convert("RGB")


for turn in range(1, 9):

    @case(f"JPEG, EXIF orientation {turn}", "upright", "a.jpg", channels=3, atol=12)
    def _(path, turn=turn):
        exif = Image.Exif()
        exif[0x0112] = turn
        image = smooth(3)
        image.save(path, quality=100, exif=exif, subsampling=0)
        pixels = np.asarray(image)
        pixels = pixels.swapaxes(0, 1) if turn > 4 else pixels
        pixels = pixels[:, ::-1] if turn in (2, 3, 6, 7) else pixels
        return pixels[::-1] if turn in (3, 4, 7, 8) else pixels
