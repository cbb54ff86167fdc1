"""Training images on the training device, and every draw from them.

Nothing here has a state: what step 17 of a phase sees depends on the seed, the phase and the number 17
alone. So a killed run resumes to the identical result, and methods that share a seed share their draws.
"""

from __future__ import annotations

import math
from dataclasses import dataclass, field

import numpy as np
import torch
from torch import Tensor

from sit2.records import ByteArray, IntArray
from sit2.seeds import Seeds
from sit2.synthesis.mixer import ClassIndex
from sit2.training.augment import Augmentation


@dataclass(frozen=True)
class Normalisation:
    """Mean and standard deviation of each channel, of values in [0, 1]."""

    mean: tuple[float, ...]  # C
    std: tuple[float, ...]  # C

    @classmethod
    def of(cls, images: ByteArray) -> Normalisation:
        """Measure uint8 images (N, C, H, W)."""
        counts = [np.bincount(images[:, c].ravel(), minlength=256) for c in range(images.shape[1])]
        values = np.arange(256) / 255
        means = [float((n * values).sum() / n.sum()) for n in counts]
        squares = [float((n * values**2).sum() / n.sum()) for n in counts]
        deviations = [math.sqrt(max(s - m * m, 0.0)) for s, m in zip(squares, means, strict=True)]
        return cls(tuple(means), tuple(max(d, 1 / 255) for d in deviations))

    def __call__(self, images: Tensor) -> Tensor:
        """Normalise float32 (N, C, H, W) in [0, 1]."""
        mean = torch.tensor(self.mean, device=images.device)[:, None, None]
        std = torch.tensor(self.std, device=images.device)[:, None, None]
        return (images - mean) / std


@dataclass(frozen=True)
class Feed:
    """The training set as two tensors, and the draws of one phase."""

    images: Tensor  # (N, C, H, W) uint8
    labels: Tensor  # (N,) int64
    num_classes: int
    normalise: Normalisation
    augment: Augmentation
    seeds: Seeds
    balanced: bool = False  # draw classes evenly instead of images
    index: ClassIndex = field(init=False)
    _orders: dict[int, Tensor] = field(default_factory=dict, repr=False)

    def __post_init__(self) -> None:
        object.__setattr__(self, "index", ClassIndex.of(self.labels, self.num_classes))

    @classmethod
    def of(
        cls,
        images: ByteArray,
        labels: IntArray,
        num_classes: int,
        *,
        normalise: Normalisation,
        augment: Augmentation,
        seeds: Seeds,
        balanced: bool = False,
        device: torch.device | str = "cpu",
    ) -> Feed:
        """Put NumPy images (N, C, H, W) uint8 and labels (N,) on a device."""
        pixels = torch.from_numpy(np.require(images, requirements=["C", "W"])).to(device)
        return cls(
            pixels,
            torch.from_numpy(np.array(labels, np.int64)).to(device),
            num_classes,
            normalise,
            augment,
            seeds,
            balanced,
        )

    def for_phase(self, name: str) -> Feed:
        """Return the same images with the draws of another phase."""
        return Feed(
            self.images,
            self.labels,
            self.num_classes,
            self.normalise,
            self.augment,
            self.seeds.child(name),
            self.balanced,
        )

    def __len__(self) -> int:
        return len(self.labels)

    def generator(self, step: int) -> torch.Generator:
        """Return the generator of one step, on the images' device."""
        generator = torch.Generator(self.images.device)
        generator.manual_seed(self.seeds.integer("step", step))
        return generator

    def rows(self, first: int, count: int) -> Tensor:
        """Return rows first … first + count − 1 (count,) int64 of an endless, shuffled reading of the set.

        Every image is read once before any is read again (class by class evenly, if balanced).
        """
        parts, place = [self.labels[:0]], first
        while place < first + count:
            epoch, offset = divmod(place, len(self))
            take = min(first + count - place, len(self) - offset)
            parts.append(self._order(epoch)[offset : offset + take])
            place += take
        return torch.cat(parts)

    def _order(self, epoch: int) -> Tensor:
        if epoch not in self._orders:
            draw = self.seeds.numpy("order", epoch)
            if self.balanced:
                labels = self.labels.cpu().numpy()
                share = 1.0 / np.bincount(labels, minlength=self.num_classes)[labels]
                order = draw.choice(len(self), len(self), p=share / share.sum())
            else:
                order = draw.permutation(len(self))
            self._orders.clear()
            self._orders[epoch] = torch.from_numpy(order).to(self.images.device)
        return self._orders[epoch]

    def take(self, rows: Tensor, *, generator: torch.Generator) -> Tensor:
        """Return images ``rows``, augmented and normalised: (n, C, H, W) float32."""
        images = self.images[rows].float() / 255
        return self.normalise(self.augment(images, generator=generator))
