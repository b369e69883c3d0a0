"""Entries of the worklist as bytes in the database: DICOM data sets, explicit VR little endian, in UTF-8."""

from __future__ import annotations

import struct
from collections.abc import Sequence
from io import BytesIO

from pydicom import DataElement, Dataset
from pydicom.filebase import DicomBytesIO
from pydicom.filereader import read_dataset
from pydicom.filewriter import write_dataset
from pydicom.multival import MultiValue
from pydicom.tag import Tag

UTF_8 = "ISO_IR 192"
_CHARACTER_SET = Tag("SpecificCharacterSet")
# VRs of text, and what makes their length even (PS3.5 section 6.2).
_FILLERS = dict.fromkeys(("AE", "AS", "CS", "DA", "DT", "LO", "LT", "PN", "SH", "ST", "TM", "UC", "UT"), b" ")
_FILLERS["UI"] = b"\0"
_SHORT, _LONG, _ITEM = struct.Struct("<HH2sH"), struct.Struct("<HH2s2xL"), struct.Struct("<HHL")
_WITH_LONG_LENGTH = frozenset({"SQ", "UC", "UT"})
_LONGEST_SHORT = 0xFFFE


def encoded(dataset: Dataset) -> bytes:
    """Return `dataset` as bytes; its Specific Character Set becomes UTF-8, in which every character has a place."""
    dataset.SpecificCharacterSet = UTF_8
    content = _texts(dataset)
    return _by_pydicom(dataset) if content is None else content


def decoded(content: bytes) -> Dataset:
    """Return the data set that `encoded` wrote."""
    return read_dataset(BytesIO(content), is_implicit_VR=False, is_little_endian=True)


def _by_pydicom(dataset: Dataset) -> bytes:
    target = DicomBytesIO()
    target.is_little_endian, target.is_implicit_VR = True, False
    write_dataset(target, dataset)
    return target.getvalue()


def _texts(dataset: Dataset) -> bytes | None:
    """Return elements as PS3.5 section 7.1.2 has them; None where one is no text and no sequence of texts.

    Nearly every entry is all text, and its order in a hurry: this takes a fifth of pydicom's time.
    """
    parts: list[bytes] = []
    for element in dataset:
        content = _content(element)
        if content is None:
            return None
        head = _LONG if element.VR in _WITH_LONG_LENGTH else _SHORT
        tag = element.tag
        parts += (head.pack(tag.group, tag.element, element.VR.encode(), len(content)), content)
    return b"".join(parts)


def _content(element: DataElement) -> bytes | None:
    if element.VR == "SQ":
        return _items(element.value or ())
    filler = _FILLERS.get(element.VR)
    if filler is None:
        return None
    value = element.value
    text = "\\".join(map(str, value)) if isinstance(value, MultiValue | list) else str(value or "")
    content = text.encode()
    content += filler * (len(content) % 2)
    return content if len(content) <= _LONGEST_SHORT or element.VR in _WITH_LONG_LENGTH else None


def _items(items: Sequence[Dataset]) -> bytes | None:
    parts: list[bytes] = []
    for item in items:
        # One with a character set of its own is not for us.
        content = None if _CHARACTER_SET in item else _texts(item)
        if content is None:
            return None
        parts += (_ITEM.pack(0xFFFE, 0xE000, len(content)), content)
    return b"".join(parts)
