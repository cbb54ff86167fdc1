"""What the folders of a set of images mean: at which level stands the class, the split, the group.

A layout is written as the folders stand: ``split/class`` is ``train/cat/1.png``. ``folders`` are, for each image,
the names of the folders that it lies in, from the top down.
"""

from __future__ import annotations

import difflib
from collections import Counter
from collections.abc import Iterable, Sequence
from pathlib import Path

from sit2.data.readers.reader import SPLIT_NAMES, matched, plain_name
from sit2.data.words import counted, listed
from sit2.errors import DataError

Folders = Sequence[Sequence[str]]

_STRAYS = 0.1  # of the images may lie outside the folders that hold the classes
_COMPARED = 200  # names of folders that are compared with those of the classes, letter by letter


class UnclearLayoutError(DataError):
    """The folders have two readings. ``readings`` are layouts, the likelier one first."""

    def __init__(self, text: str, readings: tuple[str, str]) -> None:
        super().__init__(text)
        self.readings = readings


def find_layout(path: Path, folders: Folders) -> str:
    """Return "class" or "split/class", by the names of folders and where the images lie.

    Raises:
        UnclearLayoutError: another layer of folders may hold the classes.
        DataError: splits stand beside other folders.
    """
    tops = sorted({names[0] for names in folders if names})
    splits = [top for top in tops if top.lower() in SPLIT_NAMES]
    training = [top for top in splits if SPLIT_NAMES[top.lower()] == "train"]
    if len(splits) == len(tops) and (len(splits) >= 2 or training):
        _refuse_layer(path, [names[1:] for names in folders], "split/")
        return "split/class"
    if training and (len(splits) >= 2 or _unlike_the_others(training[0], folders)):
        others = [top for top in tops if top not in splits]
        raise DataError(  # reading "train" as a class would train on nonsense
            f"{path} mixes splits ({', '.join(splits)}) with other folders ({listed(others)})\n"
            "expected only splits or only classes at the top: move the others away, or say --layout class if all "
            "of them are classes"
        )
    _refuse_layer(path, folders, "")
    return "class"


def _unlike_the_others(top: str, folders: Folders) -> bool:
    """Tell whether a folder holds images in folders only, while another one holds images directly."""
    flat = {names[0] for names in folders if len(names) == 1}
    return top not in flat and bool(flat)


def _refuse_layer(path: Path, folders: Folders, above: str) -> None:
    """Raise if the folders of one level hold the same folders, which then are probably the classes."""
    if not _alike(folders):
        return
    tops, inner = listed(_at(0, folders)), _at(1, folders)
    also = ""
    if all(name.lower() in SPLIT_NAMES for name in inner) and not above:
        likely, meaning = "class/split", f"classes {tops}, and splits {listed(inner)} in each"
    else:
        likely = f"{above}group/class"
        meaning = f"classes {listed(inner)}; {tops} are groups, each kept in one split unless --groups none"
        meaning += "" if above else "; if they are splits, name them train, val, test"
    if _alike([names[1:] for names in folders]):  # no layout has so many layers
        deeper = listed(_at(2, folders))
        also = (
            f"; if the classes are {deeper}, further down, list the images in a manifest (path,label,group)"
        )
    raise UnclearLayoutError(
        f"{path}: its folders {tops} hold the same folders, {listed(inner)}: which are the classes?\n"
        f"--layout {likely}: {meaning}\n--layout {above}class: classes {tops}{also}",
        (likely, f"{above}class"),
    )


def _at(depth: int, folders: Folders) -> list[str]:
    """Return the names of the folders at one level."""
    return sorted({names[depth] for names in folders if len(names) > depth})


def _alike(folders: Folders) -> bool:
    """Tell whether the folders at the top hold the same folders, at least two of them."""
    below: dict[str, set[str]] = {}
    for names in folders:
        if names:
            below.setdefault(names[0], set()).update(map(plain_name, names[1:2]))
    held = Counter(name for inside in below.values() for name in inside)
    shared = [name for name, times in held.items() if times > 1]
    direct = sum(len(names) == 1 for names in folders)
    few = len(below) < 2 or len(held) < 2 or 2 * len(shared) < len(held)
    return not few and direct <= _STRAYS * len(folders)


def level(layout: str, word: str) -> int | None:
    """Return how many folders stand above that of the "class", "split" or "group"; None where there is none."""
    words = layout.split("/")
    return words.index(word) if word in words else None


