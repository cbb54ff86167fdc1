"""From images without labels and a model to the images to label next. Letters: N images, K classes."""

from __future__ import annotations

import csv
from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path

import numpy as np

from sit2.data.pixels import load_pixels_for
from sit2.data.words import counted
from sit2.errors import ConfigError, DataError, did_you_mean
from sit2.events import Listener, Note
from sit2.inference.columns import Column
from sit2.inference.decisions import joined
from sit2.inference.model import Model
from sit2.inference.model_and_images import Asked, Done, good_rows
from sit2.inference.model_spec import ModelSpec, find_model
from sit2.inference.seen import seen_in_training
from sit2.records import Dataset, FloatArray, IntArray
from sit2.seeds import Seeds
from sit2.storage.escaping import neutral
from sit2.storage.files import atomic
from sit2.storage.labelling_files import Listed, write_lists
from sit2.suggest.policies import POLICIES
from sit2.suggest.policies.policy import Candidates

TABLE = "suggestions.csv"
HEADER = ("rank", "path", "class_a", "class_b", "score", "p_class_a", "p_class_b", "policy", "label")


@dataclass(frozen=True)
class Suggestion:
    """An image to label."""

    rank: int  # from 1
    path: str  # absolute; of images that are in a file with others, its name there
    class_a: str  # the two most probable classes, the first first
    class_b: str
    score: float  # the doubt between them: 1 where both are equally probable, 0 where one is certain
    p_class_a: float
    p_class_b: float


@dataclass(frozen=True)
class Suggested:
    """The images to label next, the most wanted first."""

    suggestions: tuple[Suggestion, ...]
    dataset: Dataset  # of these, in order
    spec: ModelSpec
    policy: str
    among: int  # images that there were to choose from


def suggest(
    sources: Sequence[Path],
    folder: Path,
    listener: Listener,
    *,
    count: int,
    policy: str,
    seed: int,
    layout: str = "auto",
) -> Suggested:
    """Choose images whose labels a model would gain from; those that its run knows are left out, and copies.

    Args:
        sources: folders, image files or manifests; labels that they may have are not looked at.
        folder: of a run, or of its model.
        listener: hears what is left out.
        count: of images, at least 1; fewer where there are no more.
        policy: one of POLICIES.
        seed: of what is chance.
        layout: what folders mean, one of LAYOUTS.

    Raises:
        ConfigError: there is no such policy, or the count is none.
        DataError: there is no image, none that can be read, or none that the run does not know.
        ModelError: there is no model, or it is damaged.
    """
    if policy not in POLICIES:
        raise ConfigError(f"unknown policy {policy!r}\n{did_you_mean(policy, POLICIES)}")
    if count < 1:
        raise ConfigError(f"-n is {count}\nexpected a number of images from 1")
    find_model(folder)  # refuses an exported one, which has no features
    asked, done, parts = Asked.of(sources, folder, listener, layout=layout, sets=False), Done(), []
    for chunk in asked.stream(listener):
        parts.append(chunk.answers)
        done.add(chunk)
    asked.tell(done, listener, warn=False)
    readable, chances = asked.dataset.take(good_rows(done.problems)), joined(parts).probabilities
    new = _new(readable, done.digests, asked, listener)
    if not len(new):
        raise DataError("the model's run knows all these images already\nexpected new ones to choose from")
    left, own = readable.take(new), chances[new]
    model = asked.model
    assert isinstance(model, Model)

    def features(rows: IntArray) -> FloatArray:
        return model.features(load_pixels_for(model.spec, left.take(rows)).images)

    candidates = Candidates(own, features)
    rows = POLICIES[policy](candidates, count, Seeds(seed).numpy("suggest"))
    if len(rows) < count:
        listener(Note(f"{counted(len(rows), 'image')} instead of {count:,}: there are no more"))
    classes, doubt, two = model.spec.classes, candidates.doubt, candidates.first_two
    chosen = tuple(
        Suggestion(
            rank,
            left.paths[n] if left.arrays else str((left.root / left.paths[n]).absolute()),
            classes[two[n, 0]],
            classes[two[n, 1]],
            float(doubt[n]),
            float(own[n, two[n, 0]]),
            float(own[n, two[n, 1]]),
        )
        for rank, n in enumerate(rows.tolist(), 1)
    )
    return Suggested(chosen, left.take(rows), model.spec, policy, len(left))


def _new(dataset: Dataset, digests: Sequence[str], asked: Asked, listener: Listener) -> IntArray:
    """Return the rows of images that the run does not know, of equal ones the first."""

    def column(name: str) -> tuple[str, ...]:
        return Column.of(asked.sources, name).values(dataset)

    known = seen_in_training(dataset, tuple(digests), asked.folder, listener, column, test_too=True).itself
    first = np.zeros(len(dataset), dtype=np.bool_)
    first[np.unique(np.array(digests), return_index=True)[1]] = True
    if known.any():
        listener(Note(f"{counted(int(known.sum()), 'image')} left out: the run has labels of them"))
    if copies := int((~first & ~known).sum()):
        listener(Note(f"{counted(copies, 'image')} left out: equal to another"))
    return np.flatnonzero(first & ~known).astype(np.int64)


def write_table(folder: Path, found: Suggested) -> Path:
    """Write ``suggestions.csv``, with a column ``label`` to be filled in; return it."""
    path = folder / TABLE
    with atomic(path) as temporary, temporary.open("w", encoding="utf-8", newline="") as file:
        writer = csv.writer(file, lineterminator="\n")
        writer.writerow(HEADER)
        for one in found.suggestions:
            numbers = [f"{value:.6f}" for value in (one.score, one.p_class_a, one.p_class_b)]
            row = [str(one.rank), one.path, one.class_a, one.class_b, *numbers, found.policy, ""]
            writer.writerow([neutral(cell) for cell in row])
    return path


def write_for_tools(folder: Path, found: Suggested) -> Path:
    """Write the list for labelling tools into the folder ``lists``, with the model's first class; return it.

    Raises:
        DataError: the images are in one file with others, where no labelling tool finds them.
    """
    if found.dataset.arrays:
        raise DataError("the images are no files of their own\nleave out --lists: labelling tools need files")
    images = [
        Listed(
            Path(one.path),
            one.class_a,
            round(one.p_class_a, 6),
            {"or": one.class_b, "rank": one.rank, "doubt": round(one.score, 6)},
        )
        for one in found.suggestions
    ]
    write_lists(folder / "lists", images, found.spec.classes, author=f"sit2 {found.spec.recipe}")
    return folder / "lists"
