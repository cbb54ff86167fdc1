"""``python -m benchmarks.runtime RUN FILE``: an exported model against the run that it is of, in one go.

Prints three lines: the processor's seconds from nothing to the first answer, in processes of their own; images a
second of the exported model over those of the run, on one thread each, decoding included; and how equal they are.
"""

from __future__ import annotations

import argparse
import statistics
import subprocess
import sys
import tempfile
from collections.abc import Callable
from pathlib import Path
from unittest import mock

import numpy as np
import torch
from PIL import Image

from benchmarks.speed.timing import measure

COLD = """
import sys, time
{load}
model.predict([sys.argv[2]])
print(time.process_time())
"""
LOADS = {
    "exported": "import sit2.runtime; model = sit2.runtime.load(sys.argv[1])",
    "run": "import sit2; model = sit2.load(sys.argv[1])",
}


def main() -> None:
    parser = argparse.ArgumentParser(prog="python -m benchmarks.runtime", description=__doc__)
    parser.add_argument("run", type=Path, help="a run folder")
    parser.add_argument("file", type=Path, help="what `sit2 export` wrote of it")
    parser.add_argument("--images", type=int, default=128)
    parser.add_argument("--rounds", type=int, default=5)
    options = parser.parse_args()
    torch.set_num_threads(1)
    with tempfile.TemporaryDirectory() as folder:
        paths = write(Path(folder), options.images)
        for name, source in (("exported", options.file), ("run", options.run)):
            seconds = [cold(name, source, paths[0]) for _ in range(options.rounds)]
            print(f"{name}: {statistics.median(seconds):.2f} s of CPU to the first answer", flush=True)
        both(options.file, options.run, paths, options.rounds)


def cold(name: str, source: Path, image: Path) -> float:
    """Return the processor's seconds of a process that loads a model and predicts one image."""
    code = COLD.format(load=LOADS[name])
    done = subprocess.run(
        [sys.executable, "-c", code, str(source), str(image)], capture_output=True, text=True, check=True
    )
    return float(done.stdout)


def both(file: Path, run: Path, paths: list[Path], rounds: int) -> None:
    """Print how quick an exported model is, and how equal."""
    import onnxruntime

    import sit2
    from sit2.inference.onnx_file import OnnxModel, load

    exported, own = load(file), sit2.load(run)
    alone = onnxruntime.SessionOptions()
    alone.intra_op_num_threads = 1
    session = onnxruntime.InferenceSession(str(file), alone, providers=["CPUExecutionProvider"])
    single = OnnxModel(exported.spec, exported.promise, session)
    found = measure(
        "exported",
        "images a second of the exported model over the run's",
        lambda: own.predict_proba(paths),
        lambda: without_torch(lambda: single.predict_proba(paths)),
        rounds=rounds,
    )
    print(f"{found.what}: {found.ratio:.2f} ({found.low:.2f} to {found.high:.2f})")
    gap = np.abs(exported.predict_proba(paths) - own.predict_proba(paths)).max()
    same = [
        a.decision == b.decision for a, b in zip(exported.predict(paths), own.predict(paths), strict=True)
    ]
    print(f"{len(paths)} images: probabilities differ by {gap:.1e} at most, {sum(same)} decisions are equal")


def without_torch(work: Callable[[], object]) -> object:
    """Do something as where there is no torch: images are scaled by NumPy then."""
    with mock.patch.dict(sys.modules, {"torch": None}):
        return work()


def write(folder: Path, count: int) -> list[Path]:
    """Write JPEG files of smooth noise, of sizes from 40 to 400 pixels."""
    draw, paths = np.random.default_rng(0), []
    for n in range(count):
        noise = draw.integers(0, 256, (12, 12, 3), dtype=np.uint8)
        path = folder / f"{n:04}.jpg"
        size = draw.integers(40, 400, 2).tolist()
        Image.fromarray(noise).resize(size, Image.Resampling.BICUBIC).save(path, quality=90)
        paths.append(path)
    return paths


if __name__ == "__main__":
    main()
