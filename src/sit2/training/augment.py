"""Augmentation of a whole batch at once, each sample with its own draw, on the training device.

Torchvision's v2 transforms draw one set of parameters for a batch; here every sample has its own.

Shifting, mirroring, flipping and quarter turns move whole pixels: together they cost one gather, and leave
an image as sharp as it was. Turning by any other angle interpolates, and so blurs. A network that saw nothing
but blurred images takes the sharp ones of the test for something else (docs/experiments.md, 2026-11-23), so
only every second image of a batch is turned.
"""

from __future__ import annotations

import math
from dataclasses import dataclass

import torch
import torch.nn.functional as F
from torch import Tensor


@dataclass(frozen=True)
class Augmentation:
    """How far a sample may be changed and still be itself."""

    shift: float = 0.0  # of the side; the border is mirrored, as by padding and cropping at random
    mirror: bool = False  # left-right, half of the samples
    any_way_up: bool = False  # all eight ways to lay down a square, four for other shapes
    rotation: float = 0.0  # degrees, either way, of every second sample
    light: float = 0.0  # brightness and contrast, as a share
    tint: float = 0.0  # each colour channel's own brightness, as a share; gray images keep theirs

    def __call__(self, images: Tensor, *, generator: torch.Generator) -> Tensor:
        """Return each image of (N, C, H, W) float32 in [0, 1], moved, turned and relit by its own draw."""
        count, channels, height, width = images.shape
        places = self.places(count, height, width, generator=generator).view(count, 1, -1)
        moved = images.flatten(2).gather(2, places.expand(-1, channels, -1)).view_as(images)
        turned = self.turn(moved, generator=generator)
        scale, offset = self.relight(turned.mean(dim=(1, 2, 3)), channels, generator=generator)
        return scale_channels(turned, scale, offset)

    def places(self, count: int, height: int, width: int, *, generator: torch.Generator) -> Tensor:
        """Draw where every pixel is taken from.

        Returns:
            (count, height, width) int64 in [0, height · width), on the generator's device.
        """
        device = generator.device
        draw = torch.rand(5, count, 1, generator=generator, device=device)
        down, across = ((2 * draw[:2] - 1) * self.shift).unbind()
        rows = _mirrored(torch.arange(height, device=device) + (down * height).round().long(), height)
        columns = _mirrored(torch.arange(width, device=device) + (across * width).round().long(), width)
        if self.mirror or self.any_way_up:
            columns = torch.where(draw[2] < 0.5, columns.flip(1), columns)
        if self.any_way_up:
            rows = torch.where(draw[3] < 0.5, rows.flip(1), rows)
        places = rows[:, :, None] * width + columns[:, None, :]
        if self.any_way_up and height == width:
            places = torch.where(draw[4][:, :, None] < 0.5, places.transpose(1, 2), places)
        return places.contiguous()

    def turn(self, images: Tensor, *, generator: torch.Generator) -> Tensor:
        """Turn every second of (N, C, H, W) float32 images by its own angle; they may be written to."""
        if self.rotation:
            images[::2] = self._turn(images[::2], generator)
        return images

    def relight(self, mean: Tensor, channels: int, *, generator: torch.Generator) -> tuple[Tensor, Tensor]:
        """Draw a change of light, value · scale + offset, around each image's mean (N,) in [0, 1].

        Returns:
            scale and offset, each (N, channels) float32; values so changed may leave [0, 1] a little.
        """
        if not (self.light or self.tint):
            nothing = torch.zeros(len(mean), channels, device=mean.device)
            return nothing + 1, nothing
        draw = 2 * torch.rand(len(mean), 2 + channels, generator=generator, device=mean.device) - 1
        contrast, brightness, tint = 1 + self.light * draw[:, :1], self.light * draw[:, 1:2], draw[:, 2:]
        offset = mean[:, None] * (1 - contrast) + brightness / 2
        if channels > 1:
            offset = offset + self.tint / 2 * tint
        return contrast.expand(-1, channels), offset.expand(-1, channels)

    def _turn(self, images: Tensor, generator: torch.Generator) -> Tensor:
        _, _, height, width = images.shape
        angle = 2 * torch.rand(len(images), generator=generator, device=images.device) - 1
        angle = angle * math.radians(self.rotation)
        cos, sin = angle.cos()[:, None, None], angle.sin()[:, None, None]
        # grid_sample's places run from -1 to 1 along both sides, whatever their lengths. Written out, because
        # F.affine_grid multiplies many tiny matrices, which takes longer than the sampling.
        across = (torch.arange(width, device=images.device) * 2 + 1) / width - 1
        down = ((torch.arange(height, device=images.device) * 2 + 1) / height - 1)[:, None]
        columns = cos * across - sin * (height / width) * down
        rows = sin * (width / height) * across + cos * down
        grid = torch.stack([columns, rows], dim=3)
        return F.grid_sample(images, grid, padding_mode="reflection", align_corners=False)


def scale_channels(images: Tensor, scale: Tensor, offset: Tensor) -> Tensor:
    """Return images · scale + offset, with scale and offset (N, C), as (N, C, H, W) channels last.

    One pass over pixels that lie channels last: a row of pixels is one run, which a broadcast over three
    channels is not.
    """
    count, channels, height, width = images.shape
    rows = images.permute(0, 2, 3, 1).reshape(count, height, width * channels)
    tiled = [v[:, None].expand(-1, width, -1).reshape(count, 1, -1) for v in (offset, scale)]
    changed = torch.addcmul(tiled[0], rows, tiled[1])
    return changed.view(count, height, width, channels).permute(0, 3, 1, 2)


def _mirrored(places: Tensor, length: int) -> Tensor:
    """Mirror places outside [0, length) at the border; they are less than ``length`` away from it."""
    last = length - 1
    return (last - (last - places.abs()).abs()).clamp(min=0)


PRESETS: dict[str, Augmentation] = {
    "none": Augmentation(),
    "no-flip": Augmentation(shift=0.1, rotation=8, light=0.15, tint=0.05),  # text, signs, X-rays
    "flip": Augmentation(shift=0.1, rotation=8, mirror=True, light=0.15, tint=0.05),  # photographs
    "any-way-up": Augmentation(
        shift=0.1, rotation=15, any_way_up=True, light=0.15, tint=0.05
    ),  # microscopy, skin, from above
}
