"""The network of a model, as predictors ask it.

Letters: N images, K classes, C×H×W pixels, D features.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from typing import Any

import torch
from torch import Tensor, nn

from sit2.training.backbones import Network
from sit2.training.training_set import Normalisation


class Members(nn.Module):
    """Several networks as one: what it returns is the logarithm of their mean probability."""

    def __init__(self, networks: Sequence[Network]) -> None:
        super().__init__()
        self.networks = nn.ModuleList(networks)

    def forward(self, images: Tensor) -> Tensor:
        """(N, C, H, W) → (N, K) log-probabilities."""
        answers = torch.stack([network(images).log_softmax(dim=1) for network in self.networks])
        return answers.logsumexp(dim=0)


@dataclass(frozen=True)
class Asked:
    """Images that the network was asked about, and what it said: predictors ask about the same ones again."""

    images: Tensor
    answer: Tensor  # (N, K) float64 log-probabilities
    features: Tensor | None  # (N, D); None of several networks


class Asking:
    """The network of a model, asked about views of one batch of images; see ``Ask``."""

    def __init__(self, network: Network | Members, normalise: Normalisation) -> None:
        self._network, self._normalise = network, normalise
        self._first: Asked | None = None  # the images as they are; views come after them

    def __call__(self, images: Tensor, /) -> Tensor:
        """(N, C, H, W) float32 in [0, 1] → (N, K) float64 log-probabilities."""
        if self._first is not None and self._first.images is images:
            return self._first.answer
        features: Tensor | None = None
        if isinstance(self._network, Members):
            scores: Tensor = self._network(self.prepared(images))
        else:
            features = self._network.encoder(self.prepared(images))
            scores = self._network.head(features)
        answer = scores.cpu().double().log_softmax(dim=1)  # in this order: not every accelerator has float64
        if self._first is None:
            self._first = Asked(images, answer, features)
        return answer

    def features(self, images: Tensor, /) -> Tensor:
        """(N, C, H, W) float32 in [0, 1] → (N, D) float32: of the first of several networks."""
        first = self._first
        if first is not None and first.images is images and first.features is not None:
            return first.features
        network: Any = self._network.networks[0] if isinstance(self._network, Members) else self._network
        found: Tensor = network.encoder(self.prepared(images))
        return found

    def prepared(self, images: Tensor) -> Tensor:
        """Return what the network is given of (N, C, H, W) float32 in [0, 1]."""
        return self._normalise(images).contiguous(memory_format=torch.channels_last)
