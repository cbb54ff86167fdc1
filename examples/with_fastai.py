"""Not-sure images in fastai: a callback that mixes each training batch, for the first half of the epochs."""

from __future__ import annotations

import torch
import torch.nn.functional as F
from fastai.callback.core import Callback
from fastai.data.core import DataLoaders
from fastai.data.load import DataLoader
from fastai.learner import Learner
from pairs import accuracy, digits, network
from torch import Tensor

import sit2


class NotSure(Callback):
    """Mixes training batches until half of the training is over."""

    def __init__(self, pairs: list[sit2.ClassPair]) -> None:
        self.mixer = sit2.NotSureMixer(pairs)

    def before_batch(self) -> None:
        """Put mixed images and soft targets in place of the batch."""
        if self.training and self.pct_train < 0.5:
            mixed = self.mixer(self.x, self.y)
            self.learn.xb, self.learn.yb = (mixed.images,), (mixed.targets(10),)


def loss_of(logits: Tensor, targets: Tensor) -> Tensor:
    """Return the loss for labels or for probabilities."""
    return F.cross_entropy(logits, targets)


def main(epochs: int = 10) -> float:
    """Train; return the accuracy on the training images."""
    torch.manual_seed(0)
    data, pairs = digits()
    loader = DataLoader(data, bs=64, shuffle=True, num_workers=0)
    loaders = DataLoaders(loader, DataLoader(data, bs=64, num_workers=0), device=torch.device("cpu"))
    learner = Learner(loaders, network(), loss_func=loss_of, cbs=[NotSure(pairs)])
    with learner.no_logging():
        learner.fit(epochs, lr=3e-3)
    return accuracy(learner.model, data)


if __name__ == "__main__":
    print(f"accuracy {main():.3f}")
