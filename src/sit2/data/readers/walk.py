"""Find the image files below a folder."""

from __future__ import annotations

import os
import stat
from collections.abc import Iterator
from dataclasses import dataclass, field
from pathlib import Path

from sit2.data.decoding.dicom import is_dicom
from sit2.data.decoding.unsupported import CONVERT, is_foreign
from sit2.data.words import counted, listed
from sit2.errors import DataError

IMAGE_SUFFIXES = frozenset(
    (
        *(".jpg", ".jpeg", ".jpe", ".jfif", ".png", ".bmp", ".gif", ".tif", ".tiff", ".webp"),
        *(".ppm", ".pgm", ".pbm", ".pnm", ".dcm", ".dicom"),
    )
)
# Files and folders that systems, network drives and programs leave behind, thumbnails and deleted images among
# them; in small letters. Names that begin with a point are ignored too.
SYSTEM_NAMES = frozenset(
    (
        *("thumbs.db", "ehthumbs.db", "desktop.ini", "__macosx", "dicomdir", "icon\r"),
        *("@eadir", "#recycle", "#snapshot", "@tmp", "@recycle", "@recently-snapshot", "@thumb", "@database"),
        *("$recycle.bin", "recycler", "recycled", "system volume information", "found.000", "lost+found"),
        *("network trash folder", "temporary items", "__pycache__", "lost.dir"),
    )
)


Level = tuple[Iterator[os.DirEntry[str]], str, tuple[str, ...]]


@dataclass
class Found:
    """What lies below a folder: POSIX paths relative to it, folder by folder in sorted order."""

    folders: list[str] = field(default_factory=list)  # visible ones, at any depth
    images: list[str] = field(default_factory=list)
    hidden: list[str] = field(default_factory=list)  # hidden files and folders, and what systems leave behind
    strangers: list[str] = field(default_factory=list)  # files without the suffix of an image
    foreign: list[str] = field(default_factory=list)  # images of kinds that are not read
    runs: list[str] = field(default_factory=list)  # folders that sit2 wrote, whose pictures are no data
    loops: list[str] = field(default_factory=list)  # links back to a folder around them
    misnamed: list[str] = field(default_factory=list)  # names that are not UTF-8

    def notes(self) -> list[str]:
        """Return one line for each kind of thing that is ignored."""
        kinds = (
            (self.hidden, "hidden or system file or folder", "hidden or system files or folders"),
            (self.strangers, "file that is not an image", "files that are not images"),
            (self.runs, "folder that sit2 wrote", "folders that sit2 wrote"),
            (self.loops, "link back to a folder around it", "links back to a folder around them"),
            (
                self.misnamed,
                "file or folder whose name is not UTF-8",
                "files or folders whose names are not UTF-8",
            ),
        )
        notes = [f"ignored {counted(len(n), one, many)}: {listed(n)}" for n, one, many in kinds if n]
        if self.foreign:
            what = counted(len(self.foreign), "image")
            notes.append(f"ignored {what} of a kind that is not read: {listed(self.foreign)}; {CONVERT}")
        return notes


def is_image(name: str) -> bool:
    """Tell by its suffix whether a file should be an image."""
    return os.path.splitext(name)[1].lower() in IMAGE_SUFFIXES  # noqa: PTH122 - a Path for each takes 5 µs


def is_dicom_by_content(path: str | Path) -> bool:
    """Tell whether a file whose name says nothing is a DICOM image; scanners like to leave out the suffix."""
    suffix = os.path.splitext(path)[1]  # noqa: PTH122
    if suffix and not suffix[1:].isdigit():  # names may be identifiers: 1.2.840.113619.2
        return False
    try:
        if not stat.S_ISREG(os.stat(path).st_mode):  # noqa: PTH116
            return False
        with open(path, "rb") as file:  # noqa: PTH123
            return is_dicom(file.read(132))
    except OSError:
        return False


def walk(folder: Path) -> Found:
    """List everything below ``folder``, following links, except those that lead back into themselves.

    Raises:
        DataError: for a folder that cannot be listed.
    """
    found = Found()
    # Folders may lie deeper than Python may recurse: a stack of what is still to be looked at, and with it
    # the place and the real paths of each folder and of those around it.
    stack: list[Level] = [(_listed(folder), "", (os.path.realpath(folder),))]
    while stack:
        entries, prefix, around = stack[-1]
        entry = next(entries, None)
        if entry is None:
            stack.pop()
            continue
        place = prefix + entry.name
        if not _is_folder(entry):
            _add_file(found, entry, place)
        elif _is_hidden(entry.name):
            found.hidden.append(place)
        else:
            link = entry.is_symlink()
            real = os.path.realpath(entry.path) if link else os.path.join(around[-1], entry.name)  # noqa: PTH118
            if link and real in around:
                found.loops.append(place)
            elif _is_misnamed(place):
                found.misnamed.append(place)
            elif _is_run(entry.path):
                found.runs.append(place)
            else:
                found.folders.append(place)
                stack.append((_listed(entry.path), place + "/", (*around, real)))
    return found


def _listed(folder: str | Path) -> Iterator[os.DirEntry[str]]:
    try:
        with os.scandir(folder) as entries:
            return iter(sorted(entries, key=lambda entry: entry.name))
    except OSError as error:
        raise DataError(f"cannot list the folder {folder}: {error.strerror}") from None


def _is_folder(entry: os.DirEntry[str]) -> bool:
    try:
        return entry.is_dir()
    except OSError:  # a link that leads to itself
        return False


def _is_run(folder: str) -> bool:
    return all(os.path.isfile(os.path.join(folder, name)) for name in ("run.json", "config.yaml"))  # noqa: PTH113, PTH118


def _is_hidden(name: str) -> bool:
    return name.startswith(".") or name.lower() in SYSTEM_NAMES


def _is_misnamed(place: str) -> bool:
    """Tell a name of bytes that are not UTF-8, which Python holds as surrogates: no table can hold it."""
    return not place.isascii() and any("\ud800" <= character <= "\udfff" for character in place)


def _add_file(found: Found, entry: os.DirEntry[str], place: str) -> None:
    if _is_hidden(entry.name):
        found.hidden.append(place)
    elif _is_misnamed(place):
        found.misnamed.append(place)
    elif is_image(entry.name) or is_dicom_by_content(entry.path):
        found.images.append(place)  # a broken link too: decoding will name it
    else:
        (found.foreign if is_foreign(entry.name) else found.strangers).append(place)
