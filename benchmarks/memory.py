"""Peak memory of train, predict and compare where the pixels do not fit into memory and are mapped from disk.

``python -m benchmarks.memory`` writes small image files, runs each command in a process of its own in which
no array of pixels "fits", and prints a line each: the size of the decoded pixels, and the most anonymous memory
(what is not a mapped file) that the process and its children held beyond what they hold for 1,000 images.
"""

from __future__ import annotations

import argparse
import os
import subprocess
import sys
import tempfile
import threading
import time
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path

import numpy as np
from PIL import Image

SIZE = 64  # pixels a side that images are decoded to
CLASSES = 5
VERBS = ("train", "predict", "compare")  # predict needs the model that train leaves
COMMAND = """
import sys
import sit2.data.pixels
sit2.data.pixels.fits = lambda size: False
from sit2.cli import main
sys.exit(main(sys.argv[1:]))
"""
SETTINGS = (
    "--backbone",
    "small-cnn",
    "--samples-seen",
    "2000",
    "--image-size",
    str(SIZE),
    "--quiet",
)


def main() -> None:
    parser = argparse.ArgumentParser(prog="python -m benchmarks.memory", description=__doc__)
    parser.add_argument("verbs", nargs="*", default=VERBS, metavar="VERB", help=", ".join(VERBS))
    parser.add_argument("--images", type=int, default=100_000)
    options = parser.parse_args()
    with tempfile.TemporaryDirectory(prefix="sit2-memory-") as folder:
        place = Path(folder)
        many, few = write(place / "many", options.images), write(place / "few", 1000)
        pixels = options.images * SIZE * SIZE * 3 / 1e6
        print(
            f"{options.images:,} images of {SIZE} × {SIZE} × 3: {pixels:,.0f} MB of pixels, mapped from disk",
            flush=True,
        )
        for verb in options.verbs:
            base, large = (peak(verb, data, place) for data in (few, many))
            print(
                f"{verb}: {large:,.0f} MB anonymous at most, {base:,.0f} MB for 1,000 images, "
                f"{large - base:,.0f} MB more",
                flush=True,
            )


def peak(verb: str, data: Path, place: Path) -> float:
    """Run a verb on a folder of images; return the most anonymous memory of it and its children, in MB."""
    out = str(place / f"{data.name}-{verb}")
    words = {
        "train": ["train", str(data), "-o", out, "--method", "plain", *SETTINGS],
        "predict": ["predict", str(data), "--model", str(place / f"{data.name}-train"), "-o", out, "--quiet"],
        "compare": ["compare", str(data), "-o", out, "--methods", "plain", "--splits", "2", *SETTINGS],
    }[verb]
    environment = {
        **os.environ,
        "SIT2_CACHE": str(place / "cache"),
        "OMP_NUM_THREADS": "1",
        "TMPDIR": str(place),
    }
    process = subprocess.Popen([sys.executable, "-c", COMMAND, *words], env=environment)
    most, done = [0.0], threading.Event()

    def watch() -> None:
        while not done.wait(0.1):
            most[0] = max(most[0], sum(anonymous(pid) for pid in family(process.pid)))

    watcher = threading.Thread(target=watch)
    watcher.start()
    code = process.wait()
    done.set()
    watcher.join()
    if code:
        raise SystemExit(f"{verb} ended with {code}")
    return most[0]


def family(pid: int) -> list[int]:
    """Return a process and all that it has started."""
    found, todo = [], [pid]
    while todo:
        one = todo.pop()
        found.append(one)
        for task in Path(f"/proc/{one}/task").glob("*/children"):
            try:
                todo += [int(child) for child in task.read_text().split()]
            except OSError:
                continue
    return found


def anonymous(pid: int) -> float:
    """Return a process's anonymous resident memory in MB; 0 where it is gone."""
    try:
        lines = Path(f"/proc/{pid}/status").read_text().splitlines()
    except OSError:
        return 0.0
    return next((int(line.split()[1]) / 1024 for line in lines if line.startswith("RssAnon")), 0.0)


def write(root: Path, count: int) -> Path:
    """Write small PNG files of noise, each class a little brighter than the one before."""
    for k in range(CLASSES):
        (root / f"class {k}").mkdir(parents=True)

    def one(n: int) -> None:
        k = n % CLASSES
        pixels = np.random.default_rng(n).integers(0, 100, (12, 12, 3)) + 30 * k
        Image.fromarray(pixels.astype(np.uint8)).save(root / f"class {k}" / f"{n:07}.png", compress_level=0)

    began = time.monotonic()
    with ThreadPoolExecutor(4) as pool:
        list(pool.map(one, range(count), chunksize=256))
    print(f"{count:,} files written in {time.monotonic() - began:.0f} s", file=sys.stderr, flush=True)
    return root


if __name__ == "__main__":
    main()
