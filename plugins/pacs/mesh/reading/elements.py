"""The elements at the top level of a DICOM file, found without reading what is not asked for.

A series has hundreds of files of some hundred elements each, of which a tenth matters here. Whatever is unusual is left
to pydicom (`Unusual`). Sources: PS3.5 section 7 (data elements, sequences), PS3.10 section 7.1 (file meta information).
"""

from __future__ import annotations

import struct
from collections.abc import Container
from dataclasses import dataclass

from pacs.mesh.reading.files import Content

EXPLICIT_VR_BIG_ENDIAN = "1.2.840.10008.1.2.2"
IMPLICIT_VR_LITTLE_ENDIAN = "1.2.840.10008.1.2"
DEFLATED_EXPLICIT_VR_LITTLE_ENDIAN = "1.2.840.10008.1.2.1.99"
TRANSFER_SYNTAX_UID = 0x00020010
FLOAT_PIXEL_DATA, DOUBLE_PIXEL_DATA, PIXEL_DATA = 0x7FE00008, 0x7FE00009, 0x7FE00010
_PIXELS = (FLOAT_PIXEL_DATA, DOUBLE_PIXEL_DATA, PIXEL_DATA)

# Nearly every header is within the first; Siemens' MR headers and long sequences need more.
_HEAD_BYTES = (16 << 10, 64 << 10, 1 << 20, 64 << 20)
_PREFIX_AT, _META_AT = slice(128, 132), 132
_UNDEFINED = 0xFFFFFFFF
_ITEM, _ITEM_END, _SEQUENCE_END = 0xFFFEE000, 0xFFFEE00D, 0xFFFEE0DD
_LONG = frozenset({b"OB", b"OD", b"OF", b"OL", b"OV", b"OW", b"SQ", b"SV", b"UC", b"UN", b"UR", b"UT", b"UV"})
_SHORT = frozenset(
    {b"AE", b"AS", b"AT", b"CS", b"DA", b"DS", b"DT", b"FL", b"FD", b"IS", b"LO", b"LT", b"PN", b"SH", b"SL", b"SS"}
    | {b"ST", b"TM", b"UI", b"UL", b"US"}
)


class Unusual(Exception):
    """Not for this quick reader."""


@dataclass(frozen=True, slots=True)
class PixelPlace:
    """Where the pixels of an instance are: their element, its first byte and length; None for encapsulated ones."""

    tag: int
    start: int
    length: int | None


@dataclass(frozen=True, slots=True)
class Elements:
    """What was found.

    Attributes
    ----------
    values : bytes of the elements asked for, by tag (group << 16 | element).
    dataset_start : where the data set begins, after the file meta information.
    """

    transfer_syntax_uid: str
    dataset_start: int
    values: dict[int, bytes]
    pixels: PixelPlace | None

    @property
    def is_big_endian(self) -> bool:
        """Whether its numbers begin with the most significant byte."""
        return self.transfer_syntax_uid == EXPLICIT_VR_BIG_ENDIAN


def scan(content: Content, wanted: Container[int]) -> Elements:
    """Find the elements `wanted` and the pixels.

    Raises
    ------
    Unusual : it is no DICOM file, or not one that is read here.
    """
    head = content.read(0, _HEAD_BYTES[0])
    syntax, start = _meta(head)
    if syntax == DEFLATED_EXPLICIT_VR_LITTLE_ENDIAN:
        content.inflate(start)
        head = content.read(0, _HEAD_BYTES[0])
    scanner = _Scanner(head, syntax, start)
    for more in (*_HEAD_BYTES[1:], 0):
        try:
            pixels = scanner.scan(wanted, is_whole=len(head) >= content.size)
            return Elements(syntax, start, scanner.values, pixels)
        except RecursionError as fault:
            raise Unusual from fault
        except (struct.error, IndexError) as fault:
            if len(head) >= content.size:
                raise Unusual from fault
            head = scanner.head = content.read(0, more)
    raise Unusual


def _meta(head: bytes) -> tuple[str, int]:
    """Return the transfer syntax and where the data set begins."""
    if head[_PREFIX_AT] != b"DICM":
        raise Unusual
    values: dict[int, bytes] = {}
    position, reader = _META_AT, _Scanner(head, "", _META_AT)
    try:
        while head[position : position + 2] == b"\x02\x00":
            tag, value, length = reader.element(position)
            values[tag] = head[value : value + length]
            position = value + length
    except struct.error as fault:
        raise Unusual from fault
    return values.get(TRANSFER_SYNTAX_UID, b"").rstrip(b"\0 ").decode("ascii", "replace"), position


class _Scanner:
    """Walks through the elements of `head`, which may grow: `struct.error` says that it ended too early.

    Attributes
    ----------
    values : what was found so far.
    """

    def __init__(self, head: bytes, syntax: str, position: int) -> None:
        self.head, self._position = head, position
        self.values: dict[int, bytes] = {}
        order = ">" if syntax == EXPLICIT_VR_BIG_ENDIAN else "<"
        self._start = struct.Struct(f"{order}HH2sH").unpack_from
        self._tag_and_length = struct.Struct(f"{order}HHI").unpack_from
        self._length = struct.Struct(f"{order}I").unpack_from
        self.element = self._implicit if syntax == IMPLICIT_VR_LITTLE_ENDIAN else self._explicit

    def scan(self, wanted: Container[int], *, is_whole: bool) -> PixelPlace | None:
        """Go on until the pixels, or the end if `is_whole`."""
        element, end = self.element, len(self.head)
        position = self._position
        while not (is_whole and position >= end):
            self._position = position
            tag, value, length = element(position)
            if tag in _PIXELS:
                return PixelPlace(tag, value, None if length == _UNDEFINED else length)
            if length == _UNDEFINED:
                position = self._after_sequence(value)
                continue
            position = value + length
            if tag in wanted:
                if position > end:
                    raise struct.error
                self.values[tag] = self.head[value:position]
        if position > end:
            raise Unusual  # it was cut
        return None

    def _explicit(self, position: int) -> tuple[int, int, int]:
        """Return the tag, where the value begins, and its length."""
        group, number, vr, length = self._start(self.head, position)
        if vr in _SHORT:
            return group << 16 | number, position + 8, length
        if vr not in _LONG:
            raise Unusual
        length = self._length(self.head, position + 8)[0]
        if vr == b"UN" and length == _UNDEFINED:
            raise Unusual  # its items are implicit
        return group << 16 | number, position + 12, length

    def _implicit(self, position: int) -> tuple[int, int, int]:
        group, number, length = self._tag_and_length(self.head, position)
        return group << 16 | number, position + 8, length

    def _after_sequence(self, position: int) -> int:
        """Return where a sequence of undefined length ends whose first item is at `position`."""
        while True:
            group, number, length = self._tag_and_length(self.head, position)
            tag, position = group << 16 | number, position + 8
            if tag == _SEQUENCE_END:
                return position
            if tag != _ITEM:
                raise Unusual
            position = self._after_item(position) if length == _UNDEFINED else position + length

    def _after_item(self, position: int) -> int:
        while True:
            group, number, _ = self._tag_and_length(self.head, position)
            if group << 16 | number == _ITEM_END:
                return position + 8
            _, value, length = self.element(position)
            position = self._after_sequence(value) if length == _UNDEFINED else value + length
