"""Not-sure images with timm's training pieces: model, optimiser, schedule, soft-target loss, averaged weights."""

from __future__ import annotations

import timm
import torch
from pairs import accuracy, digits
from timm.loss import SoftTargetCrossEntropy
from timm.optim import create_optimizer_v2
from timm.scheduler import CosineLRScheduler
from timm.utils import ModelEmaV3
from torch.utils.data import DataLoader

import sit2


def main(epochs: int = 10) -> float:
    """Train; return the accuracy on the training images."""
    torch.manual_seed(0)
    data, pairs = digits()
    model = timm.create_model("test_resnet", in_chans=1, num_classes=10)
    optimiser = create_optimizer_v2(model, opt="adamw", lr=3e-3)
    schedule = CosineLRScheduler(optimiser, t_initial=epochs)
    averaged, loss_of = ModelEmaV3(model, decay=0.9), SoftTargetCrossEntropy()
    mixed = DataLoader(data, 64, shuffle=True, collate_fn=sit2.NotSureMixer(pairs).collate_fn(10))
    plain = DataLoader(data, 64, shuffle=True)
    for epoch in range(epochs):
        model.train()
        for images, targets in mixed if epoch < epochs // 2 else plain:
            soft = targets if targets.ndim == 2 else torch.nn.functional.one_hot(targets, 10).float()
            loss = loss_of(model(images), soft)
            optimiser.zero_grad()
            loss.backward()
            optimiser.step()
            averaged.update(model)
        schedule.step(epoch + 1)
    return accuracy(averaged.module, data)


if __name__ == "__main__":
    print(f"accuracy {main():.3f}")
