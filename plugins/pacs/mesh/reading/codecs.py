"""Compressed frames to samples, by imagecodecs, which computes without the interpreter's lock.

Source: PS3.6 table A-1 (transfer syntaxes), PS3.5 A.4 and G (what each holds).
"""

from __future__ import annotations

import zlib
from collections.abc import Callable, Mapping
from typing import Any, Final

import imagecodecs
import numpy as np
from numpy.typing import NDArray

from pacs.mesh.reading.pixel_format import PixelFormat

type Samples = NDArray[Any]
type Decode = Callable[[bytes, PixelFormat], Samples]


class NoDecoder(ValueError):
    """Frames of this transfer syntax are not decoded."""


def decoded(transfer_syntax_uid: str, stream: bytes, form: PixelFormat) -> Samples:
    """Return the samples of a frame, shape (rows, columns), as `form` says that they are stored.

    Raises
    ------
    NoDecoder : nothing here decodes this transfer syntax.
    EOFError : the stream was cut: decoders would fill what is missing and say nothing.
    RuntimeError, ValueError : the stream is damaged, or of another shape.
    """
    decode = _DECODERS.get(transfer_syntax_uid)
    if decode is None:
        raise NoDecoder(transfer_syntax_uid)
    if transfer_syntax_uid in _ENDING_IN_A_MARKER and _END_OF_IMAGE not in stream.rstrip(b"\0")[-_TAIL_BYTES:]:
        raise EOFError
    samples = np.squeeze(decode(stream, form))
    if samples.shape != (form.rows, form.columns):
        raise ValueError(samples.shape)
    return _as_stored(samples, form)


def decoded_bits(transfer_syntax_uid: str, stream: bytes, form: PixelFormat) -> NDArray[np.uint8]:
    """Return the pixels of a frame of single bits, shape (rows, columns): 0 or 1.

    Deflated or in RLE they are packed, eight in a byte, each frame for itself; JPEG 2000 has samples of one bit.

    Raises
    ------
    NoDecoder, EOFError, RuntimeError, ValueError : see `decoded`.
    """
    if transfer_syntax_uid not in (_RLE, _DEFLATED_FRAMES):
        return (decoded(transfer_syntax_uid, stream, form) > 0).astype(np.uint8)
    is_rle = transfer_syntax_uid == _RLE
    plain = imagecodecs.dicomrle_decode(stream, form.dtype) if is_rle else _inflated(stream)
    pixels, count = np.frombuffer(plain, np.uint8), form.rows * form.columns
    if len(pixels) < count:
        pixels = np.unpackbits(pixels, bitorder="little")
    return pixels[:count].reshape(form.rows, form.columns)


def _as_stored(samples: Samples, form: PixelFormat) -> Samples:
    """Take samples for signed if they are stored so: most codecs know of unsigned ones only. They may be changed."""
    kind = "i" if form.is_signed else "u"
    own = samples.view(f"{kind}{samples.dtype.itemsize}")
    return own.astype(form.dtype, copy=not own.flags.writeable)


def _jpeg(stream: bytes, _form: PixelFormat) -> Samples:
    return imagecodecs.jpeg_decode(stream)


def _jpeg_ls(stream: bytes, _form: PixelFormat) -> Samples:
    return imagecodecs.jpegls_decode(stream)


def _jpeg_2000(stream: bytes, _form: PixelFormat) -> Samples:
    return imagecodecs.jpeg2k_decode(stream)


def _jpeg_xl(stream: bytes, _form: PixelFormat) -> Samples:
    return imagecodecs.jpegxl_decode(stream)


def _deflated(stream: bytes, form: PixelFormat) -> Samples:
    return np.frombuffer(_inflated(stream), form.dtype)[: form.rows * form.columns].reshape(form.rows, form.columns)


def _inflated(stream: bytes) -> bytes:
    try:
        return zlib.decompressobj(-zlib.MAX_WBITS).decompress(stream)
    except zlib.error as fault:
        raise ValueError from fault


def _rle(stream: bytes, form: PixelFormat) -> Samples:
    """Put together the bytes of samples, which RLE holds plane by plane, the most significant first (PS3.5 G.2)."""
    plain = imagecodecs.dicomrle_decode(stream, form.dtype)
    return np.frombuffer(plain, form.dtype)[: form.rows * form.columns].reshape(form.rows, form.columns)


_PREFIX: Final = "1.2.840.10008.1.2."
# Streams of JPEG, JPEG-LS and JPEG 2000 end with the same marker, after which there may be padding.
_ENDING_IN_A_MARKER: Final = frozenset(
    f"{_PREFIX}4.{number}" for number in (50, 51, 57, 70, 80, 81, 90, 91, 201, 202, 203)
)
_END_OF_IMAGE: Final = b"\xff\xd9"
_TAIL_BYTES: Final = 16
_RLE: Final = f"{_PREFIX}5"
_DEFLATED_FRAMES: Final = f"{_PREFIX}8.1"
_DECODERS: Final[Mapping[str, Decode]] = {
    **{f"{_PREFIX}4.{number}": _jpeg for number in (50, 51, 57, 70)},
    **{f"{_PREFIX}4.{number}": _jpeg_ls for number in (80, 81)},
    **{f"{_PREFIX}4.{number}": _jpeg_2000 for number in (90, 91, 201, 202, 203)},
    **{f"{_PREFIX}4.{number}": _jpeg_xl for number in (110, 111, 112)},
    _RLE: _rle,
    _DEFLATED_FRAMES: _deflated,
}
