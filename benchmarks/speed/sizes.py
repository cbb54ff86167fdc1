"""Cost and memory against the number of images: linear and, mapped from a file, flat."""

from __future__ import annotations

import multiprocessing
import tempfile
from collections.abc import Iterator
from concurrent.futures import ProcessPoolExecutor
from pathlib import Path
from statistics import median

import numpy as np
import torch

from benchmarks.speed.machine import train_steps
from benchmarks.speed.timing import Ratio

COUNTS = (1_000, 10_000, 100_000)  # images of 32 px; the first is what the others are set against
SIDE = 32


def ratios(rounds: int) -> Iterator[Ratio]:
    """Measure 60 steps on each number of images, in memory and mapped; each in a process of its own."""
    if torch.cuda.is_available():
        return
    with tempfile.TemporaryDirectory() as folder:
        paths = {count: _write(Path(folder) / f"{count}.npy", count) for count in COUNTS}
        for mapped in (False, True):
            found = {count: [_alone(path, mapped) for _ in range(rounds)] for count, path in paths.items()}
            where = "mapped from a file" if mapped else "in memory"
            for count in COUNTS[1:]:
                speed = [few[0] / many[0] for few, many in zip(found[COUNTS[0]], found[count], strict=True)]
                yield Ratio(
                    "speed_by_size",
                    median(speed),
                    min(speed),
                    max(speed),
                    rounds,
                    f"images/s with {count:,} images of {SIDE} px {where}, over {COUNTS[0]:,} images",
                )
            pixels = COUNTS[-1] * SIDE * SIDE * 3
            grown = [(m[1] - f[1]) / pixels for f, m in zip(found[COUNTS[0]], found[COUNTS[-1]], strict=True)]
            yield Ratio(
                "memory_by_size",
                median(grown),
                min(grown),
                max(grown),
                rounds,
                f"memory of a training on {COUNTS[-1]:,} images {where} beyond that on {COUNTS[0]:,}, over "
                f"the bytes of the pixels ({pixels / 1e6:.0f} MB)",
            )


def _write(path: Path, count: int) -> Path:
    pixels = np.random.default_rng(count).integers(0, 256, (count, SIDE, SIDE, 3), dtype=np.uint8)
    np.save(path, pixels)
    return path


def _alone(path: Path, mapped: bool) -> tuple[float, int]:
    with ProcessPoolExecutor(1, mp_context=multiprocessing.get_context("spawn")) as pool:
        return pool.submit(_train_on, path, mapped).result()


def _train_on(path: Path, mapped: bool) -> tuple[float, int]:
    """Return the CPU seconds of the steps, and the bytes of memory that belong to no file."""
    torch.set_num_threads(1)
    pixels = np.load(path, mmap_mode="r" if mapped else None)
    seconds = train_steps(pixels.transpose(0, 3, 1, 2))
    lines = Path("/proc/self/status").read_text(encoding="ascii").splitlines()
    kilobytes = next(int(line.split()[1]) for line in lines if line.startswith("RssAnon:"))
    return seconds, kilobytes * 1024
