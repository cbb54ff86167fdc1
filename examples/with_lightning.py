"""Not-sure images in Lightning: a batch transform, for the first half of the epochs."""

from __future__ import annotations

from typing import Any

import lightning
import torch
import torch.nn.functional as F
from pairs import accuracy, digits, network
from torch import Tensor
from torch.utils.data import DataLoader

import sit2


class Classifier(lightning.LightningModule):
    """A network that is pretrained on not-sure images."""

    def __init__(self, pairs: list[sit2.ClassPair]) -> None:
        super().__init__()
        self.network, self.mixer = network(), sit2.NotSureMixer(pairs)

    def on_after_batch_transfer(self, batch: Any, dataloader_idx: int) -> Any:
        """Mix a batch where it is to be computed on."""
        images, labels = batch
        if self.current_epoch >= self.trainer.max_epochs // 2:
            return images, F.one_hot(labels, 10).float()
        mixed = self.mixer(images, labels)
        return mixed.images, mixed.targets(10)

    def training_step(self, batch: Any, batch_idx: int) -> Tensor:
        """Return the loss."""
        images, targets = batch
        return F.cross_entropy(self.network(images), targets)

    def configure_optimizers(self) -> torch.optim.Optimizer:
        """Return the optimiser."""
        return torch.optim.AdamW(self.parameters(), lr=3e-3)


def main(epochs: int = 10) -> float:
    """Train; return the accuracy on the training images."""
    lightning.seed_everything(0, verbose=False)
    data, pairs = digits()
    model, quiet = Classifier(pairs), ("enable_progress_bar", "enable_model_summary", "enable_checkpointing")
    trainer = lightning.Trainer(
        max_epochs=epochs, accelerator="cpu", logger=False, **dict.fromkeys(quiet, False)
    )
    trainer.fit(model, DataLoader(data, batch_size=64, shuffle=True))
    return accuracy(model.network, data)


if __name__ == "__main__":
    print(f"accuracy {main():.3f}")
