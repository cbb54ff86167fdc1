"""Which of the images that a model is evaluated on it knows already, and which show patients that it knows.

An image is known by its place, and by its content: the run keeps a digest of the pixels of each of its images, as
the network sees them. So a copy is found in another folder, in an ``.npz`` file, or saved anew without loss.
"""

from __future__ import annotations

import os
from collections.abc import Callable, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np

from sit2.data.readers.groups import groups_from_names, groups_from_table, side_table
from sit2.data.samples import read_samples
from sit2.data.words import counted, listed
from sit2.errors import ConfigError, DataError, RunFolderError
from sit2.events import Listener, Note
from sit2.inference.model_spec import find_model, read_spec
from sit2.records import BoolArray, Dataset
from sit2.storage.reading import read_settings
from sit2.storage.run_info import read_info


@dataclass(frozen=True)
class Seen:
    """(N,) bool each: what a model was trained or validated on."""

    itself: BoolArray  # the image, at its place or as a copy
    copies: BoolArray  # of these, the ones that lie elsewhere
    group: BoolArray  # another image of the same group
    groups: tuple[str, ...] = ()  # names of those groups

    @property
    def any(self) -> BoolArray:
        """(N,) bool: nothing about new images can be learned from it."""
        either: BoolArray = self.itself | self.group
        return either

    def among(self, rows: BoolArray, *, counted_too: bool) -> list[str]:
        """Say how many of some images (N,) bool the model knows, and what becomes of them."""
        itself, copies, group = (int((part & rows).sum()) for part in (self.itself, self.copies, self.group))
        what = "counted" if counted_too else "left out"
        end = "the figures are too good" if counted_too else "--all counts them too"
        told = []
        if itself:
            as_copies = "a copy that lies" if copies == 1 else "copies that lie"
            where = f" ({copies:,} of them as {as_copies} elsewhere)" if copies else ""
            told.append(
                f"{counted(itself, 'image')} {what}: the model was trained or validated on them{where}, so they "
                f"say nothing about new images; {end}"
            )
        if group:
            told.append(
                f"{counted(group, 'new image')} {what}: of {counted(len(self.groups), 'group')} (patients, "
                f"slides, …) that the model was trained or validated on: {listed(self.groups)}; {end}"
            )
        return told


def run_of(model: Path) -> Path | None:
    """Return the run folder that a model lies in, if it does."""
    folder = find_model(model).resolve()
    return next((p for p in (folder.parent, folder.parent.parent) if (p / "samples.csv").is_file()), None)


def seen_in_training(
    dataset: Dataset,
    digests: Sequence[str],
    model: Path,
    listener: Listener,
    column: Callable[[str], tuple[str, ...]],
    *,
    test_too: bool = False,
) -> Seen:
    """Find what the run of a model has in training or validation, by places, contents and groups.

    Of a model of all images, what it has in the test too.

    Args:
        dataset: N images.
        digests: of each image's pixels, decoded as the model wants them.
        model: a run folder, or the model folder in it.
        listener: hears what cannot be told.
        column: returns the N values of a column of the images' manifest; raises :class:`DataError` without one.
        test_too: also what the run has in its test.

    Raises:
        RunFolderError: the run's own files are damaged.
    """
    run, nothing = run_of(model), np.zeros(len(dataset), dtype=np.bool_)
    if run is None:
        listener(
            Note(
                f"{model} lies in no run folder, so nothing says which images it was trained on: if these are "
                "among them, the figures are far too good"
            )
        )
        return Seen(nothing, nothing, nothing)
    try:
        root, samples = read_info(run).root, read_samples(run / "samples.csv")
        settings = read_settings(run / "config.yaml")
    except RunFolderError as error:
        reason = str(error).partition("\n")[0]
        raise RunFolderError(
            f"{run} does not say what the model was trained on: {reason}\nrestore its run.json and "
            "samples.csv, or move the model folder out of it"
        ) from None
    of_all = bool(
        read_spec(find_model(model) / "model.json").figures
    )  # trained once more, on the test images too
    used = [
        *samples.rows("train"),
        *samples.rows("val"),
        *(samples.rows("test") if of_all or test_too else ()),
    ]
    places = {_real(Path(root), samples.paths[n]) for n in used}
    in_place = np.array([_real(dataset.root, path) in places for path in dataset.paths], dtype=np.bool_)
    contents = {samples.digests[n] for n in used} if samples.digests else set()
    copies = np.array([digest in contents for digest in digests], dtype=np.bool_) & ~in_place
    itself = in_place | copies
    if not itself.any():
        _warn_of_names(
            dataset, root, {samples.paths[n] for n in used}, listener, looked=bool(samples.digests)
        )
    known = {samples.groups[n] for n in used} - {""} if samples.groups else set()
    groups = _groups_of(dataset, settings, listener, column) if known and not itself.all() else ()
    shared = np.array([group in known for group in groups] or nothing, dtype=np.bool_) & ~itself
    names = dict.fromkeys(groups[n] for n in np.flatnonzero(shared))
    return Seen(itself, copies, shared, tuple(names))


def _real(root: Path, path: str) -> str:
    return os.path.realpath(root / path)


def _warn_of_names(dataset: Dataset, root: str, names: set[str], listener: Listener, *, looked: bool) -> None:
    """Warn of images that are called like training images, and were not recognised by their contents.

    ``looked`` says whether the run has digests to recognise them by; runs of before have none.
    """
    alike = sum(path in names for path in dataset.paths)
    if alike:
        but = ", but other contents" if looked else ""
        if_so = "these are the same, changed or saved anew" if looked else "this is a copy of them"
        listener(
            Note(
                f"{counted(alike, 'image')} in {dataset.root} have the names of images in {root} that the model "
                f"was trained on{but}: if {if_so}, the figures are far too good"
            )
        )


def _groups_of(
    dataset: Dataset,
    settings: dict[str, Any],
    listener: Listener,
    column: Callable[[str], tuple[str, ...]],
) -> tuple[str, ...]:
    """Return the groups of new images, found as those of the training images were; none where that fails."""
    name, pattern = settings.get("groups"), settings.get("group_pattern")
    try:
        if not (pattern or name or dataset.groups):
            raise DataError("they come without groups")
        if pattern:
            return groups_from_names(dataset, str(pattern)).groups
        if name and (beside := side_table(str(name))):
            return groups_from_table(dataset, *beside).groups
        if name:
            return column(str(name))
    except (ConfigError, DataError) as error:
        reason = str(error).partition("\n")[0]
        listener(
            Note(f"whether these images are of groups that the model was trained on is not known: {reason}")
        )
        return ()
    return dataset.groups
