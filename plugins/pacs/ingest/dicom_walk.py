"""A walk over the elements of a DICOM file that never recurses and never trusts a length.

pydicom and DCMTK both recurse into nested sequences and both take the space that an element claims to need: DCMTK
reads an element of 4 GB into memory where the file has 400 bytes, and a few hundred nested sequences are more than a
thread's stack holds. This walk only finds out whether a file is of that kind, reads the few numbers that describe the
image, and says where its pixel data starts.

Sources: PS3.5 sections 7.1 (elements), 7.5 (sequences), 6.2.2 note 4 (UN of undefined length is implicit), PS3.10
section 7.1 (file).
"""

from __future__ import annotations

import struct
import zlib
from dataclasses import dataclass, field
from typing import NamedTuple

from pacs.ingest.inflation import RAW_DEFLATE, InflatesTooFar, inflate

_PREAMBLE_BYTES = 128
_PREFIX = b"DICM"
_PREAMBLE = bytes(_PREAMBLE_BYTES) + _PREFIX
_META = b"\x02\x00"
_UNDEFINED = 0xFFFFFFFF
_ITEM_GROUP = 0xFFFE
_SEQUENCE_END = 0xE0DD
_PIXEL_DATA = (0x7FE0, 0x0010)
_META_GROUP, _TRANSFER_SYNTAX = 0x0002, 0x0010
_LONG_VALUES = frozenset({b"OB", b"OD", b"OF", b"OL", b"OV", b"OW", b"SQ", b"SV", b"UC", b"UN", b"UR", b"UT", b"UV"})
_SHORT_VALUES = frozenset(
    {b"AE", b"AS", b"AT", b"CS", b"DA", b"DS", b"DT", b"FD", b"FL", b"IS", b"LO", b"LT", b"PN", b"SH", b"SL", b"SS"}
    | {b"ST", b"TM", b"UI", b"UL", b"US"}
)
_IMAGE_GROUP = 0x0028
_NUMBERS = {(0x0028, 0x0002), (0x0028, 0x0008), (0x0028, 0x0010), (0x0028, 0x0011), (0x0028, 0x0100)}
IMPLICIT_LITTLE_ENDIAN = "1.2.840.10008.1.2"
EXPLICIT_BIG_ENDIAN = "1.2.840.10008.1.2.2"
DEFLATED_LITTLE_ENDIAN = "1.2.840.10008.1.2.1.99"


class MalformedDicom(Exception):
    """The file is built so that reading it costs the memory or the stack. The message has no patient data."""


@dataclass(frozen=True)
class WalkLimits:
    """How far a file is followed.

    Attributes
    ----------
    depth : sequences inside sequences. The deepest templates of structured reports have some 20.
    deflated_bytes : what a deflated data set may inflate to.
    """

    depth: int = 40
    deflated_bytes: int = 2048 * 1024 * 1024


@dataclass
class Walked:
    """What was found.

    Attributes
    ----------
    numbers : raw values of SamplesPerPixel, NumberOfFrames, Rows, Columns and BitsAllocated by (group, element).
    pixel_data : offset of the value of Pixel Data in `data`, or None when there is no Pixel Data.
    pixel_length : its length; None when undefined (encapsulated).
    """

    data: bytes | memoryview
    transfer_syntax_uid: str
    numbers: dict[tuple[int, int], bytes] = field(default_factory=dict)
    pixel_data: int | None = None
    pixel_length: int | None = None

    @property
    def big_endian(self) -> bool:
        """True when numbers are stored with the high byte first."""
        return self.transfer_syntax_uid == EXPLICIT_BIG_ENDIAN


class _Layout(NamedTuple):
    """How numbers are stored: low byte first, or high byte first.

    `head` is group, element, representation and length of an explicit element; of an implicit one the last two are
    halves of its length, which `long` reads anew.
    """

    head: struct.Struct
    long: struct.Struct
    item: bytes


_LITTLE = _Layout(struct.Struct("<HH2sH"), struct.Struct("<L"), b"\xfe\xff\x00\xe0")
_BIG = _Layout(struct.Struct(">HH2sH"), struct.Struct(">L"), b"\xff\xfe\xe0\x00")


class _Element(NamedTuple):
    tag: tuple[int, int]
    representation: bytes
    start: int
    length: int


def with_preamble(dicom: bytes) -> bytes:
    """Return the file with what it must begin with (PS3.10, 7.1), which some programs leave out."""
    return _PREAMBLE + dicom if _lacks_preamble(dicom) else dicom


def _lacks_preamble(dicom: bytes | memoryview) -> bool:
    return dicom[: len(_META)] == _META and dicom[_PREAMBLE_BYTES : len(_PREAMBLE)] != _PREFIX


def walk(dicom: bytes | memoryview, limits: WalkLimits) -> Walked | None:
    """Walk a DICOM file up to its pixel data; None when it is no DICOM file, which Orthanc finds out without harm.

    Raises
    ------
    MalformedDicom
        When an element is longer than the file, sequences are nested too deeply, a deflated data set is too large, or
        the file begins with its meta information.
    """
    if _lacks_preamble(dicom):
        # Orthanc stores it as it is, and can show nothing of it then.
        expected = f"{_PREAMBLE_BYTES} bytes and {_PREFIX.decode()}"
        raise MalformedDicom(f"the {expected} that a DICOM file begins with are missing")
    start = len(_PREAMBLE)
    if dicom[_PREAMBLE_BYTES : start + 2] != _PREFIX + _META:
        return None
    syntax, start = _file_meta(dicom, start)
    data = dicom
    if syntax == DEFLATED_LITTLE_ENDIAN:
        data, start = _inflate(dicom[start:], limits.deflated_bytes), 0
    walked = Walked(data, syntax)
    _Walk(walked, limits.depth, start).run()
    return walked


