"""What an ``.npz`` file claims to hold, before anything of it is read into memory."""

from __future__ import annotations

import math
import zipfile
from pathlib import Path

from numpy.lib import format as npy

from sit2.data.memory import fits


def check_claims(path: Path) -> None:
    """Refuse an archive whose arrays do not fit into memory, or are not as long as they say.

    A header of a few bytes may claim any number of elements, and a file of zeros shrinks to a thousandth.
    What is no archive is left to NumPy to refuse.

    Raises:
        ValueError: with the reason.
        Exception: nearly any, for a damaged file.
    """
    if not zipfile.is_zipfile(path):
        return
    with zipfile.ZipFile(path) as archive:
        members = archive.infolist()
        total = sum(member.file_size for member in members)
        if not fits(total):
            raise ValueError(f"it claims {total / 1e9:,.1f} GB of arrays, more than the memory holds")
        for member in members:
            if member.filename.endswith(".npy"):
                claimed = _claimed(archive, member)
                if claimed is not None and claimed != member.file_size:
                    raise ValueError(
                        f"{member.filename} claims {claimed:,} bytes, but there are {member.file_size:,}"
                    )


def _claimed(archive: zipfile.ZipFile, member: zipfile.ZipInfo) -> int | None:
    """Return the bytes of an array by its own header; None for Python objects, which NumPy refuses."""
    with archive.open(member) as file:
        version = npy.read_magic(file)
        read = npy.read_array_header_1_0 if version == (1, 0) else npy.read_array_header_2_0
        shape, _, dtype = read(file)
        return None if dtype.hasobject else file.tell() + math.prod(shape) * dtype.itemsize
