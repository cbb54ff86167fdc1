"""Thumbnails for the page, as data addresses, within a budget of bytes."""

from __future__ import annotations

import base64
import io
from collections.abc import Mapping
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

import numpy as np
from PIL import Image

from sit2.data.decoding.pillow import open_image
from sit2.data.thumbnails import read_thumbnails
from sit2.errors import DataError
from sit2.records import ByteArray
from sit2.report.data import RunData

SIDE = 72  # pixels of a thumbnail, at most
TINY = 24  # pixels; up to here PNG is as small
MOST_PIXELS = 50_000_000  # of a sheet


@dataclass
class Album:
    """Small copies of the run's images, read from where run.json says that they lie.

    ``budget`` is how many more bytes may be spent; when it is used up, further images have no thumbnail.
    """

    root: Path
    budget: int
    settings: Mapping[str, Any] = field(default_factory=dict)  # of the run: how it made images square
    kept: dict[str, ByteArray] = field(default_factory=dict, repr=False)  # (C, H, W), by id
    gone: int = 0  # images that could not be read
    left: int = 0  # images for which there was no room
    _made: dict[str, str | None] = field(default_factory=dict, repr=False)

    @classmethod
    def of(cls, run: RunData, budget: int) -> Album:
        """Return the album of a run."""
        kept = read_thumbnails(run.folder / "thumbnails.npz")
        return cls(Path(run.info.root or "."), budget, run.settings, kept)

    def divided(self, fractions: Mapping[str, float]) -> dict[str, Album]:
        """Return albums of the same images, each with its fraction of the budget."""
        return {
            part: Album(self.root, int(fraction * self.budget), self.settings, self.kept)
            for part, fraction in fractions.items()
        }

    def thumbnail(self, name: str, path: str) -> str | None:
        """Return the image ``name`` (its id) as a data address; None where it is gone or there is no room."""
        if name not in self._made:
            self._made[name] = self._make(name, path)
        return self._made[name]

    def sheet(self, path: Path, *, width: int = 700) -> str | None:
        """Return a PNG sheet of the run folder, smaller; None where it is gone or there is no room."""
        if self.budget <= 0:
            self.left += 1
            return None
        try:
            with path.open("rb") as file, open_image(file) as image:
                if image.width * image.height > MOST_PIXELS:
                    raise ValueError(f"a sheet of {image.width} × {image.height} pixels")
                image.thumbnail((width, 4 * width))
                return self._spend(as_address(image.convert("RGB"), quality=72))
        except Exception:  # Pillow raises nearly anything on a damaged file
            self.gone += 1
            return None

    def add(self, image: Image.Image) -> str:
        """Return a picture that was made elsewhere as a data address; its bytes are spent."""
        return self._spend(as_address(image))

    def picture(self, source: Path | ByteArray, side: int = SIDE) -> str | None:
        """Return a file or array, at most ``side`` pixels, as a data address; None as of :meth:`thumbnail`."""
        if self.budget <= 0:
            self.left += 1
            return None
        from sit2.data.decoding.decode import decode
        from sit2.data.decoding.image import Decoding

        try:
            names = ("resize", "depth_window", "background", "max_megapixels")
            how = {key: self.settings[key] for key in names if key in self.settings}
            chosen = tuple(self.settings.get("channels_from", ()))
            pixels = decode(source, Decoding(side, 3, **how, channels_from=chosen))
        except (DataError, OSError, ValueError):
            self.gone += 1
            return None
        return self._spend(as_address(_picture(pixels)))

    def _make(self, name: str, path: str) -> str | None:
        kept = self.kept.get(name)
        if kept is None:
            return self.picture(self.root / path)
        if self.budget <= 0:
            self.left += 1
            return None
        return self._spend(as_address(_picture(kept)))

    def _spend(self, address: str) -> str:
        self.budget -= len(address)
        return address


def as_address(image: Image.Image, *, quality: int = 78) -> str:
    """Return an image as a data address: PNG where it is tiny, where JPEG would blur it, else JPEG."""
    buffer = io.BytesIO()
    kind = "png" if max(image.size) <= TINY else "jpeg"
    image.save(buffer, format=kind.upper(), quality=quality)
    return f"data:image/{kind};base64,{base64.b64encode(buffer.getvalue()).decode()}"


def _picture(pixels: ByteArray) -> Image.Image:
    """Return (C, H, W) uint8, C = 1 or 3, as a Pillow image; gray where all channels agree."""
    if len(pixels) == 1 or ((pixels[0] == pixels[1]).all() and (pixels[0] == pixels[2]).all()):
        return Image.fromarray(np.ascontiguousarray(pixels[0]))
    return Image.fromarray(np.ascontiguousarray(pixels.transpose(1, 2, 0)))
