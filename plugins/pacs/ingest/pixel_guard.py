"""Images whose pixel data would end or choke a decoder, found before they are stored.

Orthanc decodes inside its own process, and Debian 13's DCMTK 3.6.9 does not survive some malformed pixel data: its RLE decoder reads through a
null pointer at an empty fragment; a few bytes that claim two thousand million frames cost gigabytes. The web viewer
decodes each image as it arrives, so one C-STORE would be enough. This module refuses what is dangerous, not what is merely odd:
an archive keeps what a modality sends.

Sources: PS3.5 annexes A.4 (encapsulation) and G (RLE); PS3.3 section C.7.6.3 (image pixel) and C.7.6.6 (multi-frame).
"""

from __future__ import annotations

import io
import struct
import zlib
from collections.abc import Iterator
from dataclasses import dataclass

from pydicom import Dataset, dcmread
from pydicom.errors import InvalidDicomError
from pydicom.uid import UID, DeflatedExplicitVRLittleEndian, ExplicitVRBigEndian, ImplicitVRLittleEndian, RLELossless

MEBIBYTE = 1024 * 1024
_PREAMBLE_BYTES = 132
_ITEM = b"\xfe\xff\x00\xe0"
_DELIMITER = b"\xfe\xff\xdd\xe0"
_UNDEFINED_LENGTH = 0xFFFFFFFF
_RLE_HEADER = struct.Struct("<16L")
_RLE_SEGMENTS = 15
_TAGS = ["Rows", "Columns", "SamplesPerPixel", "BitsAllocated", "NumberOfFrames"]
# MPEG-2, MPEG-4, HEVC: one stream holds all frames, so frames are not counted by fragments.
_VIDEO = tuple(f"1.2.840.10008.1.2.4.{number}" for number in range(100, 109))


@dataclass(frozen=True)
class PixelLimits:
    """How much a decoder may be asked to make of one object.

    Attributes
    ----------
    frame_bytes : one frame, decoded. The largest detector of today makes some 200 MB.
    frames : frames of a video, which cannot be counted without decoding it.
    deflated_bytes : what a deflated file may inflate to.
    """

    frame_bytes: int = 512 * MEBIBYTE
    frames: int = 1_000_000
    deflated_bytes: int = 2048 * MEBIBYTE


@dataclass(frozen=True)
class _Image:
    """What the header declares; a missing or unreadable number counts as 0 (NumberOfFrames: 1)."""

    rows: int
    columns: int
    samples: int
    bits_allocated: int
    frames: int

    @property
    def frame_bytes(self) -> int:
        return (self.rows * self.columns * max(self.samples, 1) * self.bits_allocated + 7) // 8


def find_pixel_fault(dicom: bytes, limits: PixelLimits = PixelLimits()) -> str | None:  # noqa: B008 - frozen
    """Return why a DICOM file must not reach a decoder, as a sentence without the patient's data, or None.

    What is no DICOM file at all has no fault here: Orthanc refuses it by itself. Costs the reading of the header; called in the thread
    that receives.
    """
    try:
        stream, syntax = _open(dicom, limits)
        header = dcmread(stream, force=True, stop_before_pixels=True, specific_tags=_TAGS)
    except _Oversized as oversized:
        return str(oversized)
    except (InvalidDicomError, EOFError, ValueError, KeyError, TypeError, AttributeError, NotImplementedError, OSError, struct.error):
        return None
    rest = stream.read()
    pixels = _pixel_data(rest, syntax)
    if pixels is None:
        return None
    value, encapsulated = pixels
    image = _image(header)
    if encapsulated:
        return _encapsulated_fault(value, image, syntax, limits)
    return _native_fault(value, image, limits)


class _Oversized(Exception):
    """The deflated data set is larger than allowed."""


def _open(dicom: bytes, limits: PixelLimits) -> tuple[io.BytesIO, UID]:
    """Return the file to read and its transfer syntax; a deflated one is inflated, within the limit, and told as explicit."""
    meta = dcmread(io.BytesIO(dicom), stop_before_pixels=True, specific_tags=["FileMetaInformationGroupLength"], defer_size=0)
    return io.BytesIO(dicom), UID(meta.file_meta.TransferSyntaxUID)
