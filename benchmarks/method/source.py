"""The backbone that a suite of transfer starts from: trained here on large sets, as a download would be."""

from __future__ import annotations

import hashlib
import json
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any

import numpy as np

import sit2
from benchmarks.datasets import BY_NAME
from sit2.cli.progress import Screen
from sit2.cli.terminal import Terminal
from sit2.config.schema import Config, make_config
from sit2.data.pixels import load_pixels_for
from sit2.data.readers import read_dataset
from sit2.data.readers.arrays import from_arrays
from sit2.records import Dataset


def train_source(names: Sequence[str], settings: Mapping[str, Any], out: Path) -> Path:
    """Train on all images of several sets at once, unless that was done; return its folder in ``out``."""
    given = {"method": "plain", "control": "none", "channels": "3", **settings}
    digest = hashlib.sha256(json.dumps([*names, given], sort_keys=True).encode())
    folder = out / f"source-{digest.hexdigest()[:16]}"
    if not (folder / "model").exists():
        dataset = together(names, make_config(given))
        with Terminal(Screen()) as terminal:
            begun = (folder / "run.json").exists()
            sit2.train(dataset, out=folder, resume=begun, listener=terminal, **given)
    return folder


def together(names: Sequence[str], config: Config) -> Dataset:
    """Return several sets as one, with the classes of all."""
    images, labels, groups = [], [], []
    for name in names:
        one = BY_NAME[name]
        dataset = read_dataset(one.path, groups=one.groups)
        images.append(load_pixels_for(config, dataset).images.transpose(0, 2, 3, 1))
        labels += [f"{name}: {dataset.classes[label]}" for label in dataset.labels]
        groups += [f"{name}: {group}" for group in dataset.groups or dataset.ids]
    return from_arrays(np.concatenate(images), labels, "+".join(names), groups=groups)
