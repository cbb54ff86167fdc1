"""DICOM files, by pydicom (the extra ``sit2[dicom]``).

Gray pixels are rescaled to their units (slope and intercept, or the modality's table). Under ``full`` the
file's first window or table of values of interest then says what is black and white; where it has none, its
stored bits do. MONOCHROME1 is inverted, so that high values always are bright. A file of several frames is
refused: which of them counts, only the user knows.
"""

from __future__ import annotations

from typing import IO, Any

import numpy as np
from numpy.typing import NDArray

from sit2.data.decoding.image import Decoding, Unreadable, UnreadableNow, Wide

_COLOURS = ("RGB", "YBR_FULL", "YBR_FULL_422", "YBR_ICT", "YBR_RCT", "YBR_PARTIAL_420", "PALETTE COLOR")


def is_dicom(head: bytes) -> bool:
    """Tell a DICOM file by its first 132 bytes."""
    return head[128:132] == b"DICM"


def dicom_header(file: IO[bytes]) -> tuple[int, int, int, int]:
    """Return channels (1 or 3), bits of a sample, width and height, by the header."""
    data = _read(file, stop_before_pixels=True)
    channels = 3 if data.get("PhotometricInterpretation") in _COLOURS else 1
    return channels, int(data.get("BitsStored") or 32), int(data.Columns), int(data.Rows)


def read_dicom(file: IO[bytes], how: Decoding) -> Wide:
    """Return the one image of a DICOM file.

    Raises:
        Unreadable: for several frames, no pixels, or a compression that no installed decoder knows.
    """
    from pydicom.pixels.processing import apply_color_lut

    data = _read(file)
    _check(data, how)
    pixels: NDArray[Any] = data.pixel_array
    kind = data.PhotometricInterpretation
    if kind == "PALETTE COLOR":
        pixels = apply_color_lut(pixels, data)
        return Wide(pixels, (0.0, float(np.iinfo(pixels.dtype).max)))
    if kind in _COLOURS:
        return Wide(pixels, (0.0, 2.0 ** int(data.BitsStored) - 1))
    if not kind.startswith("MONOCHROME"):
        raise Unreadable(f"DICOM pixels of a kind that is not supported ({kind})")
    values, full = _rescaled(pixels, data)
    if how.depth_window == "full":
        values, full = _windowed(values, full, data)
    return Wide(values, full, inverted=kind == "MONOCHROME1")


def _read(file: IO[bytes], **options: Any) -> Any:
    try:
        import pydicom
    except ImportError:
        raise UnreadableNow("a DICOM file, which needs: pip install 'sit2[dicom]'") from None
    return pydicom.dcmread(file, **options)


def _check(data: Any, how: Decoding) -> None:
    """Raise :class:`Unreadable` for what holds no single image that can be decoded."""
    from pydicom.pixels.decoders.base import get_decoder

    if not any(name in data for name in ("PixelData", "FloatPixelData", "DoubleFloatPixelData")):
        raise Unreadable("a DICOM file without an image")
    frames = int(data.get("NumberOfFrames") or 1)
    if frames > 1:
        raise Unreadable(f"a DICOM file of {frames} frames: save the ones that count as files of their own")
    how.check_size(int(data.Columns), int(data.Rows))
    syntax = data.file_meta.TransferSyntaxUID
    if syntax.is_compressed and syntax.is_encapsulated and not get_decoder(syntax).is_available:
        raise UnreadableNow(
            f"a DICOM file compressed as {syntax.name}, which needs: pip install 'pylibjpeg[all]'"
        )


def _rescaled(pixels: NDArray[Any], data: Any) -> tuple[NDArray[Any], tuple[float, float] | None]:
    """Return gray pixels in the units that the file means, and the range that these may have."""
    from pydicom.pixels.processing import apply_rescale

    if pixels.dtype.kind == "f":
        return apply_rescale(pixels, data), None
    table = data.get("ModalityLUTSequence")
    if table:
        return apply_rescale(pixels, data), (0.0, 2.0 ** int(table[0].LUTDescriptor[2]) - 1)
    bits = int(data.BitsStored)
    half = 2.0 ** (bits - 1)
    ends = (-half, half - 1) if data.PixelRepresentation else (0.0, 2 * half - 1)
    slope = float(data.get("RescaleSlope") or 1)
    shift = float(data.get("RescaleIntercept") or 0)
    values = pixels if (slope, shift) == (1.0, 0.0) else apply_rescale(pixels, data)
    low, high = sorted(end * slope + shift for end in ends)
    return values, (low, high)


def _windowed(
    values: NDArray[Any], full: tuple[float, float] | None, data: Any
) -> tuple[NDArray[Any], tuple[float, float] | None]:
    """Return values and their range as the file's first window or table wants them shown (PS3.3, C.11.2)."""
    from pydicom.pixels.processing import apply_voi

    table = data.get("VOILUTSequence")
    if table:
        return apply_voi(values.astype(np.int64), data), (
            0.0,
            2.0 ** int(table[0].LUTDescriptor[2]) - 1,
        )
    centre, width = _first(data.get("WindowCenter")), _first(data.get("WindowWidth"))
    if centre is None or width is None or width <= 0:
        return values, full
    values = values.astype(np.float64)
    kind = data.get("VOILUTFunction", "LINEAR")
    if kind == "SIGMOID":
        return 1 / (1 + np.exp(-4 * (values - centre) / width)), (0.0, 1.0)
    if kind == "LINEAR_EXACT":
        return values, (centre - width / 2, centre + width / 2)
    low = centre - width / 2
    return values, (low, low + max(width - 1, 1e-6))


def _first(value: Any) -> float | None:
    """Return the first of one or several numbers, None where there is none."""
    if value is None or value == "":
        return None
    several = isinstance(value, list | tuple) or hasattr(value, "__getitem__")
    return float(value[0] if several else value)
