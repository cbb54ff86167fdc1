"""Augmentation of a whole batch at once, each sample with its own draw, on the training device.

Torchvision's v2 transforms draw one set of parameters for a batch; here every sample has its own. Shift,
rotation and mirroring are one affine resampling.
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

    shift: float = 0.0  # of the side; the border is mirrored, like padding and cropping at random
    rotation: float = 0.0  # degrees, either way
    mirror: bool = False  # left-right, half of the samples
    flip: bool = False  # up-down, half of the samples
    light: float = 0.0  # brightness and contrast, as a share
    tint: float = 0.0  # each colour channel's own brightness, as a share; gray images keep theirs

    def __call__(self, images: Tensor, *, generator: torch.Generator) -> Tensor:
        """Change each image by its own draw.

        Args:
            images: (N, C, H, W) float32 in [0, 1].
            generator: on the images' device.

        Returns:
            The same shape; values may leave [0, 1] a little.
        """
        if self.shift or self.rotation or self.mirror or self.flip:
            images = self._move(images, generator)
        if self.light or self.tint:
            images = self._recolour(images, generator)
        return images

    def _move(self, images: Tensor, generator: torch.Generator) -> Tensor:
        count, device = len(images), images.device
        angle, x, y, mirror, flip = torch.rand(5, count, generator=generator, device=device).unbind()
        angle = (2 * angle - 1) * math.radians(self.rotation)
        # The output grid runs from -1 to 1: a shift of s sides is 2s.
        x, y = (2 * x - 1) * 2 * self.shift, (2 * y - 1) * 2 * self.shift
        across = torch.where(mirror < 0.5, -1.0, 1.0) if self.mirror else torch.ones_like(x)
        down = torch.where(flip < 0.5, -1.0, 1.0) if self.flip else torch.ones_like(x)
        cos, sin = angle.cos(), angle.sin()
        rows = torch.stack([across * cos, -sin * down, x, across * sin, cos * down, y], dim=1)
        grid = F.affine_grid(rows.view(count, 2, 3), list(images.shape), align_corners=False)
        return F.grid_sample(images, grid, padding_mode="reflection", align_corners=False)

    def _recolour(self, images: Tensor, generator: torch.Generator) -> Tensor:
        count, channels = images.shape[:2]
        draw = 2 * torch.rand(count, 2 + channels, 1, 1, generator=generator, device=images.device) - 1
        contrast, brightness, tint = 1 + self.light * draw[:, :1], self.light * draw[:, 1:2], draw[:, 2:]
        mean = images.mean(dim=(1, 2, 3), keepdim=True)
        offset = mean * (1 - contrast) + brightness / 2
        if channels > 1:
            offset = offset + self.tint / 2 * tint
        return images * contrast + offset


PRESETS: dict[str, Augmentation] = {
    "none": Augmentation(),
    "no-flip": Augmentation(shift=0.1, rotation=8, light=0.15, tint=0.05),  # text, signs, X-rays
    "flip": Augmentation(shift=0.1, rotation=8, mirror=True, light=0.15, tint=0.05),  # photographs
    "any-way-up": Augmentation(
        shift=0.1, rotation=180, mirror=True, flip=True, light=0.15, tint=0.05
    ),  # microscopy, skin, from above
}
