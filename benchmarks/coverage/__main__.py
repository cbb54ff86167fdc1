"""``python -m benchmarks.coverage``: do sets of possible classes hold the true one as often as is promised?

Many random splits of real sets; on each a linear classifier on frozen features is solved for, nothing is trained.
"""

from __future__ import annotations

import argparse
from pathlib import Path

import numpy as np
import pandas as pd
import torch
from threadpoolctl import threadpool_limits

from benchmarks.coverage.experiment import Pool, experiment, measure
from benchmarks.coverage.figures import draw
from benchmarks.datasets import BY_NAME, ImageSet
from sit2.config.schema import make_config
from sit2.data.pixels import load_pixels_for
from sit2.data.readers import read_dataset
from sit2.experiments.prepare import fitting, median_size
from sit2.storage.files import atomic
from sit2.training.start import frozen_extractor, start_of

HERE = Path(__file__).parent
SETS = ("pbc_blood", "knee_oa")


def main() -> None:
    parser = argparse.ArgumentParser(prog="python -m benchmarks.coverage", description=__doc__)
    parser.add_argument("--sets", default=",".join(SETS), help="two or more (default: %(default)s)")
    parser.add_argument("--splits", type=int, default=200, help="of each set (default: 200)")
    parser.add_argument("--features", type=Path, required=True, help="folder that keeps frozen features")
    options = parser.parse_args()
    torch.set_num_threads(1)
    with threadpool_limits(1):
        pools = {name: pool_of(BY_NAME[name], options.features) for name in options.sets.split(",")}
        tables = []
        for name, pool in pools.items():
            others = np.concatenate([one.features for other, one in pools.items() if other != name])
            tables.append(experiment(name, pool, others, splits=options.splits))
    splits = pd.concat(tables, ignore_index=True)
    for file, table in (("splits.csv", splits), ("summary.csv", measure(splits))):
        with atomic(HERE / "results" / file) as path:
            table.to_csv(path, index=False, float_format="%.5f", lineterminator="\n")
    draw(splits, HERE / "figures")
    print(measure(splits).to_string(index=False))


def pool_of(one: ImageSet, keep: Path) -> Pool:
    """Return a set's frozen features, labels and groups; features are made once."""
    dataset = read_dataset(one.path, groups=one.groups)
    path = keep / f"{one.name}.npy"
    if not path.exists():
        config = fitting(make_config({"augment": one.augment, "cache": "off"}), median_size(dataset))
        assert config.image_size is not None
        pixels = load_pixels_for(config, dataset)
        channels, size = pixels.images.shape[1], config.image_size
        start = start_of(config, channels=channels, image_size=size)
        extractor = frozen_extractor(config, start, channels=channels, image_size=size, device="cpu")
        assert extractor is not None
        assert not any(pixels.problems)
        features = extractor.extract(pixels.images, np.arange(len(dataset)))
        path.parent.mkdir(parents=True, exist_ok=True)
        with atomic(path) as temporary, temporary.open("wb") as file:
            np.save(file, features)
    return Pool(np.load(path), dataset.labels, dataset.groups, len(dataset.classes))


if __name__ == "__main__":
    main()
