"""Random convolutional features: responses of random convolutions, and colours, of nine regions.

The filters are whitened patches of the images themselves (Coates, Lee & Ng, 2011).

Letters: N samples, C×H×W image, S side of the image that is looked at, F filters, D features of an image.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from functools import cached_property

import torch
import torch.nn.functional as F
from torch import Tensor

SIZE = 32  # pixels that the classifier looks at; it was tuned, and its fidelity measured, at this size
FILTERS = 128
REGIONS = 3  # a side

Flip = tuple[int, ...]  # which dimensions of (N, C, H, W) are reversed


def flips_of(*, mirror: bool, dihedral: bool) -> tuple[Flip, ...]:
    """Return the flips that leave an image as good as it was, the one that does nothing first."""
    if dihedral:
        return (), (3,), (2,), (2, 3)
    return ((), (3,)) if mirror else ((),)


@dataclass(frozen=True)
class RandomFeatures:
    """What turns an image into features, and knows what they would be for the mirrored image.

    The filters come with their mirror images. So the responses to a mirrored image are those to the image,
    with filters and regions in another order: nothing is computed twice.
    """

    filters: Tensor  # (F, C, side, side) float32: for each flip a part, which is the first part flipped
    bias: Tensor  # (F,) float32
    flips: tuple[Flip, ...]

    @classmethod
    def of(cls, images: Tensor, flips: Sequence[Flip], generator: torch.Generator) -> RandomFeatures:
        """Take filters from (n, C, S, S) float32 in [0, 1]."""
        side = max(2, images.shape[-1] // 4)
        base = FILTERS // len(flips)
        patches = _draw_patches(images, side, 4 * 5000 // len(flips), generator)
        patches = torch.cat([patches.flip(flip) if flip else patches for flip in flips]).flatten(1)
        patches = patches - patches.mean(dim=1, keepdim=True)
        patches = patches / (patches.square().mean(dim=1, keepdim=True) + 0.01).sqrt()
        mean = patches.mean(dim=0)
        values, vectors = torch.linalg.eigh((patches - mean).T @ (patches - mean) / len(patches))
        whiten = vectors * (values.clamp(min=0) + 0.1).rsqrt() @ vectors.T
        picked = (patches[:base] - mean) @ whiten
        picked = picked / (picked.norm(dim=1, keepdim=True) + 1e-6) @ whiten
        # Patches are seen without their mean; a filter without its mean does not see it anyway.
        shaped = (picked - picked.mean(dim=1, keepdim=True)).view(base, images.shape[1], side, side)
        filters = torch.cat([shaped.flip(flip) if flip else shaped for flip in flips])
        bias = (picked @ mean).repeat(len(flips))
        return cls(filters.contiguous(memory_format=torch.channels_last), bias, tuple(flips))

    def __call__(self, images: Tensor) -> Tensor:
        """Return the features (n, D) of (n, C, S, S) float32 in [0, 1]."""
        channels, side = self.filters.shape[1:3]
        box = torch.full((1, channels, side, side), 1 / (channels * side * side), device=images.device)
        mean = F.conv2d(images, box)
        spread = (F.conv2d(images.square(), box) - mean.square() + 0.01).clamp(min=0.001).sqrt()
        response = F.conv2d(images, self.filters).div_(spread).sub_(self.bias[:, None, None])
        # Both signs, each as far as it exceeds a threshold; in place, since this is most of the work.
        seen = [F.adaptive_avg_pool2d((response - 0.25).clamp_(min=0), REGIONS)]
        seen.append(F.adaptive_avg_pool2d(response.add_(0.25).neg_().clamp_(min=0), REGIONS))
        colour = F.adaptive_avg_pool2d(images, REGIONS)
        spread = (F.adaptive_avg_pool2d(images.square(), REGIONS) - colour.square()).clamp(min=0).sqrt()
        return torch.cat([part.flatten(1) for part in (*seen, colour, spread)], dim=1)

    @property
    def colours(self) -> int:
        """How many features, the last ones, are colours."""
        return 2 * self.filters.shape[1] * REGIONS**2

    def flipped(self, features: Tensor) -> list[Tensor]:
        """Return what the features (n, D) would be of the image flipped each way, as ``flips`` orders it."""
        return [
            features[:, index] if flip else features
            for flip, index in zip(self.flips, self._indices, strict=True)
        ]

    @cached_property
    def _indices(self) -> list[Tensor]:
        """For every flip, (D,) int64: which feature of the image is each feature of the flipped image."""
        count, channels = self.filters.shape[:2]
        base = count // len(self.flips)
        grid = torch.arange(2 * (count + channels) * REGIONS**2, device=self.filters.device)
        grid = grid.view(1, -1, REGIONS, REGIONS)
        seen, colours = torch.split(grid[:, : 2 * count], count, dim=1), grid[:, 2 * count :]
        index = torch.arange(count, device=grid.device).view(len(self.flips), base)
        indices = []
        for flip in self.flips:
            order = index[[self.flips.index(_both(f, flip)) for f in self.flips]].flatten()
            parts = torch.cat([*[part[:, order] for part in seen], colours], dim=1)
            indices.append(parts.flip(flip).flatten())
        return indices


def scaled(images: Tensor) -> Tensor:
    """(n, C, H, W) float32 in [0, 1] → (n, C, S, S), S at most SIZE, channels last."""
    values = images.contiguous(memory_format=torch.channels_last)
    if max(values.shape[2:]) > SIZE or values.shape[2] != values.shape[3]:
        side = min(SIZE, *values.shape[2:])
        values = F.interpolate(values, (side, side), mode="bilinear", antialias=True)
    return values


def _both(one: Flip, other: Flip) -> Flip:
    """Return the flip that two flips make."""
    return tuple(sorted(set(one) ^ set(other)))


def _draw_patches(images: Tensor, side: int, count: int, generator: torch.Generator) -> Tensor:
    """(count, C, side, side) patches from anywhere in any of (n, C, S, S)."""
    patches = images.unfold(2, side, 1).unfold(3, side, 1)  # (n, C, rows, columns, side, side), a view
    image = torch.randint(len(images), (count,), generator=generator)
    row = torch.randint(patches.shape[2], (count,), generator=generator)
    column = torch.randint(patches.shape[3], (count,), generator=generator)
    return patches[image, :, row, column]
