"""Makes tiny folders of images: coloured, textured shapes of which two classes look nearly alike.

And one finished run on them, for the tests that only look at what a run leaves behind.
"""

from __future__ import annotations

import atexit
import csv
import functools
import shutil
import tempfile
from collections.abc import Sequence
from pathlib import Path
from typing import NamedTuple

import numpy as np
from numpy.typing import NDArray
from PIL import Image

from sit2.cli.command import main

CLASSES = ("cross", "disc", "oval")  # disc and oval are the look-alikes
SIDE = 16  # pixels


def shape(name: str, draw: np.random.Generator, *, side: int = SIDE) -> NDArray[np.uint8]:
    """Return one image (side, side, 3): a shape of its class at its own place, in its own colours."""
    y, x = np.mgrid[:side, :side] + 0.5
    cy, cx = side / 2 + draw.uniform(-1.5, 1.5, 2)
    radius = side * draw.uniform(0.25, 0.35)
    if name == "cross":
        inside = (abs(y - cy) < side / 8) | (abs(x - cx) < side / 8)
    else:
        stretch = 1.0 if name == "disc" else 1.25
        inside = ((y - cy) * stretch) ** 2 + ((x - cx) / stretch) ** 2 < radius**2
    ground, colour = draw.uniform(0, 110, 3), draw.uniform(130, 250, 3)
    pixels = np.where(inside[:, :, None], colour, ground) + draw.normal(0, 12, (side, side, 3))
    return pixels.clip(0, 255).round().astype(np.uint8)


def arrays(
    per_class: int = 12, *, classes: tuple[str, ...] = CLASSES, seed: int = 0
) -> tuple[NDArray[np.uint8], NDArray[np.str_]]:
    """Return images (N, 16, 16, 3) and their labels (N,), the classes in turn."""
    draw = np.random.default_rng(seed)
    labels = np.array([name for _ in range(per_class) for name in classes])
    return np.stack([shape(name, draw) for name in labels]), labels


def write_folder(
    root: Path, per_class: int = 12, *, classes: tuple[str, ...] = CLASSES, seed: int = 0
) -> Path:
    """Write root/<class>/<class>_00.png …; return root."""
    images, labels = arrays(per_class, classes=classes, seed=seed)
    for n, (pixels, name) in enumerate(zip(images, labels, strict=True)):
        save(root / name / f"{name}_{n // len(classes):02d}.png", pixels)
    return root


def write_manifest(root: Path, *, per_class: int = 12, val: int = 2, test: int = 3, seed: int = 0) -> Path:
    """Write a folder of images and root/manifest.csv with given splits: the first of each class train."""
    write_folder(root, per_class, seed=seed)
    lines = ["path,label,split"]
    for name in CLASSES:
        for n in range(per_class):
            held = per_class - 1 - n
            split = "test" if held < test else "val" if held < test + val else "train"
            lines.append(f"{name}/{name}_{n:02d}.png,{name},{split}")
    manifest = root / "manifest.csv"
    manifest.write_text("\n".join(lines) + "\n")
    return manifest


def save(path: Path, pixels: NDArray[np.uint8]) -> Path:
    """Write an image file; return its path."""
    path.parent.mkdir(parents=True, exist_ok=True)
    Image.fromarray(pixels).save(path)
    return path


SETTINGS = {
    "method": "multi-label",
    "image_size": SIDE,
    "backbone": "small-cnn",
    "confusion": "folds",
    "epochs": 4,
    "folds": 2,
    "batch_size": 8,
    "workers": 1,
}
TINY = tuple(word for name, value in SETTINGS.items() for word in (f"--{name.replace('_', '-')}", str(value)))
MEASURED = TINY[2:]  # of verbs that take no method


class Finished(NamedTuple):
    """A folder of images and a finished `sit2 train` on it. Not to be written to."""

    data: Path
    run: Path


@functools.cache
def finished() -> Finished:
    """Train once for all tests of this process that only look at what a run leaves behind."""
    place = Path(tempfile.mkdtemp(prefix="sit2-tests-"))
    atexit.register(shutil.rmtree, place, ignore_errors=True)
    data, run = write_folder(place / "shapes"), place / "run"
    assert command(("train", data, "-o", run, *TINY, "--quiet")) == 0
    return Finished(data, run)


def command(words: Sequence[object]) -> int:
    """Run the command in this process; return its exit code."""
    return main([str(word) for word in words])


def contents(folder: Path, *patterns: str) -> dict[str, bytes]:
    """Return the bytes of the files that match, by their place in the folder; each pattern must match.

    Where ``history.csv`` is asked for by name, it is without its seconds.
    """
    found = {pattern: sorted(folder.glob(pattern)) for pattern in patterns}
    assert all(found.values()), f"{folder} lacks {[p for p, files in found.items() if not files]}"
    files = [file for matches in found.values() for file in matches if file.is_file()]
    read = {file.relative_to(folder).as_posix(): file.read_bytes() for file in files}
    return read | {HISTORY: _without_seconds(folder / HISTORY)} if HISTORY in patterns else read


def _without_seconds(path: Path) -> bytes:
    with path.open(encoding="utf-8", newline="") as file:
        rows = [{k: v for k, v in row.items() if k != "seconds"} for row in csv.DictReader(file)]
    return repr(rows).encode()


HISTORY = "history.csv"
RESULTS = (
    "predictions/*.csv",
    "confusion/*.csv",
    "model/**/*.safetensors",
    "model/**/*.json",
    HISTORY,
    "metrics.json",
    "comparison.json",
)  # what one seed must give to the byte


def listing(folder: Path) -> list[str]:
    """Return every file and folder below a folder, as paths relative to it."""
    return sorted(path.relative_to(folder).as_posix() for path in folder.rglob("*"))