def labels_in(
    images: Sequence[str], folder: str, classes: Sequence[str], *, layout: str = "", chosen: str = ""
) -> list[str]:
    """Return the label of each image below a folder: the name of its folder at one level, the same for all.

    It is the level that gives the most images a label; of several such, the one with the most classes, then the
    one that the layout of training means. So a split, a site or a batch above the classes, or one whose name is
    a class's, does not matter. The folder itself counts where its name is a class's and no level below names
    the class of every image.

    Args:
        images: paths relative to the folder.
        folder: its name.
        classes: of the model.
        layout: what the folders meant in training, or "".
        chosen: what they mean here, or "" to find out.
    """
    return _chosen_level(images, folder, classes, layout, chosen)[1]


def _chosen_level(
    images: Sequence[str], folder: str, classes: Sequence[str], layout: str, chosen: str
) -> tuple[int, list[str]]:
    """Return the level of the labels, -1 for the folder itself, and each image's label or ""."""
    folders = [image.split("/")[:-1] for image in images]
    names = {name for parts in folders for name in parts} | {folder}
    known = {name: label for name, label in zip(names, matched(names, classes), strict=True) if label}

    def at(depth: int) -> list[str]:
        if depth < 0:
            return [known.get(folder, "")] * len(images)
        return [known.get(parts[depth], "") if len(parts) > depth else "" for parts in folders]

    if chosen:
        depth = level(chosen, "class") or 0
        return depth, at(depth)
    usual = level(layout, "class") or 0

    def worth(depth: int) -> tuple[int, int, bool]:
        labels = [label for label in at(depth) if label]
        return len(labels), len(set(labels)), depth == usual

    best = max(range(max(map(len, folders), default=0)), key=worth, default=0)
    labels = at(best)
    whole = all(labels) or (any(labels) and folder.lower() in SPLIT_NAMES)
    return (best, labels) if whole or folder not in known else (-1, at(-1))


def label_notes(
    images: Sequence[str], folder: str, classes: Sequence[str], *, layout: str = "", chosen: str = ""
) -> list[str]:
    """Say what may be wrong with the labels that :func:`labels_in` returns."""
    depth, labels = _chosen_level(images, folder, classes, layout, chosen)
    folders = [image.split("/")[:-1] for image in images]
    notes = []
    if any(labels) and not chosen and (other := _also_named(folders, folder, classes, depth, labels)):
        where = f"the given folder, {folder!r}" if depth < 0 else f"folders at level {depth + 1}"
        notes.append(
            f"labels are the names of {where}; others bear names of classes too ({listed(other)}): "
            "if these are the classes, say so with --layout"
        )
    strange = Counter(
        parts[depth] if len(parts) > depth >= 0 else ""
        for parts, label in zip(folders, labels, strict=True)
        if not label
    )
    if not any(labels):  # any level may be the one that was meant
        strange = Counter(name for parts in folders for name in set(parts))
    strange.pop("", None)
    hints = near_names(strange, classes)
    if hints or (strange and any(labels)):
        shown = [*hints, *(repr(name) for name in strange if name not in hints)]
        if not any(labels):
            shown = list(hints)
        told = listed([hints.get(name, name) for name in shown])
        number = sum(strange[name] for name in (strange if any(labels) else hints))
        notes.append(
            f"{counted(number, 'image')} without a label, in folders that are no class of the model: {told}"
        )
    return notes


def _also_named(
    folders: Folders, folder: str, classes: Sequence[str], depth: int, labels: Sequence[str]
) -> list[str]:
    """Return the names of other folders around some image that name another class than its label."""
    known = set(classes)
    found: set[str] = set()
    for parts, label in zip(folders, labels, strict=True):
        others = [name for d, name in enumerate([folder, *parts], start=-1) if d != depth]
        found.update(name for name in others if name in known and name != label)
    return sorted(found)


def near_names(names: Iterable[str], classes: Sequence[str]) -> dict[str, str]:
    """Return "'Cat' (did you mean 'cat'?)" by name, for each that is nearly a class's: other capitals, a slip."""
    plain = {plain_name(name): name for name in classes}
    found = {}
    for number, name in enumerate(names):
        near = [plain_name(name)] if plain_name(name) in plain else []
        if not near and number < _COMPARED:
            near = difflib.get_close_matches(plain_name(name), plain, n=1, cutoff=0.8)
        if near:
            found[name] = f"{name!r} (did you mean {plain[near[0]]!r}?)"
    return found
