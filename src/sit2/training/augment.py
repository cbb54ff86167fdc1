"""Augmentation of a whole batch at once, each sample with its own draw, on the training device.

Torchvision's v2 transforms draw one set of parameters for a batch; here every sample has its own.

Shifts, flips and quarter turns move whole pixels: together they cost one gather, and leave an image as sharp
as it was. Rotation by any other angle interpolates, and so blurs. A network that saw nothing but blurred
images takes the sharp ones of the test for something else (docs/experiments.md, 2026-11-23), so only every
second image of a batch is rotated.

Letters: N samples, C×H×W image.
"""

from __future__ import annotations

import math

import torch
import torch.nn.functional as F
from torch import Tensor

from sit2.training.augmentations import Augmentation


def augment(images: Tensor, how: Augmentation, *, generator: torch.Generator) -> Tensor:
    """Return each image of (N, C, H, W) float32 in [0, 1], moved, rotated and relit by its own draw."""
    count, channels, height, width = images.shape
    indices = draw_indices(how, count, height, width, generator=generator).view(count, 1, -1)
    moved = images.flatten(2).gather(2, indices.expand(-1, channels, -1)).view_as(images)
    rotated = rotate_every_second(moved, how, generator=generator)
    scale, offset = draw_light(how, rotated.mean(dim=(1, 2, 3)), channels, generator=generator)
    return scale_channels(rotated, scale, offset)


def draw_indices(
    how: Augmentation, count: int, height: int, width: int, *, generator: torch.Generator
) -> Tensor:
    """Draw where every pixel is taken from.

    Returns:
        (count, height, width) int64 in [0, height · width), on the generator's device.
    """
    device = generator.device
    draw = torch.rand(5, count, 1, generator=generator, device=device)
    down, across = ((2 * draw[:2] - 1) * how.shift).unbind()
    rows = _mirrored(torch.arange(height, device=device) + (down * height).round().long(), height)
    columns = _mirrored(torch.arange(width, device=device) + (across * width).round().long(), width)
    if how.mirror or how.dihedral:
        columns = torch.where(draw[2] < 0.5, columns.flip(1), columns)
    if how.dihedral:
        rows = torch.where(draw[3] < 0.5, rows.flip(1), rows)
    indices = rows[:, :, None] * width + columns[:, None, :]
    if how.dihedral and height == width:
        indices = torch.where(draw[4][:, :, None] < 0.5, indices.transpose(1, 2), indices)
    return indices.contiguous()


def rotate_every_second(images: Tensor, how: Augmentation, *, generator: torch.Generator) -> Tensor:
    """Rotate every second of (N, C, H, W) float32 images by its own angle; they may be written to."""
    if how.rotation:
        images[::2] = _rotated(images[::2], how.rotation, generator)
    return images


def draw_light(
    how: Augmentation, mean: Tensor, channels: int, *, generator: torch.Generator
) -> tuple[Tensor, Tensor]:
    """Draw a change of light, value · scale + offset, around each image's mean (N,) in [0, 1].

    Returns:
        scale and offset, each (N, channels) float32; values so changed may leave [0, 1] a little.
    """
    if not (how.light or how.tint):
        nothing = torch.zeros(len(mean), channels, device=mean.device)
        return nothing + 1, nothing
    draw = 2 * torch.rand(len(mean), 2 + channels, generator=generator, device=mean.device) - 1
    contrast, brightness, tint = 1 + how.light * draw[:, :1], how.light * draw[:, 1:2], draw[:, 2:]
    offset = mean[:, None] * (1 - contrast) + brightness / 2
    if channels > 1:
        offset = offset + how.tint / 2 * tint
    return contrast.expand(-1, channels), offset.expand(-1, channels)


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


def _rotated(images: Tensor, degrees: float, generator: torch.Generator) -> Tensor:
    _, _, height, width = images.shape
    angle = 2 * torch.rand(len(images), generator=generator, device=images.device) - 1
    angle = angle * math.radians(degrees)
    cos, sin = angle.cos()[:, None, None], angle.sin()[:, None, None]
    # grid_sample's coordinates run from -1 to 1 along both sides, whatever their lengths. Written out, because
    # F.affine_grid multiplies many tiny matrices, which takes longer than the sampling.
    across = (torch.arange(width, device=images.device) * 2 + 1) / width - 1
    down = ((torch.arange(height, device=images.device) * 2 + 1) / height - 1)[:, None]
    columns = cos * across - sin * (height / width) * down
    rows = sin * (width / height) * across + cos * down
    grid = torch.stack([columns, rows], dim=3)
    return F.grid_sample(images, grid, padding_mode="reflection", align_corners=False)


def _mirrored(indices: Tensor, length: int) -> Tensor:
    """Mirror indices outside [0, length) at the border; they are less than ``length`` away from it."""
    last = length - 1
    return (last - (last - indices.abs()).abs()).clamp(min=0)
