"""Not-sure images in a plain PyTorch loop: pretrain on mixed batches, fine-tune on the images as they are."""

from __future__ import annotations

import torch
import torch.nn.functional as F
from pairs import accuracy, digits, network
from torch.utils.data import DataLoader

import sit2


def main(epochs: int = 10) -> float:
    """Train; return the accuracy on the training images."""
    torch.manual_seed(0)
    data, pairs = digits()
    mixer, model = sit2.NotSureMixer(pairs), network()
    optimiser = torch.optim.AdamW(model.parameters(), lr=3e-3)
    for epoch in range(epochs):
        for images, labels in DataLoader(data, batch_size=64, shuffle=True):
            if epoch < epochs // 2:
                mixed = mixer(images, labels)
                loss = F.cross_entropy(model(mixed.images), mixed.targets(10))
            else:
                loss = F.cross_entropy(model(images), labels)
            optimiser.zero_grad()
            loss.backward()
            optimiser.step()
    return accuracy(model, data)


if __name__ == "__main__":
    print(f"accuracy {main():.3f}")
