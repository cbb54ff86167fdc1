"""Images to look at: not-sure images of each pair, on sheets or as single files, and what a network sees."""

from __future__ import annotations

import re
from collections.abc import Callable, Sequence
from dataclasses import dataclass, replace
from pathlib import Path
from typing import Any

import numpy as np
import pandas as pd
import torch
from PIL import Image, ImageDraw, ImageFont
from torch import Tensor

from sit2.config.recipe import Recipe
from sit2.config.schema import Config
from sit2.errors import DataError
from sit2.experiments.prepare import Prepared
from sit2.records import ByteArray, ClassPair
from sit2.storage.escaping import visible
from sit2.storage.files import atomic
from sit2.storage.run_folder import RunFolder
from sit2.synthesis.mixer import Parents, draw_not_sure, draw_sure, mix, pair_tensor
from sit2.training.phase import Phase, steps_of
from sit2.training.training_set import TrainingSet

TILE = 96  # pixels of an image on a sheet, at least
GAP = 6
TITLE = 22
EXAMPLES = 2  # of every operator, side by side
BATCH = (2, 8)  # rows and columns of a sheet of a batch
SMALL = 72  # pixels of an image on a sheet of a batch, at least


def file_name(pair: ClassPair) -> str:
    """Return a name for a pair's files that every file system takes."""

    def safe(name: str) -> str:
        return re.sub(r"[^\w.-]+", "_", name).strip("._")[:40] or "class"

    return f"{safe(pair.class_a)}__{safe(pair.class_b)}"


def write_examples(
    folder: Path, training_set: TrainingSet, chosen: Sequence[ClassPair], config: Config
) -> list[Path]:
    """Write one PNG sheet for each chosen pair: for every operator both parents and their not-sure image.

    Parents are training images, augmented as the network sees them. ``training_set`` must not normalise.
    """
    written = []
    for number, pair in enumerate(chosen):
        generator = training_set.generator(number)
        rows = [_row(training_set, pair, operator, generator) for operator in config.own["operators"]]
        path = folder / f"{number + 1:03d}_{file_name(pair)}.png"
        with atomic(path) as temporary:
            _sheet(pair, rows, config.own["operators"]).save(temporary, format="PNG")
        written.append(path)
    return written


def write_batches(
    folder: Path, training_set: TrainingSet, recipe: Recipe, phases: Sequence[Phase], config: Config
) -> None:
    """Write <training>_<number>_<phase>.png: images of each phase's first batch, as the network sees them.

    They are taken from all over the batch, which holds its kinds of images one after the other.
    ``training_set`` must not normalise, and must draw what the training draws.
    """
    count = min(BATCH[0] * BATCH[1], config.step_size)
    spread = torch.linspace(0, config.step_size - 1, count).long()
    lengths = steps_of(list(phases), config.total_steps(len(training_set)))
    for number, (phase, steps) in enumerate(zip(phases, lengths, strict=True)):
        own = training_set.for_phase(number, max(1, steps))
        images = phase.batches.draw(own, 0, config.step_size).images
        with atomic(
            folder / f"{replace(recipe, predictors=()).file_name}_{number + 1}_{phase.name}.png"
        ) as path:
            _tiled(to_bytes(images[spread.to(images.device)]), BATCH[1]).save(path, format="PNG")


