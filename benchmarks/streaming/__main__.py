"""``python -m benchmarks.streaming``: `sit2 predict` on many small JPEG files: seconds and peak memory.

Each number of images is predicted by a process of its own, 1,000 first, so that what memory grows by is seen. The
model is a small one that is trained first, or the one of ``--model``: a run, or a file of `sit2 export`.
"""

from __future__ import annotations

import argparse
import os
import subprocess
import sys
import tempfile
import time
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path

import numpy as np
from PIL import Image

SIDE, FOLDER = 32, 10_000  # pixels; files in one folder, at most
FEW = 1000
TRAIN = (
    "--method",
    "plain",
    "--backbone",
    "small-cnn",
    "--epochs",
    "1",
    "--image-size",
    str(SIDE),
    "--quiet",
)
COMMAND = """
import resource, sys
from sit2.cli import main
code = main(sys.argv[1:])
print(resource.getrusage(resource.RUSAGE_SELF).ru_maxrss / 1024)
sys.exit(code)
"""


def main() -> None:
    parser = argparse.ArgumentParser(prog="python -m benchmarks.streaming", description=__doc__)
    parser.add_argument("--count", type=int, default=100_000, help="images (default: %(default)s)")
    parser.add_argument("--model", type=Path, help="a run, or an exported model")
    options = parser.parse_args()
    with tempfile.TemporaryDirectory(prefix="sit2-streaming-") as folder:
        place = Path(folder)
        model = options.model or trained(place)
        for count in sorted({min(FEW, options.count), options.count}):
            data = write(place / f"images-{count}", count)
            began = time.monotonic()
            memory = sit2("predict", data, "--model", model, "-o", place / f"out-{count}", "--quiet")
            seconds = time.monotonic() - began
            with (place / f"out-{count}" / "predictions.csv").open(encoding="utf-8") as file:
                rows = sum(1 for _ in file) - 1
            assert rows == count
            print(
                f"{count:,} images: {seconds:.1f} s, {count / seconds:,.0f} images/s, {memory:,.0f} MB at most",
                flush=True,
            )


def trained(place: Path) -> Path:
    """Train a small network on some of the images, in two classes by brightness."""
    for n in range(60):
        path = place / "train" / ("dark" if n % 2 else "light") / f"{n}.jpg"
        path.parent.mkdir(parents=True, exist_ok=True)
        Image.fromarray(np.uint8(picture(n) * (0.5 if n % 2 else 1))).save(path)
    sit2("train", place / "train", "-o", place / "run", *TRAIN)
    return place / "run"


def sit2(*words: object) -> float:
    """Run the command in a process of its own; return the most memory that it held, in MB."""
    environment = {**os.environ, "SIT2_CACHE": "off"}
    given = [sys.executable, "-c", COMMAND, *map(str, words)]
    done = subprocess.run(given, env=environment, stdout=subprocess.PIPE, text=True, check=True)
    return float(done.stdout.split()[-1])


def picture(n: int) -> np.ndarray:
    """Return the n-th picture, another for every n: (SIDE, SIDE, 3) uint8."""
    return np.random.default_rng(n).integers(0, 256, (SIDE, SIDE, 3), dtype=np.uint8)


def write(root: Path, count: int) -> Path:
    """Write small JPEG files."""

    def one(n: int) -> None:
        Image.fromarray(picture(n)).save(root / f"{n // FOLDER:03}" / f"{n:07}.jpg", quality=85)

    for n in range(0, count, FOLDER):
        (root / f"{n // FOLDER:03}").mkdir(parents=True)
    with ThreadPoolExecutor(4) as pool:
        list(pool.map(one, range(count), chunksize=256))
    return root


if __name__ == "__main__":
    main()
