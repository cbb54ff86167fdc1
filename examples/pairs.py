"""What all examples begin with: small images, and the pairs of classes that a classifier confuses."""

from __future__ import annotations

import torch
from sklearn.datasets import load_digits
from sklearn.linear_model import LogisticRegression
from sklearn.model_selection import cross_val_predict
from torch import nn
from torch.utils.data import TensorDataset

import sit2


def digits(count: int = 600) -> tuple[TensorDataset, list[sit2.ClassPair]]:
    """Return handwritten digits (1, 8, 8) in [0, 1] with labels, and their confused pairs."""
    data = load_digits()
    images, labels = data.data[:count] / 16, data.target[:count]
    guesses = cross_val_predict(LogisticRegression(), images, labels, method="predict_proba", cv=3)
    pairs = [pair for pair in sit2.select_pairs(guesses, labels) if pair.chosen]
    pixels = torch.from_numpy(images).float().reshape(-1, 1, 8, 8)
    return TensorDataset(pixels, torch.from_numpy(labels)), pairs


def network() -> nn.Module:
    """Return a network of your own: (N, 1, 8, 8) → (N, 10)."""
    return nn.Sequential(
        *(nn.Conv2d(1, 16, 3, padding=1), nn.ReLU(), nn.Conv2d(16, 32, 3, stride=2, padding=1), nn.ReLU()),
        *(nn.Flatten(), nn.Linear(32 * 4 * 4, 10)),
    )


def accuracy(model: nn.Module, data: TensorDataset) -> float:
    """Return the fraction of images that a network classifies correctly."""
    images, labels = data.tensors
    with torch.inference_mode():
        return float((model.eval()(images).argmax(dim=1) == labels).float().mean())
