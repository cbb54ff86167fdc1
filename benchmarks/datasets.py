"""The real image sets that benchmarks run on, where ``SIT2_DATASETS`` says they lie."""

from __future__ import annotations

import os
from dataclasses import dataclass
from pathlib import Path


@dataclass(frozen=True)
class ImageSet:
    """A labelled set, and what a person who knows it would tell sit2 about it."""

    name: str
    augment: str  # which way up its images may lie
    groups: str | None = None  # column of the manifest; "none": by image, whatever the manifest names

    @property
    def path(self) -> Path:
        return folder() / self.name


TEN = (
    ImageSet("pbc_blood", "dihedral"),
    ImageSet("ham10000", "dihedral", "group"),
    ImageSet("chula_rbc12", "dihedral", "none"),  # split by smear, some classes have one smear only
    ImageSet("knee_oa", "flip", "group"),
    ImageSet("busi", "flip"),
    ImageSet("clothing", "flip"),
    ImageSet("trashnet", "flip"),
    ImageSet("cifar10", "flip"),
    ImageSet("gtsrb12", "no-flip", "group"),
    ImageSet("magnetic_tile", "dihedral", "group"),
)
MANY_CLASSES = (ImageSet("plankton", "dihedral"), ImageSet("grocery81", "no-flip"))
BY_NAME = {one.name: one for one in (*TEN, *MANY_CLASSES)}


def folder() -> Path:
    """Return the folder of the sets; exit with a hint where none is named."""
    named = os.environ.get("SIT2_DATASETS")
    if not named or not Path(named).is_dir():
        raise SystemExit("set SIT2_DATASETS to the folder that holds the image sets")
    return Path(named)