def _tiled(images: ByteArray, columns: int) -> Image.Image:
    """Return (N, C, H, W) uint8 as one picture, row by row."""
    tile = images.shape[2] * max(1, -(-SMALL // images.shape[2]))
    step, rows = tile + GAP, -(-len(images) // columns)
    sheet = Image.new("RGB", (columns * step - GAP, rows * step - GAP), "white")
    for n, pixels in enumerate(images):
        image = picture(pixels).convert("RGB").resize((tile, tile), Image.Resampling.NEAREST)
        sheet.paste(image, (n % columns * step, n // columns * step))
    return sheet


@dataclass(frozen=True)
class Composite:
    """Images that were made, and from what."""

    images: ByteArray  # (N, C, H, W) uint8
    parents: Parents  # rows in the training_set
    weight: Tensor  # (N,) float32, the left parent's share
    operator: Tensor  # (N,) int64, index into the setting ``operators``


def synthesize(
    training_set: TrainingSet, pairs: Sequence[ClassPair], config: Config, *, count: int, step: int
) -> Composite:
    """Make ``count`` not-sure images of ``pairs``, or sure composites where there are none.

    ``training_set`` must not normalise; ``step`` names the draw: another step, other images.
    """
    generator = training_set.generator(step)
    if pairs:
        parents = draw_not_sure(training_set.index, pair_tensor(pairs), count, generator=generator)
    else:
        parents = draw_sure(training_set.index, count, generator=generator)
    left = training_set.take(parents.left, generator=generator)
    right = training_set.take(parents.right, generator=generator)
    mixed, weight, operator = mix(left, right, config.own["operators"], generator=generator)
    return Composite(to_bytes(mixed), parents, weight, operator)


def to_bytes(images: Tensor) -> ByteArray:
    """Return float32 images in [0, 1] as uint8."""
    pixels: ByteArray = (images.clamp(0, 1) * 255).round().byte().cpu().numpy()
    return pixels


def picture(pixels: ByteArray) -> Image.Image:
    """Return (C, H, W) uint8, C = 1 or 3, as a Pillow image."""
    return Image.fromarray(pixels[0] if len(pixels) == 1 else np.ascontiguousarray(pixels.transpose(1, 2, 0)))


def _row(
    training_set: TrainingSet, pair: ClassPair, operator: str, generator: torch.Generator
) -> list[ByteArray]:
    """Return left parent, right parent, not-sure image, EXAMPLES times."""
    parents = draw_not_sure(training_set.index, pair_tensor([pair]), EXAMPLES, generator=generator)
    # On a sheet the first class stands left, so that one can see what became of which.
    swap = training_set.labels[parents.left] != pair.a
    first = torch.where(swap, parents.right, parents.left)
    second = torch.where(swap, parents.left, parents.right)
    left = training_set.take(first, generator=generator)
    right = training_set.take(second, generator=generator)
    mixed, _, _ = mix(left, right, [operator], generator=generator)
    return [to_bytes(images)[n] for n in range(EXAMPLES) for images in (left, right, mixed)]


def _sheet(pair: ClassPair, rows: Sequence[Sequence[ByteArray]], names: Sequence[str]) -> Image.Image:
    size = rows[0][0].shape[1]
    scale = max(1, -(-TILE // size))
    tile = size * scale
    margin = 64
    width = margin + len(rows[0]) * (tile + GAP) + (EXAMPLES - 1) * 2 * GAP + GAP
    sheet = Image.new("RGB", (width, 2 * TITLE + len(rows) * (tile + GAP) + GAP), "white")
    draw, font = ImageDraw.Draw(sheet), ImageFont.load_default(13)
    write: Callable[..., None] = draw.text
    pair_names = [visible(name, newlines=False) for name in (pair.class_a, pair.class_b)]
    write((GAP, 4), "  and  ".join(pair_names), fill="black", font=font)
    for column in range(len(rows[0])):
        x = _column(column, tile, margin)
        word = (*pair_names, "not sure")[column % 3]
        write((x, TITLE), _fit(draw, word, tile, font), fill="#555555", font=font)
    for number, (name, row) in enumerate(zip(names, rows, strict=True)):
        y = 2 * TITLE + number * (tile + GAP)
        write((GAP, y + tile // 2 - 8), name, fill="#555555", font=font)
        for column, pixels in enumerate(row):
            image = picture(pixels).convert("RGB").resize((tile, tile), Image.Resampling.NEAREST)
            sheet.paste(image, (_column(column, tile, margin), y))
    return sheet


def _column(number: int, tile: int, margin: int) -> int:
    return margin + number * (tile + GAP) + (number // 3) * 2 * GAP


def _fit(draw: ImageDraw.ImageDraw, text: str, width: int, font: Any) -> str:
    """Shorten a text until it fits."""
    if draw.textlength(text, font=font) <= width:
        return text
    while text and draw.textlength(text + "…", font=font) > width:
        text = text[:-1]
    return text + "…"


def write_composites(
    folder: RunFolder,
    prepared: Prepared,
    pairs: Sequence[ClassPair],
    config: Config,
    *,
    count: int,
    sure: bool,
    begun: Callable[[], None],
) -> pd.DataFrame:
    """Write ``count`` not-sure images of each pair as PNG, and sources.csv: what each one is made of.

    Parents are training images only, augmented by the preset; ``--augment none`` leaves them as they are.

    Args:
        folder: opened, not begun.
        prepared: the images.
        pairs: that are mixed.
        config: its augmentation and operators count.
        count: images a pair.
        sure: write sure composites too, as many a class.
        begun: called when the folder is begun.

    Returns:
        The table sources.csv.

    Raises:
        DataError: there is no pair, or a class of one has no training image.
    """
    classes = prepared.dataset.classes
    if not pairs:
        raise DataError(
            "no pair to make not-sure images from\nname some with --pairs FILE, or lower --min-confused"
        )
    training_set = prepared.training_set(config)
    for number in {n for pair in pairs for n in (pair.a, pair.b)}:
        if training_set.index.count[number] == 0:
            raise DataError(f"class {classes[number]!r} has no training image to make not-sure images from")
    folder.begin()
    begun()
    sources: list[dict[str, object]] = []
    for number, pair in enumerate(pairs):
        name = f"synthesis/{number + 1:03d}_{file_name(pair)}"
        made = synthesize(training_set, [pair], config, count=count, step=number)
        sources += _write_images(folder.path, name, prepared, config, made)
    if sure:
        made = synthesize(training_set, [], config, count=count * len(classes), step=len(pairs))
        sources += _write_images(folder.path, "synthesis/sure", prepared, config, made)
    columns = ["file", "operator", "weight", "left_id", "right_id", "left_label", "right_label"]
    table = pd.DataFrame(sources, columns=pd.Index(columns), dtype=object).astype({"weight": float})
    folder.write_table("sources.csv", table)
    return table


def _write_images(
    out: Path, name: str, prepared: Prepared, config: Config, made: Composite
) -> list[dict[str, object]]:
    """Write images, and return their rows of sources.csv."""
    train, dataset, rows = prepared.rows("train"), prepared.dataset, []
    for n, pixels in enumerate(made.images):
        file = f"{name}/{n + 1:05d}.png"
        with atomic(out / file) as path:
            picture(np.ascontiguousarray(pixels)).save(path, format="PNG")
        left, right = int(train[int(made.parents.left[n])]), int(train[int(made.parents.right[n])])
        rows.append(
            {
                "file": file,
                "operator": config.own["operators"][int(made.operator[n])],
                "weight": float(made.weight[n]),
                "left_id": dataset.ids[left],
                "right_id": dataset.ids[right],
                "left_label": dataset.classes[dataset.labels[left]],
                "right_label": dataset.classes[dataset.labels[right]],
            }
        )
    return rows
