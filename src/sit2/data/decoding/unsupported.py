"""Images all the same, but of kinds that are not read: from phones, microscopes, cameras; volumes and drawings."""

from __future__ import annotations

import os

CONVERT = "convert them, for example to PNG or TIFF"
FOREIGN = "an image, but not of a kind that is read: convert it"
_SUFFIXES = frozenset(
    (
        *(
            ".heic",
            ".heif",
            ".hif",
            ".avif",
            ".jxl",
            ".jp2",
            ".j2k",
            ".jpf",
            ".jpx",
            ".jxr",
            ".tga",
            ".exr",
            ".ico",
        ),
        *(".svs", ".ndpi", ".mrxs", ".scn", ".vsi", ".czi", ".lif", ".nd2", ".bif", ".vms", ".oib", ".oif"),
        *(
            ".raw",
            ".dng",
            ".cr2",
            ".cr3",
            ".crw",
            ".nef",
            ".nrw",
            ".arw",
            ".srf",
            ".sr2",
            ".orf",
            ".rw2",
            ".raf",
        ),
        *(".pef", ".srw", ".x3f", ".nii", ".mha", ".mhd", ".nrrd", ".psd", ".xcf", ".svg", ".eps", ".hdr"),
    )
)
_STARTS = (
    *(b"\0\0\0\x0cjP  \r\n\x87\n", b"\xff\x4f\xff\x51", b"\0\0\0\x0cJXL \r\n\x87\n", b"\xff\x0a"),
    *(b"8BPS", b"FUJIFILMCCD-RAW", b"ZISRAWFILE", b"NRRD000"),
)
_BRANDS = (b"heic", b"heix", b"heim", b"hevc", b"mif1", b"msf1", b"avif", b"avis", b"crx ")  # after "ftyp"


def is_foreign(name: str) -> bool:
    """Tell by its suffix whether a file is an image of a kind that is not read."""
    name = name.lower().removesuffix(".gz")
    return os.path.splitext(name)[1] in _SUFFIXES  # noqa: PTH122


def starts_foreign(head: bytes) -> bool:
    """Tell by its first bytes whether a file, whatever its name, is an image of a kind that is not read."""
    return head.startswith(_STARTS) or (head[4:8] == b"ftyp" and head[8:12] in _BRANDS)
