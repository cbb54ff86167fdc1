"""Training images on the training device, and every draw from them.

Nothing here has a state: what step 17 of a phase sees depends on the seed, the phase and the number 17
alone (and on the phase's length, of batches that change on the way). So a killed run resumes to the identical
result, and methods that share a seed share their draws.
"""

from __future__ import annotations

import math
from dataclasses import dataclass, field, replace

import numpy as np
import torch
from torch import Tensor

from sit2.records import ByteArray, IntArray
from sit2.seeds import Seeds
from sit2.synthesis.mixer import ClassIndex
from sit2.training.augment import draw_indices, draw_light, rotate_every_second, scale_channels
from sit2.training.augmentations import Augmentation


@dataclass(frozen=True)
class Normalisation:
    """Mean and standard deviation of each channel, of values in [0, 1]."""

    mean: tuple[float, ...]  # C
    std: tuple[float, ...]  # C

    @classmethod
    def of(cls, images: ByteArray, rows: IntArray | None = None) -> Normalisation:
        """Measure the images ``rows`` (all if None) of (M, C, H, W) uint8."""
        rows = np.arange(len(images), dtype=np.int64) if rows is None else rows
        parts = [rows[n : n + 1024] for n in range(0, len(rows), 1024)]  # of a memory map, not all at once
        counts = [
            np.sum([np.bincount(images[part, c].ravel(), minlength=256) for part in parts], axis=0)
            for c in range(images.shape[1])
        ]
        values = np.arange(256) / 255
        means = [float((n * values).sum() / n.sum()) for n in counts]
        squares = [float((n * values**2).sum() / n.sum()) for n in counts]
        deviations = [math.sqrt(max(s - m * m, 0.0)) for s, m in zip(squares, means, strict=True)]
        return cls(tuple(means), tuple(max(d, 1 / 255) for d in deviations))

    def __call__(self, images: Tensor) -> Tensor:
        """Normalise float32 (N, C, H, W) in [0, 1]."""
        mean, std = self.tensors(images.device)
        return (images - mean[:, None, None]) / std[:, None, None]

    def tensors(self, device: torch.device) -> tuple[Tensor, Tensor]:
        """Return mean and standard deviation, each (C,) float32."""
        return torch.tensor(self.mean, device=device), torch.tensor(self.std, device=device)


