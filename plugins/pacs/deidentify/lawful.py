"""Whether a value is one of its VR (PS3.5 section 6.2): what is none has no business there, and may be anything.

Read as generously as devices write: small letters in codes, blanks in numbers.
"""

from __future__ import annotations

import re
from functools import cache

from pydicom.datadict import dictionary_VM

from pacs.deidentify.terms import TERMS
from pacs.deidentify.values import NUMBER_BYTES, Element, raw_bytes

_LAWFUL = {
    "AS": re.compile(rb"[0-9]{0,4}[DWMYdwmy]?[ \0]*"),
    "CS": re.compile(rb"[A-Za-z0-9 _\\.+/-]*\0?"),
    "DS": re.compile(rb"[0-9eE.+\\ -]*\0?"),
    "IS": re.compile(rb"[0-9.+\\ -]*\0?"),
    "UI": re.compile(rb"[0-9.\\]*[\0 ]*"),
    "DA": re.compile(rb"[0-9. \\-]*\0?"),
    "TM": re.compile(rb"[0-9.: \\-]*\0?"),
    "DT": re.compile(rb"[0-9.+ \\-]*\0?"),
}
_LONGEST = {"CS": 16, "AE": 16, "UI": 64}
_PRIVATE_BIT = 0x10000


def is_lawful(vr: str, element: Element) -> bool:
    """Tell whether the value of an element may be one of this VR."""
    value = raw_bytes(element)
    terms = TERMS.get(element.tag)
    if terms is not None:
        return all(part.strip(b" \0") in terms for part in value.split(b"\\"))
    if vr in NUMBER_BYTES and isinstance(element.value, bytes):
        most = _most_bytes(element.tag, vr)
        return most is None or len(value) <= most
    pattern = _LAWFUL.get(vr)
    if pattern and not pattern.fullmatch(value):
        return False
    longest = _LONGEST.get(vr)
    return longest is None or len(value) <= longest or all(len(part.strip()) <= longest for part in value.split(b"\\"))


def has_terms(tag: int) -> bool:
    """Tell whether an attribute has a closed list of values here."""
    return tag in TERMS


@cache
def _most_bytes(tag: int, vr: str) -> int | None:
    """Return how long the value of a standard attribute may be, None where the standard sets no end."""
    if tag & _PRIVATE_BIT or vr in ("OB", "OD", "OF", "OL", "OV", "OW"):
        return None
    try:
        most = dictionary_VM(tag).rpartition("-")[2]
    except KeyError:
        return None
    return int(most) * NUMBER_BYTES[vr] if most.isdigit() else None
