"""Blend: one transparent picture over the other."""

from __future__ import annotations

from dataclasses import dataclass
from typing import TYPE_CHECKING

from sit2.synthesis.synthesizer import Synthesizer

if TYPE_CHECKING:
    import torch
    from torch import Tensor


@dataclass(frozen=True)
class Blend(Synthesizer):
    """Weighted mean of both parents, the weight uniform in [low, high] and the same at every pixel."""

    low: float = 0.4
    high: float = 0.6

    def masks(self, count: int, height: int, width: int, *, generator: torch.Generator) -> Tensor:
        """Draw (count, 1, 1, 1) weights."""
        import torch

        uniform = torch.rand(count, 1, 1, 1, generator=generator, device=generator.device)
        return self.low + (self.high - self.low) * uniform
