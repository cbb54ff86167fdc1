"""Settings of the images: which are read, how they are decoded, and how they are split."""

from __future__ import annotations

from dataclasses import dataclass
from pathlib import Path

from sit2.parameters import parameter

# What folders may mean, from the top down; "auto": class or split/class, by their names.
LAYOUTS = (
    *("auto", "class", "split/class", "group/class"),
    *("class/split", "class/group", "split/group/class"),
)
DATA, DECODING, SPLITTING = "images", "decoding", "splits and labels"


@dataclass(frozen=True, kw_only=True)
class DataSettings:
    """How images are found, decoded and split."""

    labels_per_class: int | None = parameter(
        None, "keep this many training images a class", low=1, topic=SPLITTING, basic=True
    )
    groups: str | None = parameter(
        None,
        "column of patients, slides, … or TABLE.csv:COLUMN: a group is never divided between splits; "
        "none: ignore groups",
        value="COLUMN",
        topic=DATA,
        basic=True,
    )
    group_pattern: str | None = parameter(
        None,
        "regular expression that finds the group in a file's name: what its first (…) matches, or the whole match",
        value="REGEX",
        topic=DATA,
    )
    add: tuple[Path, ...] = parameter(
        (),
        "tables, with commas between, of more images for training, with the columns path,label (and group, where "
        "images have groups): they never come into validation or test; rows without a label are left out",
        value="FILES",
        topic=DATA,
    )
    layout: str = parameter(
        "auto",
        "what the folders mean, from the top down; auto: class or split/class, by their names",
        choices=LAYOUTS,
        topic=DATA,
        basic=True,
    )
    allow_leaks: bool = parameter(
        False, "train even if an image or a group is in more than one of the given splits", topic=SPLITTING
    )
    image_size: int | None = parameter(
        None,
        "height and width that images are scaled to, in pixels; default: by the images' own sizes and the "
        "backbone, from 96 to 128, and 64 for small-cnn",
        low=8,
        high=1024,
        topic=DATA,
        basic=True,
    )
    resize: str = parameter(
        "stretch",
        "how an image that is not square becomes so",
        choices=("stretch", "crop", "pad"),
        topic=DECODING,
    )
    channels: str = parameter(
        "auto", "1 gray, 3 colour, auto: as the images are", choices=("auto", "1", "3"), topic=DECODING
    )
    channels_from: tuple[int, ...] = parameter(
        (),
        "which channels of an image file become the image, counted from 0: one (gray) or three (red, green, blue; "
        "one may stand twice), such as 0,1,2; default: all, and a TIFF that has more than gray or RGB is refused",
        low=0,
        value="N,N,N",
        topic=DECODING,
    )
    depth_window: str = parameter(
        "full",
        "what becomes 0 to 255 where there are more than 8 bits: full (the file's range; DICOM: its window), "
        "percentile (0.5 and 99.5 of each image), or two values LO,HI",
        topic=DECODING,
    )
    background: str = parameter(
        "white", "what lies under transparent pixels", choices=("white", "black"), topic=DECODING
    )
    max_megapixels: int = parameter(
        178, "refuse images of more than this many million pixels", low=1, high=100_000, topic=DECODING
    )
    split_seed: int | None = parameter(
        None, "root of the splits, and of which labels are kept; default: seed", low=0, topic=SPLITTING
    )
    resplit: bool = parameter(
        False, "make new splits also where the data come with some of their own", topic=SPLITTING
    )
    cache: str = parameter(
        "auto",
        "folder that keeps decoded images and trained networks between runs; auto: SIT2_CACHE or the user's "
        "cache, off: none",
        value="DIR",
        topic=DATA,
    )
    val_fraction: float = parameter(
        0.16,
        "fraction of the images for validation, where no split is given",
        low=0.01,
        high=0.5,
        topic=SPLITTING,
    )
    val_per_class: int | None = parameter(
        None,
        "keep at most this many validation images a class: they are labels too",
        low=1,
        topic=SPLITTING,
    )
    calibration_fraction: float = parameter(
        0.0,
        "fraction of the images kept for calibration alone: the sets of possible classes then have the full "
        "guarantee; 0: validation images serve",
        low=0.0,
        high=0.5,
        topic=SPLITTING,
    )
    test_fraction: float = parameter(
        0.2,
        "fraction of the images for the test, where no split is given",
        low=0.01,
        high=0.8,
        topic=SPLITTING,
    )
