"""Image files in: decoding against Pillow, and the loop against what people usually write."""

from __future__ import annotations

import tempfile
from collections.abc import Iterator
from dataclasses import replace
from pathlib import Path

import numpy as np
import torch
from PIL import Image
from torch.utils.data import DataLoader, default_collate
from torchvision.datasets import ImageFolder
from torchvision.transforms import v2

from benchmarks.speed.timing import Ratio, Work, measure
from benchmarks.speed.training import CASES, CLASSES, Case, _loop, _noise
from sit2.data.decoding.decode import decode
from sit2.data.decoding.image import Decoding
from sit2.training.backbones import build_network


def ratios(rounds: int) -> Iterator[Ratio]:
    """Measure decoding at two sizes, then the loop at two sizes."""
    with tempfile.TemporaryDirectory() as folder:
        for height, width, size, count in ((96, 96, 48, 400), (450, 600, 64, 60)):
            paths = _pictures(Path(folder) / f"{width}", height, width, count)
            yield measure(
                "decode",
                f"JPEG files {width} × {height} → {size} px: images/s of ours over Pillow's",
                lambda: [_by_pillow(path, size) for path in paths],  # noqa: B023 - it runs before the next turn
                lambda: [decode(path, Decoding(size=size, channels=3, resize="stretch")) for path in paths],  # noqa: B023
                rounds=rounds,
            )
    for case in CASES:
        with tempfile.TemporaryDirectory() as folder:
            config, training_set = _noise(case)
            config = replace(config, epochs=case.steps * config.step_size / len(training_set))
            _pictures(Path(folder), case.size, case.size, len(training_set))
            ours = config.make_method("mixup").phases([], CLASSES)[0]
            yield measure(
                "versus_conventional",
                f"{case.title}: images/s of our loop with mixup over ImageFolder, v2 transforms, DataLoader "
                "and v2 MixUp or CutMix (no workers: the clock is one process's), each with its defaults",
                _conventional(case, Path(folder)),
                _loop(case, config, training_set, ours),
                rounds=rounds,
            )


def _pictures(folder: Path, height: int, width: int, count: int) -> list[Path]:
    """Write JPEG files of smooth noise, which compress about as photographs do."""
    draw, paths = np.random.default_rng(0), []
    for n in range(count):
        path = folder / str(n % CLASSES) / f"{n}.jpg"
        path.parent.mkdir(parents=True, exist_ok=True)
        noise = draw.integers(0, 256, (height // 8 + 1, width // 8 + 1, 3), dtype=np.uint8)
        Image.fromarray(noise).resize((width, height), Image.Resampling.BICUBIC).save(path, quality=90)
        paths.append(path)
    return paths


def _by_pillow(path: Path, size: int) -> np.ndarray:
    with Image.open(path) as image:
        small = image.convert("RGB").resize((size, size), Image.Resampling.BILINEAR)
    return np.asarray(small).transpose(2, 0, 1)


def _conventional(case: Case, folder: Path) -> Work:
    """Return the same number of steps as tutorials write them: float32, default memory format."""
    transforms = v2.Compose(
        [
            v2.PILToTensor(),
            v2.Resize((case.size, case.size)),
            v2.RandomCrop(case.size, padding=case.size // 10, padding_mode="reflect"),
            v2.RandomHorizontalFlip(),
            v2.RandomRotation(8),
            v2.ColorJitter(0.15, 0.15),
            v2.ToDtype(torch.float32, scale=True),
            v2.Normalize([0.5] * 3, [0.25] * 3),
        ]
    )
    mixing = v2.RandomChoice([v2.MixUp(num_classes=CLASSES), v2.CutMix(num_classes=CLASSES)])
    loader = DataLoader(
        ImageFolder(folder, transforms),
        batch_size=64,
        shuffle=True,
        drop_last=True,
        collate_fn=lambda batch: mixing(*default_collate(batch)),
    )

    def work() -> None:
        network = build_network(case.backbone, channels=3, image_size=case.size, outputs=CLASSES, seed=0)
        network = network.to(memory_format=torch.contiguous_format).train()
        optimizer = torch.optim.AdamW(network.parameters(), 0.002)
        done = 0
        while done < case.steps:
            for images, targets in loader:
                optimizer.zero_grad()
                torch.nn.functional.cross_entropy(network(images), targets).backward()
                optimizer.step()
                done += 1
                if done == case.steps:
                    break

    return work