@dataclass(frozen=True)
class TrainingSet:
    """The training set as two tensors, and the draws of one phase.

    Pixels lie channels last and flat, so that augmentation which moves whole pixels is one gather, and so
    that a memory map is read where it lies. ``source`` says which images of the store are for training.
    """

    pixels: Tensor  # (M · H · W, C) uint8: all images of the store, one pixel a row
    shape: tuple[int, int, int]  # C, H, W
    source: Tensor  # (N,) int64 in [0, M)
    labels: Tensor  # (N,) int64
    num_classes: int
    normalise: Normalisation
    augment: Augmentation
    seeds: Seeds
    balanced: bool = False  # draw classes evenly instead of images
    steps: int = 1  # of the phase, for batches that change on the way
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
        rows: IntArray | None = None,
        normalise: Normalisation,
        augment: Augmentation,
        seeds: Seeds,
        balanced: bool = False,
        device: torch.device | str = "cpu",
    ) -> TrainingSet:
        """Make a training set of the n images ``rows`` (all if None) of (M, C, H, W) uint8, with labels (n,).

        On a CPU, images that lie channels last in memory or in a memory map are not copied; an accelerator
        gets a copy of ``rows`` alone.
        """
        rows = np.arange(len(images), dtype=np.int64) if rows is None else rows
        source = np.arange(len(rows), dtype=np.int64) if str(device) != "cpu" else rows
        stored = images[rows] if str(device) != "cpu" else images
        flat = stored.transpose(0, 2, 3, 1).reshape(-1, images.shape[1])
        channels, height, width = images.shape[1:]
        return cls(
            as_tensor(flat).to(device),
            (channels, height, width),
            torch.from_numpy(source.copy()).to(device),
            torch.from_numpy(labels.astype(np.int64)).to(device),
            num_classes,
            normalise,
            augment,
            seeds,
            balanced,
        )

    def for_phase(self, number: int, steps: int = 1) -> TrainingSet:
        """Return the same images with the draws of the phase of this number and length; each has its own."""
        return replace(self, seeds=self.seeds.child("phase", number), steps=steps, _orders={})

    def __len__(self) -> int:
        return len(self.labels)

    def generator(self, step: int) -> torch.Generator:
        """Return the generator of one step, on the images' device."""
        generator = torch.Generator(self.labels.device)
        generator.manual_seed(self.seeds.integer("step", step))
        return generator

    def rows(self, first: int, count: int) -> Tensor:
        """Return rows first … first + count − 1 (count,) int64 of an endless, shuffled reading of the set.

        Every image is read once before any is read again; if balanced, classes take turns, and every image of
        a class is read once before any of it is read again.
        """
        parts, start = [self.labels[:0]], first
        while start < first + count:
            epoch, offset = divmod(start, len(self))
            take = min(first + count - start, len(self) - offset)
            parts.append(self._order(epoch)[offset : offset + take])
            start += take
        return torch.cat(parts)

    def _order(self, epoch: int) -> Tensor:
        if epoch not in self._orders:
            order = self.seeds.numpy("order", epoch).permutation(len(self))
            if self.balanced:
                order = self._by_turns(epoch)[order]
            self._orders.clear()
            self._orders[epoch] = torch.from_numpy(order).to(self.labels.device)
        return self._orders[epoch]

    def _by_turns(self, epoch: int) -> IntArray:
        """(N,) rows of an epoch in which classes take turns, each going on in its own endless reading."""
        start, count = self.index.start.cpu().numpy(), self.index.count.cpu().numpy()
        by_class, present = self.index.order.cpu().numpy(), np.flatnonzero(count)
        turns = np.arange(epoch * len(self), (epoch + 1) * len(self))
        order = np.empty(len(self), np.int64)
        for number, k in enumerate(present):
            mine = np.flatnonzero(turns % len(present) == number)
            reading, offset = np.divmod(turns[mine] // len(present), count[k])
            for again in np.unique(reading):
                shuffled = self.seeds.numpy("class order", int(k), int(again)).permutation(count[k])
                now = reading == again
                order[mine[now]] = by_class[start[k] + shuffled[offset[now]]]
        return order

    def take(self, rows: Tensor, *, generator: torch.Generator) -> Tensor:
        """Return training images ``rows``, augmented and normalised: (n, C, H, W) float32, channels last."""
        channels, height, width = self.shape
        indices = draw_indices(self.augment, len(rows), height, width, generator=generator)
        indices += self.source[rows, None, None] * (height * width)
        pixels = self.pixels.index_select(0, indices.view(-1)).view(len(rows), height, width, channels)
        images = pixels.permute(0, 3, 1, 2).float()  # in [0, 255]
        images = rotate_every_second(images, self.augment, generator=generator)
        mean = images.permute(0, 2, 3, 1).flatten(1).mean(dim=1) / 255
        scale, offset = draw_light(self.augment, mean, channels, generator=generator)
        # Relighting, /255 and normalising are one change of scale: one pass over the pixels.
        centre, spread = self.normalise.tensors(images.device)
        return scale_channels(images, scale / (255 * spread), (offset - centre) / spread)


def as_tensor(array: ByteArray) -> Tensor:
    """Share a NumPy array's memory with a tensor that is only read: a memory map is not read into memory.

    Torch warns of arrays that cannot be written to, and has no tensors of that kind; so it is told that one can.
    """
    return torch.from_numpy(array if array.flags.writeable else np.asarray(_Writable(array)))


class _Writable:
    """An array that says it can be written to, which nobody does; it keeps the array's memory alive."""

    def __init__(self, array: ByteArray) -> None:
        start, _ = array.__array_interface__["data"]
        self.array = array
        self.__array_interface__ = {**array.__array_interface__, "data": (start, False)}
