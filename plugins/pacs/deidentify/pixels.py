"""Pixels: what masks blank, what old overlays left in unused bits, what lies behind the last frame.

Sources: PS3.3 C.7.6.3 (Image Pixel Module), PS3.5 8.1 and 8.2, PS3.15 E.3.1.
"""

from __future__ import annotations

from collections.abc import Iterable
from dataclasses import dataclass
from typing import Any

import numpy as np
from numpy.typing import NDArray
from pydicom.dataset import Dataset
from pydicom.encaps import encapsulate, generate_frames
from pydicom.uid import UID, ImplicitVRLittleEndian, JPEG2000Lossless

from pacs.deidentify import codecs
from pacs.deidentify.changes import Change, Done
from pacs.deidentify.errors import Refused
from pacs.deidentify.masks import Mask, Rectangle
from pacs.deidentify.streams import Damaged, without_comments, without_spare_offsets
from pacs.deidentify.values import text

type Samples = NDArray[Any]

_PLACE = "7FE00010"
_KEYWORDS = ("PixelData", "FloatPixelData", "DoubleFloatPixelData")
_NEUTRAL_CHROMA = 128
_COLORS = 3
_LARGEST_OFFSET = 1 << 32


@dataclass(frozen=True)
class Form:
    """How pixels lie in the bytes.

    Attributes
    ----------
    dtype : of a sample, in the byte order of the file.
    samples : for each pixel, 1 or 3.
    is_planar : all of one color first, then the next.
    is_subsampled : two pixels share their chroma, four bytes for both (YBR_FULL_422, PS3.3 C.7.6.3.1.2).
    """

    rows: int
    columns: int
    frames: int
    samples: int
    dtype: np.dtype[Any]
    bits_stored: int
    is_signed: bool
    is_planar: bool
    photometric: str

    @property
    def is_subsampled(self) -> bool:
        """Whether two pixels share their chroma."""
        return self.photometric == "YBR_FULL_422"

    @property
    def shape(self) -> tuple[int, ...]:
        """Of a decoded frame."""
        return (self.rows, self.columns) if self.samples == 1 else (self.rows, self.columns, self.samples)

    @property
    def stored_shape(self) -> tuple[int, ...]:
        """Of a frame as uncompressed bytes hold it."""
        if self.is_subsampled:
            return (self.rows, self.columns // 2, 4)
        return (self.samples, self.rows, self.columns) if self.is_planar and self.samples > 1 else self.shape


def clean_pixels(dataset: Dataset, masks: tuple[Mask, ...]) -> list[Change]:
    """Blank what the masks say and take away what is no picture, in place.

    Raises
    ------
    Refused : a mask can't be laid on these pixels without loss, or the pixels are not what the instance says.
    """
    keyword = next((keyword for keyword in _KEYWORDS if keyword in dataset), None)
    if keyword is None:
        return []
    rectangles = [rectangle for mask in masks for rectangle in mask.rectangles]
    if UID(_syntax(dataset)).is_encapsulated:
        return _clean_encapsulated(dataset, rectangles)
    return _clean_native(dataset, keyword, rectangles)


def _clean_native(dataset: Dataset, keyword: str, rectangles: list[Rectangle]) -> list[Change]:
    stray = _overlay_bits(dataset)
    value = dataset.get_item(keyword).value
    if not isinstance(value, bytes):
        value = dataset[keyword].value
    form = _form(dataset, keyword)
    if text(dataset, "BitsAllocated") == "1":
        return _clean_bits(dataset, value, form, rectangles)
    size_bytes = form.frames * int(np.prod(form.stored_shape)) * form.dtype.itemsize
    if len(value) < size_bytes:
        raise _not_as_told()
    if not rectangles and not stray and len(value) <= size_bytes + size_bytes % 2:
        return []
    pixels = np.frombuffer(value[:size_bytes], form.dtype).reshape(form.frames, *form.stored_shape).copy()
    if stray:
        pixels = _without_strange_bits(pixels, form)
    for frame in pixels:
        _blank_stored(frame, form, rectangles)
    dataset[keyword].value = pixels.tobytes() + bytes(size_bytes % 2)
    return [Change(_PLACE, Done.BLANKED)]


def _clean_bits(dataset: Dataset, value: bytes, form: Form, rectangles: list[Rectangle]) -> list[Change]:
    """Blank in images of one bit a pixel, eight in a byte across rows and frames (PS3.5 8.1.1)."""
    count = form.frames * form.rows * form.columns
    size_bytes = (count + 7) // 8
    if len(value) < size_bytes:
        raise _not_as_told()
    if not rectangles and len(value) <= size_bytes + size_bytes % 2:
        return []
    bits = np.unpackbits(np.frombuffer(value[:size_bytes], np.uint8), bitorder="little", count=count)
    frames = bits.reshape(form.frames, form.rows, form.columns)
    for rectangle in rectangles:
        frames[:, rectangle.top : rectangle.bottom, rectangle.left : rectangle.right] = 0
    dataset.PixelData = np.packbits(bits, bitorder="little").tobytes() + bytes(size_bytes % 2)
    return [Change(_PLACE, Done.BLANKED)]


def _clean_encapsulated(dataset: Dataset, rectangles: list[Rectangle]) -> list[Change]:
    syntax, form = _syntax(dataset), _form(dataset, "PixelData")
    if not rectangles and not _overlay_bits(dataset) and not codecs.has_comments(syntax):
        return []
    try:
        streams = list(generate_frames(dataset.PixelData, number_of_frames=form.frames))
        if rectangles or _overlay_bits(dataset):
            return _blank_encapsulated(dataset, syntax, form, streams, rectangles)
        tidy = [
            without_spare_offsets(stream) if syntax == codecs.RLE else without_comments(stream) for stream in streams
        ]
    except (Damaged, ValueError, RuntimeError, EOFError) as fault:
        raise _not_as_told() from fault
    _put_streams(dataset, tidy)
    return []


def _blank_encapsulated(
    dataset: Dataset, syntax: str, form: Form, streams: list[bytes], rectangles: list[Rectangle]
) -> list[Change]:
    decode = codecs.decoder(syntax, form.photometric, form.dtype, form.shape)
    target, encode = codecs.encoder(syntax, form.bits_stored, is_signed=form.is_signed)
    photometric = codecs.photometric_of(syntax, form.photometric)
    blanked = []
    for stream in streams:
        samples = _decoded(decode(stream), form)
        _blank(samples, photometric, rectangles)
        blanked.append(encode(samples))
    _put_streams(dataset, blanked)
    dataset.file_meta.TransferSyntaxUID = UID(target)
    if form.samples > 1:
        is_2000 = target == JPEG2000Lossless and photometric == "RGB"
        dataset.PhotometricInterpretation = "YBR_RCT" if is_2000 else photometric
        dataset.PlanarConfiguration = 0
    return [Change(_PLACE, Done.BLANKED)]


def _decoded(samples: Samples, form: Form) -> Samples:
    """Take what a decoder gave for what the instance says that it is."""
    if samples.shape != form.shape:
        raise _not_as_told()
    own = samples.astype(form.dtype.newbyteorder("="), copy=True)
    return _without_strange_bits(own, form)


def _blank_stored(frame: Samples, form: Form, rectangles: Iterable[Rectangle]) -> None:
    """Blank in a frame as uncompressed bytes hold it."""
    if form.is_subsampled:
        for one in rectangles:
            frame[one.top : one.bottom, one.left // 2 : (one.right + 1) // 2] = (0, 0, _NEUTRAL_CHROMA, _NEUTRAL_CHROMA)
        return
    is_planar = form.is_planar and form.samples > 1
    _blank(np.moveaxis(frame, 0, 2) if is_planar else frame, form.photometric, rectangles)


def _blank(frame: Samples, photometric: str, rectangles: Iterable[Rectangle]) -> None:
    black: Any = 0
    if frame.ndim == _COLORS:
        black = (0, _NEUTRAL_CHROMA, _NEUTRAL_CHROMA) if photometric.startswith("YBR") else 0
    elif photometric == "MONOCHROME1":
        black = frame.max()
    elif frame.dtype.kind in "if":
        # Of signed samples zero is a gray (water, in CT): the darkest of the frame is not brighter than its background.
        black = frame.min()
    for one in rectangles:
        frame[one.top : one.bottom, one.left : one.right] = black


def _without_strange_bits(samples: Samples, form: Form) -> Samples:
    """Clear the bits above the stored ones, and carry the sign of signed samples up into them."""
    if samples.dtype.kind not in "iu":
        return samples
    spare = samples.dtype.itemsize * 8 - form.bits_stored
    return (samples << spare) >> spare if spare else samples


def _overlay_bits(dataset: Dataset) -> bool:
    """Tell whether overlays say that they lie in the unused bits of the pixels (retired; PS3.3 C.9.2 of 2003)."""
    return any(
        dataset[tag].value not in (None, 0)
        for group in range(0x6000, 0x6020, 2)
        if (tag := group << 16 | 0x0102) in dataset and group << 16 | 0x3000 not in dataset
    )


def _form(dataset: Dataset, keyword: str) -> Form:
    syntax = UID(_syntax(dataset))
    try:
        bits, is_signed = int(dataset.BitsAllocated), bool(dataset.get("PixelRepresentation", 0))
        kinds = {"FloatPixelData": "f4", "DoubleFloatPixelData": "f8"}
        kind = kinds.get(keyword, f"{'i' if is_signed else 'u'}{max(bits, 8) // 8}")
        return Form(
            rows=int(dataset.Rows),
            columns=int(dataset.Columns),
            frames=int(dataset.get("NumberOfFrames") or 1),
            samples=int(dataset.get("SamplesPerPixel") or 1),
            dtype=np.dtype(f"{'<' if syntax.is_little_endian else '>'}{kind}"),
            bits_stored=int(dataset.get("BitsStored") or bits),
            is_signed=is_signed,
            is_planar=bool(dataset.get("PlanarConfiguration") or 0),
            photometric=text(dataset, "PhotometricInterpretation"),
        )
    except (AttributeError, TypeError, ValueError) as fault:
        raise _not_as_told() from fault


def _syntax(dataset: Dataset) -> str:
    meta = getattr(dataset, "file_meta", None)
    return str(meta.TransferSyntaxUID) if meta is not None and "TransferSyntaxUID" in meta else ImplicitVRLittleEndian


def _put_streams(dataset: Dataset, streams: list[bytes]) -> None:
    """Write the frames anew, each as one fragment."""
    is_short = sum(map(len, streams)) < _LARGEST_OFFSET
    dataset.PixelData = encapsulate(streams, has_bot=is_short)
    dataset["PixelData"].VR = "OB"
    dataset["PixelData"].is_undefined_length = True
    for keyword in ("ExtendedOffsetTable", "ExtendedOffsetTableLengths"):
        if keyword in dataset:
            delattr(dataset, keyword)


def _not_as_told() -> Refused:
    return Refused(
        "The pixels are not what the instance says of them: damaged, cut, or of another size.",
        remedy="Leave it out, or send the original to this archive once more.",
    )
