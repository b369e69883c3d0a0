"""DICOM files in the transfer syntaxes that need no more than pydicom and Pillow (DICOM PS3.5 A)."""

from __future__ import annotations

from copy import copy, deepcopy
from io import BytesIO
from pathlib import Path

import numpy as np
from numpy.typing import NDArray
from PIL import Image
from pydicom import dcmwrite
from pydicom.dataset import Dataset
from pydicom.encaps import encapsulate
from pydicom.uid import (
    UID,
    DeflatedExplicitVRLittleEndian,
    ExplicitVRBigEndian,
    ExplicitVRLittleEndian,
    ImplicitVRLittleEndian,
    JPEGBaseline8Bit,
    RLELossless,
)

NATIVE_SYNTAXES = (
    ImplicitVRLittleEndian,
    ExplicitVRLittleEndian,
    ExplicitVRBigEndian,
    DeflatedExplicitVRLittleEndian,
)


def encoded(dataset: Dataset) -> bytes:
    """Return `dataset` as a DICOM file in the transfer syntax that its file meta information names."""
    buffer = BytesIO()
    dcmwrite(buffer, dataset, enforce_file_format=True)
    return buffer.getvalue()


def write(dataset: Dataset, path: Path) -> Path:
    """Write `dataset` as a DICOM file and return the path."""
    path.parent.mkdir(parents=True, exist_ok=True)
    dcmwrite(path, dataset, enforce_file_format=True)
    return path


def transcoded(dataset: Dataset, syntax: UID) -> Dataset:
    """Return a copy of `dataset`, which is Explicit VR Little Endian, in another transfer syntax.

    Raises
    ------
    ValueError
        The syntax needs an encoder that this module has not.
    """
    if syntax in NATIVE_SYNTAXES:
        return _in_native(dataset, syntax)
    if syntax == RLELossless:
        result = _copied(dataset, dataset.file_meta.TransferSyntaxUID)
        result.compress(RLELossless, encoding_plugin="pydicom", generate_instance_uid=False)
        return result
    if syntax == JPEGBaseline8Bit:
        return in_jpeg_baseline(dataset)
    raise ValueError(f"no encoder for {syntax.name} here")


def in_jpeg_baseline(dataset: Dataset, *, quality: int = 88) -> Dataset:
    """Return a lossy copy of an 8 bit `dataset`, gray or RGB; colors become YBR_FULL_422."""
    pixels = np.frombuffer(dataset.PixelData, np.uint8)
    shape = (int(dataset.get("NumberOfFrames", 1)), dataset.Rows, dataset.Columns, dataset.SamplesPerPixel)
    frames = pixels[: int(np.prod(shape))].reshape(shape)
    streams = [_jpeg(frame, quality) for frame in frames]
    result = _copied(dataset, JPEGBaseline8Bit)
    if dataset.SamplesPerPixel > 1:
        result.PhotometricInterpretation = "YBR_FULL_422"
    result.PixelData = encapsulate(streams)
    result["PixelData"].VR = "OB"
    result["PixelData"].is_undefined_length = True
    result.LossyImageCompression = "01"
    result.LossyImageCompressionRatio = round(frames.nbytes / sum(map(len, streams)), 2)
    result.LossyImageCompressionMethod = "ISO_10918_1"
    return result


def _jpeg(frame: NDArray[np.uint8], quality: int) -> bytes:
    buffer = BytesIO()
    # 4:2:2, as DICOM wants it for YBR_FULL_422 (PS3.5 8.2.1).
    Image.fromarray(frame.squeeze()).save(buffer, "JPEG", quality=quality, subsampling="4:2:2")
    return buffer.getvalue()


def _in_native(dataset: Dataset, syntax: UID) -> Dataset:
    result = _copied(dataset, syntax)
    if syntax == ExplicitVRBigEndian and dataset.get("BitsAllocated") == 16:  # noqa: PLR2004 -- words
        # pydicom writes OW as it is: the words are for us to turn.
        result.PixelData = np.frombuffer(dataset.PixelData, "<u2").astype(">u2").tobytes()
        result["PixelData"].VR = "OW"
    return result


def _copied(dataset: Dataset, syntax: UID) -> Dataset:
    result = Dataset()
    result.update({element.tag: copy(element) for element in dataset})
    # A shallow copy would share its elements with the original.
    result.file_meta = deepcopy(dataset.file_meta)
    result.file_meta.TransferSyntaxUID = syntax
    return result
