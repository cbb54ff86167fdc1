"""Halves: one parent's half beside, or above, the other's."""

from __future__ import annotations

from typing import TYPE_CHECKING

from sit2.synthesis.synthesizer import Synthesizer

if TYPE_CHECKING:
    import torch
    from torch import Tensor


class Halves(Synthesizer):
    """Left and right halves, or top and bottom halves, in either order."""

    def masks(self, count: int, height: int, width: int, *, generator: torch.Generator) -> Tensor:
        """Draw (count, 1, height, width) masks of zeros and ones."""
        import torch

        device = generator.device
        beside = (torch.arange(width, device=device) < width / 2).float().expand(height, width)
        above = (torch.arange(height, device=device) < height / 2).float()[:, None].expand(height, width)
        kinds = torch.stack([beside, 1 - beside, above, 1 - above])[:, None]  # (4, 1, H, W)
        return kinds[torch.randint(4, (count,), generator=generator, device=device)]
