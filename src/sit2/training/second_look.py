"""A second look at images that a network may have taken for the other class of a pair.

The network is asked again about the image laid every way it may lie, and a classifier that sees quite other
things, the probe in closed form, is asked as well. What they say together counts among the class that the
network named at first and those that it is confused with; all other classes keep the probability they had.

Letters: N samples, K classes, V ways to lay an image.
"""

from __future__ import annotations

from collections.abc import Callable, Iterator, Mapping, Sequence
from dataclasses import dataclass

import torch
from torch import Tensor

from sit2.confusion.probe import Probe
from sit2.records import ClassPair
from sit2.synthesis.mixer import pair_tensor
from sit2.training.augment import Augmentation

Ask = Callable[[Tensor], Tensor]  # (N, C, H, W) in [0, 1] → (N, K) float64 log-probabilities, on the CPU


@dataclass(frozen=True)
class SecondLook:
    """What is asked again, where, and how much the probe counts."""

    probe: Probe
    partners: Tensor  # (K, K) bool, symmetric: which classes are a pair
    weight: float  # of the probe, in [0, 1]; the rest is the network's
    mirror: bool  # whether a mirrored image is as good
    any_way_up: bool  # whether an image laid down any other way is as good

    @classmethod
    def of(
        cls,
        probe: Probe,
        pairs: Sequence[ClassPair],
        *,
        num_classes: int,
        weight: float,
        augment: Augmentation,
    ) -> SecondLook:
        """Look again among the classes of ``pairs``, at images laid as training laid them."""
        partners = torch.zeros(num_classes, num_classes, dtype=torch.bool)
        a, b = pair_tensor(pairs).unbind(1)
        partners[a, b] = partners[b, a] = True
        return cls(probe, partners, weight, augment.mirror, augment.any_way_up)

    def __call__(self, images: Tensor, ask: Ask) -> Tensor:
        """Return (N, K) float64 log-probabilities of (N, C, H, W) float32 images in [0, 1]."""
        views = [ask(view) for view in self.views(images)]
        first = views[0]
        other = self.probe(images.to(self.probe.slope.device)).to(first.device)
        again = torch.lerp(torch.stack(views).mean(dim=0), other, self.weight)
        named = first.argmax(dim=1)
        among = self.partners[named].scatter(1, named[:, None], value=True)
        nothing = torch.full_like(first, -torch.inf)
        share = torch.where(among, again, nothing).log_softmax(dim=1)
        mass = torch.where(among, first, nothing).logsumexp(dim=1, keepdim=True)
        return torch.where(among & self.concerns(first)[:, None], share + mass, first)

    def concerns(self, first: Tensor) -> Tensor:
        """Say, (N,) bool, which answers (N, K) name a class of a pair, so that there is a second look."""
        return self.partners[first.argmax(dim=1)].any(dim=1)

    def views(self, images: Tensor) -> Iterator[Tensor]:
        """Yield the images (N, C, H, W) as they are, then laid every other way that is as good."""
        flips: list[tuple[int, ...]] = [()]
        flips += [(3,)] if self.mirror or self.any_way_up else []
        flips += [(2,), (2, 3)] if self.any_way_up else []
        turned = [images, images.mT] if self.any_way_up and images.shape[2] == images.shape[3] else [images]
        for laid in turned:
            for flip in flips:
                yield laid.flip(flip) if flip else laid

    def state(self) -> dict[str, Tensor]:
        """Return all that it is made of, as tensors."""
        numbers = torch.tensor([self.weight, self.mirror, self.any_way_up], dtype=torch.float64)
        return {**self.probe.state(), "partners": self.partners, "numbers": numbers}

    @classmethod
    def restore(cls, state: Mapping[str, Tensor], *, channels: int, num_classes: int) -> SecondLook:
        """Put together what :meth:`state` took apart. Raises ValueError for what does not fit."""
        numbers, partners = state.get("numbers"), state.get("partners")
        if numbers is None or numbers.shape != (3,):
            raise ValueError("the second look lacks its numbers")
        weight, mirror, any_way_up = numbers.tolist()
        if not 0 <= weight <= 1:
            raise ValueError("the second look's weight is not from 0 to 1")
        if partners is None or partners.dtype != torch.bool or partners.shape != (num_classes, num_classes):
            raise ValueError("the second look's pairs do not fit the classes")
        ways = {"mirror": bool(mirror), "any_way_up": bool(any_way_up)}
        probe = Probe.of(state, channels=channels, num_classes=num_classes, **ways)
        return cls(probe, partners, weight, **ways)
