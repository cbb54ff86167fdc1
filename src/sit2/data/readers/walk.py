"""Find the image files below a folder."""

from __future__ import annotations

import os
from dataclasses import dataclass, field
from pathlib import Path

from sit2.data.words import counted, listed
from sit2.errors import DataError

IMAGE_SUFFIXES = frozenset(
    (".jpg", ".jpeg", ".png", ".bmp", ".gif", ".tif", ".tiff", ".webp", ".ppm", ".pgm", ".pbm")
)
SYSTEM_NAMES = frozenset(("thumbs.db", "desktop.ini", "__macosx"))  # in small letters


@dataclass
class Found:
    """What lies below a folder: POSIX paths relative to it, folder by folder in sorted order."""

    folders: list[str] = field(default_factory=list)  # visible ones, at any depth
    images: list[str] = field(default_factory=list)
    hidden: list[str] = field(default_factory=list)  # hidden files and folders, and what systems leave behind
    strangers: list[str] = field(default_factory=list)  # files without the suffix of an image
    loops: list[str] = field(default_factory=list)  # links back to a folder around them

    def notes(self) -> list[str]:
        """Return one line for each kind of thing that is ignored."""
        kinds = (
            (self.hidden, "hidden or system file", "hidden or system files"),
            (self.strangers, "file that is not an image", "files that are not images"),
            (self.loops, "link back to a folder around it", "links back to a folder around them"),
        )
        return [f"ignored {counted(len(n), one, many)}: {listed(n)}" for n, one, many in kinds if n]


def is_image(name: str) -> bool:
    """Tell by its suffix whether a file should be an image."""
    return Path(name).suffix.lower() in IMAGE_SUFFIXES


def walk(folder: Path) -> Found:
    """List everything below ``folder``, following links, except those that lead back into themselves.

    Raises:
        DataError: for a folder that cannot be listed.
    """
    found = Found()
    _visit(folder, "", (os.path.realpath(folder),), found)
    return found


def _visit(folder: Path, prefix: str, around: tuple[str, ...], found: Found) -> None:
    """Add what lies in ``folder``; ``around`` are the real paths of it and of the folders that hold it."""
    try:
        entries = sorted(os.scandir(folder), key=lambda entry: entry.name)
    except OSError as error:
        raise DataError(f"cannot list the folder {folder}: {error.strerror}") from None
    for entry in entries:
        place = prefix + entry.name
        if entry.name.startswith(".") or entry.name.lower() in SYSTEM_NAMES:
            found.hidden.append(place)
        elif entry.is_dir():
            real = os.path.realpath(entry.path)
            if real in around:
                found.loops.append(place)
                continue
            found.folders.append(place)
            _visit(Path(entry.path), place + "/", (*around, real), found)
        elif is_image(entry.name):
            found.images.append(place)  # a broken link too: decoding will name it
        else:
            found.strangers.append(place)
