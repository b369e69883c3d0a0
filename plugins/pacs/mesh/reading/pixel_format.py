"""How the samples of an instance are stored (PS3.3 C.7.6.3, PS3.5 section 8)."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Any, Final

import numpy as np
from numpy.typing import NDArray

from pacs.mesh.errors import TruncatedInstance, UnsuitablePixels
from pacs.mesh.reading.elements import DOUBLE_PIXEL_DATA, EXPLICIT_VR_BIG_ENDIAN, FLOAT_PIXEL_DATA
from pacs.mesh.reading.header import Header

_GRAY: Final = frozenset({"", "MONOCHROME1", "MONOCHROME2"})
_INTEGER_BITS: Final = (8, 16, 32)


@dataclass(frozen=True, slots=True)
class PixelFormat:
    """The samples of one frame.

    Attributes
    ----------
    dtype : native byte order.
    is_swapped : they are stored in the other byte order.
    shift_left, shift_right : what brings a sample's bits to its top, and back down with its sign.
    lowest, highest : what the bits of an integer can hold.
    """

    rows: int
    columns: int
    dtype: np.dtype[Any]
    is_signed: bool
    is_swapped: bool
    shift_left: int
    shift_right: int
    lowest: float
    highest: float

    @property
    def frame_bytes(self) -> int:
        """Of one frame, uncompressed."""
        return self.rows * self.columns * self.dtype.itemsize

    @property
    def is_integer(self) -> bool:
        """Whether the samples are integers."""
        return self.dtype.kind in "iu"

    def without_strange_bits(self, samples: NDArray[Any]) -> NDArray[Any]:
        """Clear the bits that belong to no sample: old overlays lie there, and scanners leave other things."""
        return (samples << self.shift_left) >> self.shift_right


def format_of(header: Header) -> PixelFormat:
    """Return how the samples of an instance are stored.

    Raises
    ------
    UnsuitablePixels : they are no gray values.
    """
    numbers, bits = header.numbers, header.numbers.get("BitsAllocated", 16)
    interpretation = header.text("PhotometricInterpretation").upper()
    if numbers.get("SamplesPerPixel", 1) != 1 or interpretation not in _GRAY:
        raise _unsuitable(header, f"is in color ({interpretation})")
    if not numbers.get("Rows") or not numbers.get("Columns"):
        raise _unsuitable(header, "has no rows or columns")
    tag = header.pixels.tag if header.pixels else None
    if tag in (FLOAT_PIXEL_DATA, DOUBLE_PIXEL_DATA):
        return _floats(header, np.dtype("f4" if tag == FLOAT_PIXEL_DATA else "f8"))
    if bits not in _INTEGER_BITS:
        raise _unsuitable(header, f"has {bits} bits allocated for a pixel", "Ask for the series with 16 bits a pixel.")
    return integer_format(header)


def _floats(header: Header, dtype: np.dtype[Any]) -> PixelFormat:
    return PixelFormat(
        header.numbers["Rows"],
        header.numbers["Columns"],
        dtype,
        is_signed=True,
        is_swapped=header.transfer_syntax_uid == EXPLICIT_VR_BIG_ENDIAN,
        shift_left=0,
        shift_right=0,
        lowest=-np.inf,
        highest=np.inf,
    )


def integer_format(header: Header) -> PixelFormat:
    """Return how integers of 8, 16 or 32 bits are stored, whatever they mean; single bits as if each had a byte."""
    numbers, bits = header.numbers, max(header.numbers.get("BitsAllocated", 16), 8)
    stored = min(numbers.get("BitsStored") or bits, bits)
    top = min(numbers.get("HighBit", stored - 1), bits - 1)
    top = max(top, stored - 1)
    is_signed = numbers.get("PixelRepresentation", 0) == 1
    return PixelFormat(
        numbers["Rows"],
        numbers["Columns"],
        np.dtype(f"{'i' if is_signed else 'u'}{bits // 8}"),
        is_signed,
        header.transfer_syntax_uid == EXPLICIT_VR_BIG_ENDIAN,
        shift_left=bits - 1 - top,
        shift_right=bits - stored,
        lowest=-(2 ** (stored - 1)) if is_signed else 0,
        highest=2 ** (stored - 1) - 1 if is_signed else 2**stored - 1,
    )


def _unsuitable(header: Header, fault: str, remedy: str = "Choose a series of slices.") -> UnsuitablePixels:
    return UnsuitablePixels(
        f"A volume is made of gray values of 8, 16 or 32 bits or of floats, but instance {header.sop_instance_uid} "
        f"{fault}.",
        remedy=remedy,
        sop_instance_uids=[header.sop_instance_uid],
    )


def require_whole(header: Header, form: PixelFormat) -> None:
    """Refuse an instance whose uncompressed pixels are not all there; of compressed ones decoding tells.

    Raises
    ------
    TruncatedInstance : there are fewer bytes than pixels.
    """
    place = header.pixels
    if place is None or place.length is None:
        return
    expected = form.frame_bytes * header.frames
    found = min(place.length, max(header.size - place.start, 0))
    if found < expected:
        raise truncated(header, f"{header.frames} x {form.rows} x {form.columns} pixels need {expected} bytes", found)


def truncated(header: Header, expected: str, found: int) -> TruncatedInstance:
    """Return the refusal of an instance that ends too early."""
    return TruncatedInstance(
        f"The file of instance {header.sop_instance_uid} ends too early: {expected}, there are {found}.",
        remedy="Send the instance again.",
        sop_instance_uids=[header.sop_instance_uid],
    )