def _file_meta(dicom: bytes | memoryview, position: int) -> tuple[str, int]:
    """Return the transfer syntax and where the data set starts. The file meta information is explicit little endian."""
    syntax = b""
    read, last = _LITTLE.head.unpack_from, len(dicom) - _LITTLE.head.size
    while position <= last:
        group, number, representation, length = read(dicom, position)
        if group != _META_GROUP:
            break
        start = position + 8
        if representation not in _SHORT_VALUES:
            element = _element(dicom, position, _LITTLE, implicit=False)
            start, length = element.start, element.length
        position = start + length
        if position > len(dicom):
            _must_fit(_Element((group, number), representation, start, length), len(dicom))
        if number == _TRANSFER_SYNTAX:
            syntax = bytes(dicom[start:position])
    return syntax.decode("ascii", "replace").rstrip("\0 "), position


def _inflate(deflated: bytes | memoryview, limit_bytes: int) -> bytes:
    try:
        data, _ = inflate(deflated, RAW_DEFLATE, limit_bytes)
    except zlib.error as error:
        raise MalformedDicom(f"the deflated data set cannot be inflated ({error})") from error
    except InflatesTooFar:
        raise MalformedDicom(f"the deflated data set inflates to more than {limit_bytes} bytes") from None
    return data


def _element(data: bytes | memoryview, position: int, layout: _Layout, *, implicit: bool) -> _Element:
    """Read tag, representation and length at `position`."""
    try:
        group, number, representation, length = layout.head.unpack_from(data, position)
        if implicit or group == _ITEM_GROUP:
            return _Element((group, number), b"", position + 8, layout.long.unpack_from(data, position + 4)[0])
        if representation in _LONG_VALUES:
            length = layout.long.unpack_from(data, position + 8)[0]
            return _Element((group, number), representation, position + 12, length)
    except struct.error as error:
        raise MalformedDicom("the file ends in the middle of an element") from error
    return _Element((group, number), representation, position + 8, length)


def _must_fit(element: _Element, size: int) -> None:
    if element.start + element.length > size:
        group, number = element.tag
        raise MalformedDicom(
            f"element ({group:04x},{number:04x}) claims {element.length} bytes "
            f"where {max(size - element.start, 0)} are left"
        )


class _Walk:
    """The state of one walk: where it stands, and of each open sequence its end or None and the encoding around it."""

    def __init__(self, walked: Walked, depth: int, start: int) -> None:
        self._walked = walked
        self._data = walked.data
        self._depth = depth
        self._position = start
        self._layout = _BIG if walked.big_endian else _LITTLE
        self._implicit = walked.transfer_syntax_uid == IMPLICIT_LITTLE_ENDIAN
        self._open: list[tuple[int | None, bool]] = []

    def run(self) -> None:
        """Go on until the pixel data of the data set itself or the end of the file."""
        while self._position < len(self._data):
            if not self._open and not self._implicit:
                self._pass_short_values()
                if self._position == len(self._data):
                    return
            element = _element(self._data, self._position, self._layout, implicit=self._implicit)
            if element.tag == _PIXEL_DATA and not self._open:
                self._found_pixel_data(element)
                return
            self._step(element)
            while self._open and self._open[-1][0] is not None and self._position >= self._open[-1][0]:
                self._implicit = self._open.pop()[1]

    def _pass_short_values(self) -> None:
        """Step over the short values outside sequences, of which nearly the whole of an image's header is made.

        This is what the walk costs, so it is written to be fast; whatever is not plain is left to `_step`.
        """
        data, position, read = self._data, self._position, self._layout.head.unpack_from
        last = len(data) - self._layout.head.size
        while position <= last:
            group, number, representation, length = read(data, position)
            end = position + 8 + length
            if representation not in _SHORT_VALUES or end > len(data):
                break
            if group == _IMAGE_GROUP and (group, number) in _NUMBERS:
                self._walked.numbers[group, number] = bytes(data[position + 8 : end])
            position = end
        self._position = position

    def _step(self, element: _Element) -> None:
        """Go into a sequence, out of it, or past a value."""
        if element.tag[0] == _ITEM_GROUP:
            self._position = element.start
            if element.tag[1] == _SEQUENCE_END and self._open:
                self._implicit = self._open.pop()[1]
        elif self._is_sequence(element):
            self._enter(element)
        else:
            _must_fit(element, len(self._data))
            if element.tag in _NUMBERS and not self._open:
                self._walked.numbers[element.tag] = bytes(self._data[element.start : element.start + element.length])
            self._position = element.start + element.length

    def _is_sequence(self, element: _Element) -> bool:
        """Tell a sequence by its representation, an undefined length, or, untyped, by an item at its start."""
        if element.representation == b"SQ" or element.length == _UNDEFINED:
            return True
        untyped = element.representation in {b"", b"UN"}
        return untyped and self._data[element.start : element.start + 4] == self._layout.item

    def _enter(self, element: _Element) -> None:
        if len(self._open) >= self._depth:
            raise MalformedDicom(f"sequences are nested more than {self._depth} deep")
        end = None
        if element.length != _UNDEFINED:
            _must_fit(element, len(self._data))
            end = element.start + element.length
        self._open.append((end, self._implicit))
        self._implicit = self._implicit or (element.representation == b"UN" and end is None)
        self._position = element.start

    def _found_pixel_data(self, element: _Element) -> None:
        self._walked.pixel_data = element.start
        if element.length != _UNDEFINED:
            _must_fit(element, len(self._data))
            self._walked.pixel_length = element.length
