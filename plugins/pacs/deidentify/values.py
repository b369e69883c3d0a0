"""Values as text, and the dummies that stand for values of every VR.

Elements stay in the bytes in which they were read wherever nothing is to be done about them: that is what makes it
quick.
"""

from __future__ import annotations

import re
import struct
import zlib

from pydicom.dataelem import DataElement, RawDataElement
from pydicom.dataset import Dataset
from pydicom.errors import BytesLengthException, InvalidDicomError
from pydicom.sequence import Sequence

type Element = DataElement | RawDataElement

DUMMY_TEXT = "REMOVED"
DUMMY_BYTES = bytes(2)
BULK_VRS = frozenset({"OB", "OD", "OF", "OL", "OV", "OW", "UN"})
# What pydicom raises over files, sequences and values that break the rules of DICOM.
UNREADABLE = (
    ValueError,
    TypeError,
    KeyError,
    AttributeError,
    EOFError,
    RuntimeError,
    struct.error,
    zlib.error,
    BytesLengthException,
    InvalidDicomError,
)
_DUMMIES = {
    "AE": DUMMY_TEXT,
    "AS": "000D",
    "CS": DUMMY_TEXT,
    "DA": "19000101",
    "DT": "19000101000000",
    "DS": "0",
    "IS": "0",
    "PN": DUMMY_TEXT,
    "TM": "000000",
    "UR": "urn:removed",
}
_YEARS = re.compile(r"(\d{3})Y")
# Bytes of one value; a dummy is one of them, all zero.
NUMBER_BYTES = {"US": 2, "SS": 2, "OW": 2, "AT": 4, "UL": 4, "SL": 4, "FL": 4, "OF": 4, "OL": 4} | dict.fromkeys(
    ("FD", "OD", "OV", "SV", "UV"), 8
)


def text(dataset: Dataset, keyword: str) -> str:
    r"""Return a value as text without padding, several joined by \; "" for none."""
    value = dataset.get(keyword)
    if value is None:
        return ""
    parts = value if isinstance(value, list) or hasattr(value, "append") else [value]
    return "\\".join(str(part) for part in parts).replace("\0", "").strip()


def raw_bytes(element: Element) -> bytes:
    """Return the value of an element as bytes, several values with a backslash between; b"" for what is no text."""
    value = element.value
    if isinstance(value, bytes):
        return value
    if value is None or isinstance(element, RawDataElement):
        return b""
    parts = value if element.VM > 1 else [value]
    return b"\\".join(str(part).encode("utf-8", "surrogateescape") for part in parts)


def ascii_values(element: Element) -> list[str]:
    r"""Return the values of an element of a VR without character sets: split at \, without padding."""
    return [part.strip(" \0") for part in raw_bytes(element).decode("latin-1").split("\\")]


def dummy(vr: str) -> bytes:
    """Return a value that is none, consistent with a VR and of even length (PS3.5 section 6.2)."""
    size = NUMBER_BYTES.get(vr)
    return bytes(size or 2) if size or vr in ("OB", "UN") else even(_DUMMIES.get(vr, DUMMY_TEXT))


def aged(age: str, oldest_years: int | None) -> str:
    """Return what a PatientAge beyond the oldest becomes (one year more than it), "" when it stays."""
    found = _YEARS.fullmatch(age)
    if oldest_years is None or not found or int(found[1]) <= oldest_years:
        return ""
    return f"{oldest_years + 1:03}Y"


def even(text: str) -> bytes:
    """Return ASCII text as bytes of even length."""
    return text.encode("ascii") + b" " * (len(text) % 2)


def put(dataset: Dataset, element: Element, vr: str, value: bytes) -> None:
    """Replace the value of an element, whatever VR the file had said that it has."""
    own_vr = vr or element.VR or "UN"
    if isinstance(element, RawDataElement):
        is_implicit = element.VR is None
        dataset[element.tag] = element._replace(VR=None if is_implicit else own_vr, value=value, length=len(value))
    else:
        dataset[element.tag] = DataElement(element.tag, own_vr, _decoded(own_vr, value))


def _decoded(vr: str, value: bytes) -> object:
    if vr in BULK_VRS:
        return value
    if vr in NUMBER_BYTES:
        return 0 if value else None
    return value.decode("latin-1").rstrip(" \0")


def items_of(dataset: Dataset, element: Element) -> list[Dataset] | None:
    """Return the items of a sequence, None when what is written there is none."""
    try:
        items = dataset[element.tag].value
        return list(items) if isinstance(items, Sequence) else None
    except (*UNREADABLE, OSError):
        return None
