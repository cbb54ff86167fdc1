"""fastai on the images, splits and weights of a suite: ``python -m benchmarks.peers --out peers.csv``.

fastai is no dependency of sit2: install it beside it (``pip install fastai``). A cell that the file has is not
trained again. One thread; ``seconds`` are CPU seconds of training and, where it is used, of fastai's search for a
rate.
"""

from __future__ import annotations

import argparse
import tempfile
import time
from pathlib import Path
from typing import Any

import numpy as np
import pandas as pd
import torch

from benchmarks.method import suite
from sit2.cli.progress import Screen
from sit2.cli.terminal import Terminal
from sit2.evaluation.metrics import MEASURED, compute_metrics
from sit2.experiments.grid import GridRun, Place
from sit2.inference.decisions import Answers
from sit2.storage.files import atomic
from sit2.training.efficientnet_lite import imagenet_weights, read_imagenet

EPOCHS, BATCH = 20, 32
METHODS = ("fastai", "fastai-lr-find")


def main() -> None:
    parser = argparse.ArgumentParser(prog="benchmarks.peers", description=__doc__)
    parser.add_argument("suite", nargs="?", default="imagenet", help="whose sets, labels and splits")
    parser.add_argument("--sets", nargs="*", help="only these")
    parser.add_argument("--out", type=Path, required=True, help="CSV file of the results")
    options = parser.parse_args()
    torch.set_num_threads(1)
    rows = pd.read_csv(options.out).to_dict("records") if options.out.exists() else []
    done = {(row["dataset"], row["method"], row["split"]) for row in rows}
    part = suite.read(options.suite, options.out.parent)[0]
    with tempfile.TemporaryDirectory() as place, Terminal(Screen(quiet=True)) as terminal:
        run = GridRun(part.grid, part.config, Path(place), Path(place), terminal)
        for places in run.rounds():
            for method in METHODS:
                for one in places:
                    chosen = not options.sets or one.name in options.sets
                    if chosen and (one.name, method, one.split) not in done:
                        rows.append(cell(one, method))
                        write(options.out, rows)


def cell(place: Place, method: str) -> dict[str, Any]:
    """Train as ``vision_learner(...).fine_tune(20)`` does, and return the row of results."""
    prepared, began = place.prepared, time.process_time()
    learner = learner_of(place)
    rate = {}
    if method == "fastai-lr-find":
        rate = {"base_lr": float(learner.lr_find(show_plot=False).valley)}
    learner.fine_tune(EPOCHS, **rate)
    seconds = time.process_time() - began
    test = prepared.rows("test")
    loader = learner.dls.test_dl(pixels(place, test))
    probabilities = learner.get_preds(dl=loader)[0].double().numpy()
    found = compute_metrics(prepared.predictions(test, Answers(probabilities)), ())
    row = {"dataset": place.name, "method": method, "split": place.split, "seed": place.config.seed}
    row |= {name: found[name] for name in MEASURED} | {"seconds": round(seconds, 1)}
    row |= {"lr": rate.get("base_lr"), "train_images": len(prepared.rows("train")), "test_images": len(test)}
    print(f"{place.name} {method}: {found['balanced_accuracy']:.3f}, {seconds:.0f} s", flush=True)
    return row


def pixels(place: Place, rows: Any) -> list[Any]:
    """Return images as fastai takes them: (height, width, 3) arrays of uint8."""
    store = place.prepared.store.images
    images = [np.moveaxis(store[n], 0, 2) for n in place.prepared.index[rows]]
    return [np.repeat(image, 3, axis=2) if image.shape[2] == 1 else image for image in images]


def learner_of(place: Place) -> Any:
    """Return fastai's learner: its own head and augmentation, the weights that sit2 starts from."""
    from fastai.vision.all import (
        CategoryBlock,
        DataBlock,
        ImageBlock,
        IndexSplitter,
        Normalize,
        PILImage,
        accuracy,
        aug_transforms,
        set_seed,
        vision_learner,
    )

    prepared, augment = place.prepared, place.config.augment
    train, val = prepared.rows("train"), prepared.rows("val")
    rows = np.concatenate([train, val])
    labels = prepared.dataset.labels[rows]
    set_seed(place.split * 1000 + place.config.seed, reproducible=True)
    images = pixels(place, rows)
    names = list(prepared.dataset.classes)
    block = DataBlock(
        blocks=(ImageBlock, CategoryBlock(vocab=names, sort=False)),
        get_x=lambda n: PILImage.create(images[n]) if isinstance(n, int) else PILImage.create(n),
        get_y=lambda n: names[labels[n]] if isinstance(n, int) else names[0],
        splitter=IndexSplitter(list(range(len(train), len(rows)))),
        batch_tfms=[
            *aug_transforms(do_flip=augment != "no-flip", flip_vert=augment == "dihedral"),
            Normalize.from_stats([0.5] * 3, [0.5] * 3),
        ],
    )
    loaders = block.dataloaders(list(range(len(rows))), bs=BATCH, num_workers=0, device="cpu")
    learner = vision_learner(
        loaders, "tf_efficientnet_lite0", pretrained=False, normalize=False, metrics=accuracy
    )
    state = dict(read_imagenet(imagenet_weights()))
    missing, unexpected = learner.model[0].model.load_state_dict(state, strict=False)
    if unexpected or not all("classifier" in name for name in missing):
        raise SystemExit(f"the weights do not fit: {missing}, {unexpected}")
    learner.freeze()
    learner.remove_cbs([cb for cb in learner.cbs if type(cb).__name__ in ("ProgressCallback",)])
    return learner


def write(path: Path, rows: list[dict[str, Any]]) -> None:
    with atomic(path) as temporary:
        pd.DataFrame(rows).to_csv(temporary, index=False, float_format="%.6f", lineterminator="\n")


if __name__ == "__main__":
    main()
