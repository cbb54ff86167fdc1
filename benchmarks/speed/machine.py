"""Memory and processes: pixels mapped from a file under a memory limit, and two trainings at once."""

from __future__ import annotations

import multiprocessing
import tempfile
import time
from collections.abc import Iterator
from concurrent.futures import ProcessPoolExecutor
from pathlib import Path
from statistics import median

import numpy as np
import torch

from benchmarks.speed.timing import Ratio
from sit2.config.schema import Config
from sit2.methods.method import train_plainly
from sit2.seeds import Seeds
from sit2.training.augmentations import PRESETS
from sit2.training.backbones import build_network
from sit2.training.device import make_fabric
from sit2.training.loop import Training
from sit2.training.training_set import Normalisation, TrainingSet

STEPS = 60
MAPPED = (200_000, 32)  # images, pixels a side: 614 MB
LIMIT = 400_000_000  # bytes of data that the mapped run may take beyond what it has at its start


def ratios(rounds: int) -> Iterator[Ratio]:
    """Measure both; every training runs in a process of its own."""
    if torch.cuda.is_available():
        return
    with tempfile.TemporaryDirectory() as folder:
        path = Path(folder) / "pixels.npy"
        count, size = MAPPED
        pixels = np.lib.format.open_memmap(path, mode="w+", dtype=np.uint8, shape=(count, size, size, 3))
        for n in range(0, count, 10_000):
            pixels[n : n + 10_000] = np.random.default_rng(n).integers(0, 256, (10_000, size, size, 3))
        pixels.flush()
        del pixels
        found = []
        for _ in range(rounds):
            mapped, resident = (_alone(path, limit) for limit in (LIMIT, 0))
            found.append(resident / mapped)
        yield Ratio(
            "memmap_vs_resident",
            median(found),
            min(found),
            max(found),
            rounds,
            f"{count:,} images of {size} px, {count * size * size * 3 / 1e6:.0f} MB: images/s mapped from a "
            f"file, data segment limited to {LIMIT / 1e6:.0f} MB more, over resident",
        )
    context = multiprocessing.get_context("spawn")
    found = []
    with ProcessPoolExecutor(2, mp_context=context) as pool:
        list(pool.map(_wall, [1, 1]))  # both have imported everything
        for _ in range(rounds):
            began = time.perf_counter()
            list(pool.map(_wall, [1, 1]))
            two = time.perf_counter() - began
            began = time.perf_counter()
            pool.submit(_wall, 2).result()
            found.append(2 * (time.perf_counter() - began) / two)
    yield Ratio(
        "two_processes",
        median(found),
        min(found),
        max(found),
        rounds,
        "small-cnn, 32 px, wall time: images/s of two single-threaded trainings over one with two threads",
    )


def _alone(path: Path, limit: int) -> float:
    with ProcessPoolExecutor(1, mp_context=multiprocessing.get_context("spawn")) as pool:
        return pool.submit(_train_on, path, limit).result()


def _train_on(path: Path, limit: int) -> float:
    """Return the CPU seconds of the steps."""
    torch.set_num_threads(1)
    if limit:
        import resource

        pages = int(Path("/proc/self/statm").read_text(encoding="ascii").split()[5])
        most = pages * resource.getpagesize() + limit
        resource.setrlimit(resource.RLIMIT_DATA, (most, most))
    pixels = np.load(path, mmap_mode="r" if limit else None)
    return train_steps(pixels.transpose(0, 3, 1, 2))


def _wall(threads: int) -> None:
    torch.set_num_threads(threads)
    train_steps(
        np.random.default_rng(0).integers(0, 256, (1000, 32, 32, 3), dtype=np.uint8).transpose(0, 3, 1, 2)
    )


def train_steps(images: np.ndarray) -> float:
    """Train a small-cnn for some steps on (N, 3, H, W) uint8 images; return the CPU seconds."""
    config = Config(backbone="small-cnn", image_size=images.shape[-1], epochs=STEPS * 64 / len(images))
    training_set = TrainingSet.of(
        images,
        np.arange(len(images)) % 10,
        10,
        normalise=Normalisation((0.5,) * 3, (0.25,) * 3),
        augment=PRESETS[config.augment],
        seeds=Seeds(0),
    )
    network = build_network("small-cnn", channels=3, image_size=config.image_size, outputs=10, seed=0)
    fabric = make_fabric("cpu", config.precision)
    began = time.process_time()
    Training("speed", "plain", network, training_set, [train_plainly(10)], config, Seeds(0), fabric).run()
    return time.process_time() - began
