"""DICOM files that would end or choke Orthanc, found before they are stored.

Orthanc decodes inside its own process, and Debian 13's DCMTK 3.6.9 does not survive some malformed pixel data: its
RLE decoder follows a null pointer at an empty fragment, and a few bytes that claim two thousand million frames cost
gigabytes. The web viewer decodes each image as it arrives, so one file would be enough. Refused is what is dangerous,
not what is merely odd: an archive keeps what a modality sends.

Sources: PS3.5 annexes A.4 (encapsulation) and G (RLE); PS3.3 sections C.7.6.3 (image pixel) and C.7.6.6 (multi-frame).
"""

from __future__ import annotations

import struct
from collections.abc import Iterator
from dataclasses import dataclass, field
from itertools import pairwise

from pacs.ingest.dicom_walk import MalformedDicom, Walked, WalkLimits, walk

_ITEM = b"\xfe\xff\x00\xe0"
_RLE = "1.2.840.10008.1.2.5"
_RLE_HEADER = struct.Struct("<16L")
_RLE_SEGMENTS = 15
# MPEG-2, MPEG-4, HEVC: one stream holds all frames, so they are not counted by fragments.
_VIDEO = tuple(f"1.2.840.10008.1.2.4.{number}" for number in range(100, 109))
_SAMPLES, _FRAMES = (0x0028, 0x0002), (0x0028, 0x0008)
_ROWS, _COLUMNS, _BITS = (0x0028, 0x0010), (0x0028, 0x0011), (0x0028, 0x0100)


@dataclass(frozen=True)
class PixelLimits:
    """How much a decoder may be asked to make of one object.

    Attributes
    ----------
    frame_bytes : one decoded frame of a compressed image. The largest detectors make some 200 MB.
    unbacked_frame_bytes : one frame of an uncompressed image that has less data than it declares.
    video_frames : frames of a video, which cannot be counted without decoding it.
    """

    frame_bytes: int = 512 * 1024 * 1024
    unbacked_frame_bytes: int = 32 * 1024 * 1024
    video_frames: int = 1_000_000
    walk: WalkLimits = field(default_factory=WalkLimits)


@dataclass(frozen=True)
class _Image:
    """What the header declares. A number that is missing or unreadable is 0, the number of frames 1."""

    rows: int
    columns: int
    samples: int
    bits_allocated: int
    frames: int

    @classmethod
    def of(cls, walked: Walked) -> _Image:
        """Read the numbers that describe the image; one that is missing or cut counts as 0."""
        order = ">H" if walked.big_endian else "<H"

        def number(tag: tuple[int, int]) -> int:
            value = walked.numbers.get(tag, b"")
            return int(struct.unpack_from(order, value)[0]) if len(value) >= 2 else 0  # noqa: PLR2004 - a US has two bytes

        return cls(
            number(_ROWS), number(_COLUMNS), number(_SAMPLES), number(_BITS), _frames(walked.numbers.get(_FRAMES, b""))
        )

    @property
    def frame_bytes(self) -> int:
        return (self.rows * self.columns * max(self.samples, 1) * self.bits_allocated + 7) // 8


def find_fault(dicom: bytes | memoryview, limits: PixelLimits = PixelLimits()) -> str | None:
    """Return why a file must not reach Orthanc's parser and decoders, without the patient's data, or None.

    What is no DICOM file at all has no fault here: Orthanc refuses it by itself. Called in the thread that receives;
    costs the reading of the header (about 0.1 ms).
    """
    try:
        walked = walk(dicom, limits.walk)
        if walked is None or walked.pixel_data is None:
            return None
        _check(walked, _Image.of(walked), limits)
    except MalformedDicom as fault:
        return str(fault)
    return None


def _frames(value: bytes) -> int:
    """Return NumberOfFrames (an integer string); Orthanc reads what is no number as one frame."""
    try:
        return int(value.decode("ascii").strip("\0 ") or "1")
    except ValueError:
        return 1


def _check(walked: Walked, image: _Image, limits: PixelLimits) -> None:
    if image.frames < 0:
        raise MalformedDicom(f"{image.frames} frames are declared")
    if not image.rows * image.columns and {_ROWS, _COLUMNS} <= walked.numbers.keys():
        # DICOMweb never answers when it is to render such an image.
        raise MalformedDicom(f"an image of {image.rows} rows and {image.columns} columns is declared")
    if walked.pixel_length is None:
        _check_encapsulated(walked, image, limits)
    else:
        _check_native(walked.pixel_length, image, limits)


def _check_native(length: int, image: _Image, limits: PixelLimits) -> None:
    """Raise when frames or the size of a frame are not backed by data. One frame that was cut short is no danger."""
    if image.frames > 1 and image.frames * image.frame_bytes > length + 1:
        raise MalformedDicom(
            f"{image.frames} frames of {image.frame_bytes} bytes are declared, {length} bytes are there"
        )
    if image.frame_bytes > max(limits.unbacked_frame_bytes, length):
        raise MalformedDicom(f"a frame of {image.frame_bytes} bytes is declared, {length} bytes are there")


def _check_encapsulated(walked: Walked, image: _Image, limits: PixelLimits) -> None:
    """Raise when fragments are damaged, fewer than the frames, or a frame is too large to be decoded."""
    fragments = list(_fragments(walked))
    if image.frame_bytes > limits.frame_bytes:
        raise MalformedDicom(f"a frame decodes to {image.frame_bytes} bytes; {limits.frame_bytes} are allowed")
    if walked.transfer_syntax_uid.startswith(_VIDEO):
        if image.frames > limits.video_frames:
            raise MalformedDicom(f"{image.frames} frames are declared; {limits.video_frames} are allowed")
    elif image.frames > max(len(fragments), 1):
        raise MalformedDicom(f"{image.frames} frames are declared in {len(fragments)} fragments")
    if walked.transfer_syntax_uid == _RLE:
        _check_rle(walked.data, fragments, image)


def _fragments(walked: Walked) -> Iterator[tuple[int, int]]:
    """Yield offset and length of each fragment; the first item, the offset table, is left out."""
    data, position, first = walked.data, walked.pixel_data or 0, True
    while data[position : position + 4] == _ITEM:
        length = int.from_bytes(data[position + 4 : position + 8], "little")
        position += 8
        if position + length > len(data):
            raise MalformedDicom(f"a fragment claims {length} bytes where {len(data) - position} are left")
        if not first:
            yield position, length
        first = False
        position += length


def _check_rle(data: bytes | memoryview, fragments: list[tuple[int, int]], image: _Image) -> None:
    """Raise when the header of an RLE frame leads out of its fragment: what DCMTK's decoder does not check."""
    if not fragments:
        raise MalformedDicom("the RLE image has no fragment")
    segments = image.samples * ((image.bits_allocated + 7) // 8)
    for start, length in fragments:
        if length < _RLE_HEADER.size:
            raise MalformedDicom(f"an RLE fragment has {length} bytes, fewer than its header")
        count, *offsets = _RLE_HEADER.unpack_from(data, start)
        if not 1 <= count <= _RLE_SEGMENTS or count != segments:
            raise MalformedDicom(f"an RLE fragment has {count} segments, the image needs {segments}")
        edges = [*offsets[:count], length]
        if edges[0] != _RLE_HEADER.size or any(low >= high for low, high in pairwise(edges)):
            raise MalformedDicom("the segments of an RLE fragment are out of order or out of bounds")
