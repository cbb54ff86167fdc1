"""What every synthesizer offers."""

from __future__ import annotations

from abc import ABC, abstractmethod
from typing import TYPE_CHECKING

if TYPE_CHECKING:
    import torch
    from torch import Tensor


class Synthesizer(ABC):
    """A way to combine two images in approximately equal proportions."""

    @abstractmethod
    def masks(self, count: int, height: int, width: int, *, generator: torch.Generator) -> Tensor:
        """Draw ``count`` masks: the share of the left parent at every pixel.

        Returns:
            (count, 1, height, width) or (count, 1, 1, 1) float32 in [0, 1], on the generator's device. Over
            many draws the mean share is one half, so neither parent is favoured.
        """
