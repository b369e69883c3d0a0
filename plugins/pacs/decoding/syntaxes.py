"""Which transfer syntaxes are decoded here, and what a file says of its own.

Sources: PS3.6 table A-1; PS3.10 section 7.1 (the file meta information is always Explicit VR Little Endian).
"""

from __future__ import annotations

EXPLICIT_VR_LITTLE_ENDIAN = "1.2.840.10008.1.2.1"
IMPLICIT_VR_LITTLE_ENDIAN = "1.2.840.10008.1.2"
# Part 2 multi-component (.92, .93) is not among them: OpenJPEG has no decoder for it.
DECODED_SYNTAXES = frozenset(f"1.2.840.10008.1.2.4.{number}" for number in (90, 91, 201, 202, 203))

_HEAD_BYTES = 4096
_PREFIX_AT = slice(128, 132)
_TRANSFER_SYNTAX = b"\x02\x00\x10\x00UI"


def transfer_syntax_of(dicom: bytes | memoryview) -> str:
    """Return the transfer syntax that a DICOM file names; an empty string when it is no DICOM file or names none."""
    head = bytes(dicom[:_HEAD_BYTES])
    start = head.find(_TRANSFER_SYNTAX, _PREFIX_AT.stop)
    if head[_PREFIX_AT] != b"DICM" or start < 0:
        return ""
    value = start + len(_TRANSFER_SYNTAX) + 2
    length = int.from_bytes(head[value - 2 : value], "little")
    return head[value : value + length].rstrip(b"\0 ").decode("ascii", "replace")
