"""Patches: a checkerboard of both parents."""

from __future__ import annotations

from dataclasses import dataclass
from typing import TYPE_CHECKING

from sit2.synthesis.synthesizer import Synthesizer

if TYPE_CHECKING:
    import torch
    from torch import Tensor


@dataclass(frozen=True)
class Patches(Synthesizer):
    """Checkerboard of ``cells`` × ``cells`` squares, shifted at random, so about half the area is each's."""

    cells: int = 4

    def masks(self, count: int, height: int, width: int, *, generator: torch.Generator) -> Tensor:
        """Draw (count, 1, height, width) masks of zeros and ones."""
        import torch

        device = generator.device
        shift = 2 * torch.rand(count, 2, generator=generator, device=device)  # a whole period of the board
        rows = (torch.arange(height, device=device) * self.cells / height + shift[:, :1]).floor()  # (n, H)
        columns = (torch.arange(width, device=device) * self.cells / width + shift[:, 1:]).floor()  # (n, W)
        return ((rows[:, :, None] + columns[:, None, :]) % 2)[:, None]
