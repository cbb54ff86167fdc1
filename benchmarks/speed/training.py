"""The loop against the network's own arithmetic, and not-sure images against plain ones."""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import dataclass

import numpy as np
import torch

from benchmarks.speed.timing import Ratio, Work, measure
from sit2.config.schema import Config
from sit2.confusion.pairs import all_pairs
from sit2.methods.method import train_plainly
from sit2.seeds import Seeds
from sit2.training.augmentations import PRESETS
from sit2.training.backbones import build_network
from sit2.training.device import make_fabric
from sit2.training.loop import Training, _make_optimizer
from sit2.training.phase import Phase
from sit2.training.training_set import Normalisation, TrainingSet

CLASSES = 10
BATCH = 64


@dataclass(frozen=True)
class Case:
    """A network at a size, and how many steps make a round of some seconds."""

    backbone: str
    size: int
    steps: int

    @property
    def title(self) -> str:
        return f"{self.backbone}, {self.size} px"


CASES = (Case("small-cnn", 32, 60), Case("resnet18", 64, 12))


def ratios(rounds: int) -> Iterator[Ratio]:
    """Measure every case."""
    for case in CASES:
        config, training_set = _noise(case)
        plain = train_plainly(CLASSES)
        yield measure(
            "loop_vs_limit",
            f"{case.title}: images/s of the loop over the same steps on pre-made tensors",
            _premade(case, config, training_set),
            _loop(case, config, training_set, plain),
            rounds=rounds,
        )
        pairs = all_pairs([str(k) for k in range(CLASSES)])
        mixing = config.make_method("multi-label").phases(pairs, CLASSES)[0]
        yield measure(
            "mix_cost",
            f"{case.title}: time of multi-label's pretraining pass over a plain pass",
            _loop(case, config, training_set, mixing),
            _loop(case, config, training_set, plain),
            rounds=rounds,
        )


def _noise(case: Case) -> tuple[Config, TrainingSet]:
    draw = np.random.default_rng(0)
    images = draw.integers(0, 256, (1000, 3, case.size, case.size), dtype=np.uint8)
    labels = np.arange(1000) % CLASSES
    epochs = case.steps * BATCH / len(labels)
    config = Config(
        backbone=case.backbone, image_size=case.size, epochs=epochs, batch_size=BATCH, pretrained=False
    )
    training_set = TrainingSet.of(
        images,
        labels,
        CLASSES,
        normalise=Normalisation.of(images),
        augment=PRESETS[config.augment],
        seeds=Seeds(0),
        device=make_fabric(config.device, config.precision).device,
    )
    return config, training_set


def _loop(case: Case, config: Config, training_set: TrainingSet, phase: Phase) -> Work:
    """Return the real loop over one phase."""

    def work() -> None:
        network = build_network(case.backbone, channels=3, image_size=case.size, outputs=CLASSES, seed=0)
        fabric = make_fabric(config.device, config.precision)
        Training("speed", phase.name, network, training_set, [phase], config, Seeds(0), fabric).run()

    return work


def _premade(case: Case, config: Config, training_set: TrainingSet) -> Work:
    """Return the same number of steps of the same network on tensors that lie ready."""
    phase = train_plainly(CLASSES)
    mixed = phase.batches.draw(training_set, 0, config.step_size)
    targets = phase.targets(mixed, CLASSES)
    images = mixed.images.contiguous(memory_format=torch.channels_last)

    def work() -> None:
        network = build_network(case.backbone, channels=3, image_size=case.size, outputs=CLASSES, seed=0)
        fabric = make_fabric(config.device, config.precision)
        model, optimizer = fabric.setup(network.train(), _make_optimizer(network, config, encoder_lr=1.0))
        for _ in range(case.steps):
            fabric.backward(phase.loss(model(images), targets, None))
            optimizer.step()
            optimizer.zero_grad()

    return work
