"""Test-time augmentation: ask the network about every view of an image that is as good as the image."""

from __future__ import annotations

from collections.abc import Iterator, Mapping
from dataclasses import dataclass, replace
from typing import TYPE_CHECKING, Any, ClassVar, Self

from sit2.inference.predictors.predictor import Ask, Context, Known, Outputs, Predictor, Stage

if TYPE_CHECKING:
    from torch import Tensor


@dataclass(frozen=True, kw_only=True)
class TestTimeAugmentation(Predictor):
    """Average the network over the flips and rotations that training used (test-time augmentation)."""

    __test__ = False  # not a test class, whatever pytest thinks of its name

    stage: ClassVar[Stage] = Stage.VIEWS

    mirror: bool = False  # whether a mirrored image is as good
    dihedral: bool = False  # whether an image flipped or turned any other way is as good

    def learn(self, known: Known) -> Self:
        """Return this with the views that the augmentation of training allows."""
        return replace(self, mirror=known.augmentation.mirror, dihedral=known.augmentation.dihedral)

    def observe(self, images: Tensor, ask: Ask) -> Tensor | None:
        """Return (N, K) log-probabilities: the mean over all views, normalised."""
        import torch

        views = [ask(view) for view in self.views(images)]
        return torch.stack(views).mean(dim=0).log_softmax(dim=1)

    def __call__(self, outputs: Outputs, observed: Tensor | None) -> Outputs:
        """Put the mean over the views in place of the answer so far."""
        assert observed is not None
        return replace(outputs, log_probabilities=observed)

    def views(self, images: Tensor) -> Iterator[Tensor]:
        """Yield the images (N, C, H, W) as they are, then every other view of them."""
        flips: list[tuple[int, ...]] = [()]
        flips += [(3,)] if self.mirror or self.dihedral else []
        flips += [(2,), (2, 3)] if self.dihedral else []
        turned = [images, images.mT] if self.dihedral and images.shape[2] == images.shape[3] else [images]
        for view in turned:
            for flip in flips:
                yield view.flip(flip) if flip else view

    @classmethod
    def from_state(cls, settings: Mapping[str, Any], state: Mapping[str, Tensor], context: Context) -> Self:
        """Return it with the views of the model's augmentation."""
        return cls(mirror=context.augmentation.mirror, dihedral=context.augmentation.dihedral, **settings)
