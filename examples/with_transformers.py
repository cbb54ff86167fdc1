"""Not-sure images in Hugging Face's Trainer: a data collator that mixes, and a loss for soft targets."""

from __future__ import annotations

import tempfile
from typing import Any

import torch
import torch.nn.functional as F
from pairs import accuracy, digits, network
from torch import Tensor, nn
from transformers import Trainer, TrainingArguments

import sit2


class Classifier(nn.Module):
    """A network that returns its loss, as Trainer wants it."""

    def __init__(self) -> None:
        super().__init__()
        self.network = network()

    def forward(self, pixel_values: Tensor, labels: Tensor) -> dict[str, Tensor]:
        """Return loss and logits; ``labels`` are probabilities (N, 10)."""
        logits = self.network(pixel_values)
        return {"loss": F.cross_entropy(logits, labels), "logits": logits}


def main(epochs: int = 10) -> float:
    """Train; return the accuracy on the training images."""
    torch.manual_seed(0)
    data, pairs = digits()
    mix, model = sit2.NotSureMixer(pairs).collate_fn(10), Classifier()

    def mixed(samples: list[Any]) -> dict[str, Tensor]:
        return dict(zip(("pixel_values", "labels"), mix(samples), strict=True))

    def plain(samples: list[Any]) -> dict[str, Tensor]:
        images, labels = torch.utils.data.default_collate(samples)
        return {"pixel_values": images, "labels": F.one_hot(labels, 10).float()}

    for collate in (mixed, plain):  # pretrain, fine-tune
        with tempfile.TemporaryDirectory() as folder:
            settings = TrainingArguments(
                folder, num_train_epochs=epochs / 2, per_device_train_batch_size=64, learning_rate=3e-3,
                use_cpu=True, report_to=[], save_strategy="no", disable_tqdm=True, remove_unused_columns=False,
                logging_strategy="no", dataloader_pin_memory=False,
            )  # fmt: skip
            Trainer(model, settings, train_dataset=data, data_collator=collate).train()
    return accuracy(model.network, data)


if __name__ == "__main__":
    print(f"accuracy {main():.3f}")
