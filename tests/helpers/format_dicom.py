"""The rows of docs/formats.md on DICOM."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import numpy as np
import pydicom
from format_tools import case, noise, to_bytes
from pydicom.dataset import Dataset, FileMetaDataset
from pydicom.pixels import apply_voi_lut
from pydicom.uid import ExplicitVRLittleEndian, RLELossless, SecondaryCaptureImageStorage


def dicom(
    path: Path, pixels: np.ndarray, bits: int, *, syntax: Any = ExplicitVRLittleEndian, **more: Any
) -> Any:
    """Write a DICOM file of one image; return it as pydicom reads it."""
    meta, data = FileMetaDataset(), Dataset()
    meta.TransferSyntaxUID, meta.MediaStorageSOPClassUID = (
        ExplicitVRLittleEndian,
        SecondaryCaptureImageStorage,
    )
    meta.MediaStorageSOPInstanceUID = data.SOPInstanceUID = "1.2.3"
    data.file_meta, data.SOPClassUID = meta, SecondaryCaptureImageStorage
    data.Rows, data.Columns = pixels.shape[:2]
    data.SamplesPerPixel = pixels.shape[2] if pixels.ndim == 3 else 1
    data.PhotometricInterpretation = "MONOCHROME2" if pixels.ndim == 2 else "RGB"
    if pixels.ndim == 3:
        data.PlanarConfiguration = 0
    data.BitsAllocated, data.BitsStored, data.HighBit = 8 * pixels.itemsize, bits, bits - 1
    data.PixelRepresentation = int(pixels.dtype.kind == "i")
    data.PixelData = pixels.tobytes()
    for name, value in more.items():
        setattr(data, name, value)
    if syntax != ExplicitVRLittleEndian:
        data.compress(syntax)
    data.save_as(path, enforce_file_format=True)
    return pydicom.dcmread(path)


@case("DICOM, 12 bits", "0…4095 become 0…255", "a.dcm")
def _(path):
    pixels = noise(kind=np.uint16) >> 4
    dicom(path, pixels, 12)
    return to_bytes(pixels, 0, 4095)


@case("DICOM, 16 bits with sign", "-32768…32767 become 0…255", "a.dcm")
def _(path):
    pixels = noise(kind=np.int16)
    pixels[0] = -32768  # as padding around a scan often is
    dicom(path, pixels, 16)
    return to_bytes(pixels, -32768, 32767)


@case("DICOM, 16 bits, RLE", "0…65535 become 0…255", "a.dcm")
def _(path):
    pixels = noise(kind=np.uint16)
    dicom(path, pixels, 16, syntax=RLELossless)
    return to_bytes(pixels, 0, 65535)


@case("DICOM, MONOCHROME1", "inverted: high values are bright", "a.dcm")
def _(path):
    pixels = noise(kind=np.uint16) >> 4
    dicom(path, pixels, 12, PhotometricInterpretation="MONOCHROME1")
    return 255 - to_bytes(pixels, 0, 4095)


@case("DICOM with a window", "the first window becomes 0…255", "a.dcm", atol=1)
def _(path):
    pixels = noise(kind=np.uint16) >> 4
    data = dicom(path, pixels, 12, WindowCenter=[1800, 40], WindowWidth=[900, 400])
    return to_bytes(apply_voi_lut(pixels, data), 0, 4095)


@case("DICOM with a window, LINEAR_EXACT", "the same", "a.dcm", atol=1)
def _(path):
    pixels = noise(kind=np.uint16) >> 4
    more = {"WindowCenter": 1800, "WindowWidth": 900, "VOILUTFunction": "LINEAR_EXACT"}
    return to_bytes(apply_voi_lut(pixels, dicom(path, pixels, 12, **more)), 0, 4095)


@case("DICOM with a window, SIGMOID", "the file's curve", "a.dcm", atol=1)
def _(path):
    pixels = noise(kind=np.uint16) >> 4
    more = {"WindowCenter": 1800, "WindowWidth": 900, "VOILUTFunction": "SIGMOID"}
    return to_bytes(apply_voi_lut(pixels, dicom(path, pixels, 12, **more)), 0, 4095)


@case("DICOM with a table of values (VOI LUT)", "the file's table", "a.dcm", atol=1)
def _(path):
    pixels, table = noise(kind=np.uint16) >> 8, Dataset()
    table.LUTDescriptor = [256, 0, 12]
    table.LUTData = (np.arange(256) ** 2 // 16).astype(np.uint16).tobytes()
    data = dicom(path, pixels, 8, VOILUTSequence=[table])
    return to_bytes(apply_voi_lut(pixels, data), 0, 4095)


@case(
    "DICOM, slope, intercept and window (a CT)",
    "the window, in Hounsfield units",
    "a.dcm",
    atol=1,
)
def _(path):
    pixels = noise(kind=np.int16) >> 4
    more = {"RescaleSlope": 2, "RescaleIntercept": -1024, "WindowCenter": 40, "WindowWidth": 400}
    dicom(path, pixels, 12, **more)
    units = pixels * 2.0 - 1024
    return to_bytes(units, 40 - 0.5 - 399 / 2, 40 - 0.5 + 399 / 2)


@case(
    "DICOM, a CT, `--depth-window -1000,400`",
    "-1000…400 Hounsfield units become 0…255",
    "a.dcm",
    depth_window="-1000,400",
    atol=1,
)
def _(path):
    pixels = noise(kind=np.int16) >> 4
    more = {"RescaleSlope": 2, "RescaleIntercept": -1024, "WindowCenter": 40, "WindowWidth": 400}
    dicom(path, pixels, 12, **more)
    return to_bytes(pixels * 2.0 - 1024, -1000, 400)


@case("DICOM, RGB", "the same pixels", "a.dcm", channels=3)
def _(path):
    pixels = noise(3)
    dicom(path, pixels, 8)
    return pixels


@case("DICOM without a suffix", "read by its content", "IM0001")
def _(path):
    pixels = noise()
    dicom(path, pixels, 8)
    return pixels
