"""The real image sets, where SIT2_DATASETS names their folder."""

from __future__ import annotations

from collections import Counter

import numpy as np
import pytest

from sit2.data.duplicates import name_duplicates
from sit2.data.pixels import load_pixels
from sit2.data.quality import check
from sit2.data.readers import read_dataset
from sit2.data.splits import folds, make_splits
from sit2.seeds import Seeds

SETS = {  # classes, images, given splits, grouped
    "pbc_blood": (8, 3200, "", False),
    "ham10000": (7, 2661, "", True),
    "chula_rbc12": (12, 5134, "", True),
    "knee_oa": (5, 3051, "train val test", True),
    "busi": (3, 780, "", False),
    "clothing": (10, 2963, "train val test", False),
    "trashnet": (6, 2527, "", False),
    "cifar10": (10, 7000, "train test", False),
    "gtsrb12": (12, 4980, "train test", True),
    "magnetic_tile": (6, 1344, "", True),
    "plankton": (109, 10147, "", False),
    "grocery81": (81, 5421, "train val test", False),
}
GRAY = {"knee_oa", "magnetic_tile", "plankton"}

pytestmark = pytest.mark.realdata


@pytest.mark.parametrize("name", SETS)
def test_manifest(datasets_root, name):
    dataset = read_dataset(datasets_root / name)
    classes, images, splits, grouped = SETS[name]
    assert (dataset.name, len(dataset.classes), len(dataset)) == (name, classes, images)
    assert set(dataset.splits) == set(splits.split())
    assert bool(dataset.groups) == grouped
    assert dataset.notes == ()


@pytest.mark.parametrize("name", SETS)
def test_splits_and_folds(datasets_root, name):
    dataset = read_dataset(datasets_root / name)
    splits = make_splits(dataset, val_fraction=0.16, test_fraction=0.2, seeds=Seeds(0))
    assert set(splits) == {"train", "val", "test"}
    rows = np.flatnonzero(splits == "train")
    train = dataset.take(rows)
    assert set(train.labels.tolist()) == set(range(len(dataset.classes)))
    assert len(folds(train.labels, train.groups, 5, Seeds(0))) == 5
    if dataset.groups and not dataset.splits:
        pairs = set(zip(dataset.groups, splits.tolist(), strict=True))
        assert max(Counter(group for group, _ in pairs).values()) == 1


@pytest.mark.parametrize("name", ["busi", "trashnet", "magnetic_tile"])
def test_folders_hold_what_the_manifest_lists(datasets_root, name):
    manifest, folder = read_dataset(datasets_root / name), read_dataset(datasets_root / name / "images")
    assert folder.classes == manifest.classes
    listed = {i.removeprefix("images/"): k for i, k in zip(manifest.ids, manifest.labels, strict=True)}
    assert dict(zip(folder.ids, folder.labels, strict=True)) == listed


@pytest.mark.slow
@pytest.mark.parametrize("name", SETS)
def test_every_image_is_readable(datasets_root, name):
    pixels = load_pixels(read_dataset(datasets_root / name), size=32)
    assert not any(pixels.problems)
    assert pixels.images.shape[1] == (1 if name in GRAY else 3)


@pytest.mark.parametrize(("name", "conflicts"), [("busi", 1), ("trashnet", 3), ("magnetic_tile", 0)])
def test_known_faults_are_found(datasets_root, name, conflicts):
    dataset = read_dataset(datasets_root / name)
    pixels = load_pixels(dataset, size=32)
    checkup = check(name_duplicates(dataset, pixels), pixels)
    files = [f for finding in checkup.findings if finding.kind == "label conflict" for f in finding.files]
    assert len(files) == 2 * conflicts
    assert checkup.exit_code == (1 if conflicts else 0)
