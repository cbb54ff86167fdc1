"""A second look at images that a network may have taken for the other class of a pair.

The network is asked again about the image laid every way it may lie, and a classifier that sees quite other
things, the probe in closed form, is asked as well. What they say together counts among the class that the
network named at first and those that it is confused with; all other classes keep the probability they had.
How much each counts, and how sure they are together, is given, or fitted to validation images: a logarithmic
opinion pool (Genest & Zidek 1986), stacked (Wolpert 1992).

Letters: N samples, K classes, V ways to lay an image.
"""

from __future__ import annotations

import math
from collections.abc import Callable, Iterator, Mapping, Sequence
from dataclasses import dataclass, replace

import torch
from torch import Tensor

from sit2.features.closed_form import Probe
from sit2.records import ClassPair
from sit2.synthesis.mixer import pair_tensor
from sit2.training.augment import Augmentation

USUAL_WEIGHT = 0.3  # of the probe, where nothing is fitted (docs/experiments.md, 2026-11-25)
WEIGHTS = tuple(n / 20 for n in range(21))
SHARPNESS = tuple(2.0 ** (n / 4) for n in range(-8, 9))
Ask = Callable[[Tensor], Tensor]  # (N, C, H, W) in [0, 1] → (N, K) float64 log-probabilities, on the CPU


@dataclass(frozen=True)
class SecondLook:
    """What is asked again, where, and how much the probe counts."""

    probe: Probe
    partners: Tensor  # (K, K) bool, symmetric: which classes are a pair
    weight: float  # of the probe, in [0, 1]; the rest is the network's
    mirror: bool  # whether a mirrored image is as good
    any_way_up: bool  # whether an image laid down any other way is as good
    sharpness: float = 1.0  # what their common log-probabilities are multiplied by

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
        return self.said(*self.asked(images, ask))

    def asked(self, images: Tensor, ask: Ask) -> tuple[Tensor, Tensor, Tensor]:
        """Return three answers (N, K): the network's at first, its mean over all views, and the probe's."""
        views = [ask(view) for view in self.views(images)]
        other = self.probe(images.to(self.probe.slope.device)).to(views[0].device)
        return views[0], torch.stack(views).mean(dim=0), other

    def said(self, first: Tensor, mean: Tensor, other: Tensor) -> Tensor:
        """Return (N, K) log-probabilities, of the three answers that :meth:`asked` returns."""
        again = torch.lerp(mean, other, self.weight) * self.sharpness
        named = first.argmax(dim=1)
        among = self.partners[named].scatter(1, named[:, None], value=True)
        nothing = torch.full_like(first, -torch.inf)
        share = torch.where(among, again, nothing).log_softmax(dim=1)
        mass = torch.where(among, first, nothing).logsumexp(dim=1, keepdim=True)
        return torch.where(among & self.concerns(first)[:, None], share + mass, first)

    def fitted(self, answers: tuple[Tensor, Tensor, Tensor], labels: Tensor) -> SecondLook:
        """Return this with the weight and the sharpness that suit answers about images of known classes.

        Maximum a posteriori over ``WEIGHTS`` × ``SHARPNESS``: the least sum of log-losses plus
        ((weight − 0.3) / 0.3)² + (ln sharpness)², so that a few images move them little.

        Args:
            answers: three (N, K), of :meth:`asked`, about images that nothing was trained on.
            labels: (N,) int64 in [0, K).
        """
        rows = torch.arange(len(labels))

        def price(look: SecondLook) -> float:
            prior = ((look.weight - USUAL_WEIGHT) / USUAL_WEIGHT) ** 2 + math.log(look.sharpness) ** 2
            return prior - float(look.said(*answers)[rows, labels].sum())

        return min((replace(self, weight=w, sharpness=s) for w in WEIGHTS for s in SHARPNESS), key=price)

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
        numbers = torch.tensor(
            [self.weight, self.mirror, self.any_way_up, self.sharpness], dtype=torch.float64
        )
        return {**self.probe.state(), "partners": self.partners, "numbers": numbers}

    @classmethod
    def restore(cls, state: Mapping[str, Tensor], *, channels: int, num_classes: int) -> SecondLook:
        """Put together what :meth:`state` took apart. Raises ValueError for what does not fit."""
        numbers, partners = state.get("numbers"), state.get("partners")
        if numbers is None or numbers.shape != (4,):
            raise ValueError("the second look lacks its numbers")
        weight, mirror, any_way_up, sharpness = numbers.tolist()
        if not 0 <= weight <= 1:
            raise ValueError("the second look's weight is not from 0 to 1")
        if not 0 < sharpness < math.inf:
            raise ValueError("the second look's sharpness is not above 0")
        if partners is None or partners.dtype != torch.bool or partners.shape != (num_classes, num_classes):
            raise ValueError("the second look's pairs do not fit the classes")
        ways = {"mirror": bool(mirror), "any_way_up": bool(any_way_up)}
        probe = Probe.of(state, channels=channels, num_classes=num_classes, **ways)
        return cls(probe, partners, weight, **ways, sharpness=sharpness)
