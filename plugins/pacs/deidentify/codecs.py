"""Frames out of compressed streams, and without loss back into them, by imagecodecs.

What was lossless stays in its own syntax where that has an encoder here, and becomes JPEG 2000 Lossless else: a lossy
picture would lose once more. Colors of lossy JPEG become RGB, as every viewer would make of them.
"""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

import imagecodecs
import numpy as np
from numpy.typing import NDArray
from pydicom.uid import JPEG2000Lossless, JPEGLSLossless

from pacs.deidentify.errors import Refused

type Samples = NDArray[Any]

_PREFIX = "1.2.840.10008.1.2."
RLE = f"{_PREFIX}5"
_JPEG = frozenset(f"{_PREFIX}4.{number}" for number in (50, 51, 57, 70))
_LOSSY_JPEG = frozenset(f"{_PREFIX}4.{number}" for number in (50, 51))
_JPEG_LS = frozenset(f"{_PREFIX}4.{number}" for number in (80, 81))
_JPEG_2000 = frozenset(f"{_PREFIX}4.{number}" for number in (90, 91, 201, 202, 203))
_COLORS = 3


def decoder(syntax: str, photometric: str, dtype: np.dtype[Any], shape: tuple[int, ...]) -> Callable[[bytes], Samples]:
    """Return what decodes the frames of a transfer syntax, each to shape (rows, columns) or (rows, columns, 3).

    Raises
    ------
    Refused : nothing here does: it is a video, or of a kind that is not in use.
    """
    if syntax in _LOSSY_JPEG and len(shape) == _COLORS:
        stored = "RGB" if photometric == "RGB" else "YCBCR"
        return lambda stream: imagecodecs.jpeg_decode(stream, colorspace=stored, outcolorspace="RGB")
    if syntax in _JPEG:
        return imagecodecs.jpeg_decode
    if syntax in _JPEG_LS:
        return imagecodecs.jpegls_decode
    if syntax in _JPEG_2000:
        return imagecodecs.jpeg2k_decode
    if syntax == RLE:
        return lambda stream: _rle(stream, dtype, shape)
    raise Refused(
        "The image is a video or in a compression that can't be changed without loss, and its mask blanks a part.",
        remedy="Leave it out, or send it uncompressed to this archive.",
    )


def has_comments(syntax: str) -> bool:
    """Tell whether streams of a transfer syntax are looked through for what is no picture."""
    return syntax == RLE or syntax in _JPEG | _JPEG_LS | _JPEG_2000


def photometric_of(syntax: str, photometric: str) -> str:
    """Return the photometric interpretation of what the decoder gives."""
    if photometric in ("YBR_RCT", "YBR_ICT") or (syntax in _LOSSY_JPEG and photometric.startswith("YBR")):
        return "RGB"
    return photometric


def encoder(syntax: str, bits_stored: int, *, is_signed: bool) -> tuple[str, Callable[[Samples], bytes]]:
    """Return the transfer syntax in which frames are written again, and what encodes them."""
    if syntax in _JPEG_LS and not is_signed:
        return str(JPEGLSLossless), lambda samples: bytes(imagecodecs.jpegls_encode(samples))
    return str(JPEG2000Lossless), lambda samples: _jpeg_2000(samples, bits_stored)


def _jpeg_2000(samples: Samples, bits_stored: int) -> bytes:
    colors = samples.ndim == _COLORS
    stream = imagecodecs.jpeg2k_encode(
        samples,
        level=0,
        codecformat="J2K",
        colorspace="SRGB" if colors else "GRAY",
        reversible=True,
        mct=colors,
        bitspersample=bits_stored,
        numthreads=1,
    )
    return bytes(stream)


def _rle(stream: bytes, dtype: np.dtype[Any], shape: tuple[int, ...]) -> Samples:
    plain = imagecodecs.dicomrle_decode(stream, dtype)
    samples = np.frombuffer(plain, dtype)[: int(np.prod(shape))]
    if len(shape) < _COLORS:
        return samples.reshape(shape)
    # Colors lie plane by plane (PS3.5 G.2).
    return np.moveaxis(samples.reshape(shape[2], *shape[:2]), 0, 2)
