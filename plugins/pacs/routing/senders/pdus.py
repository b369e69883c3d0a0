"""What goes over an association: the request for one, C-STORE requests, pieces of data, and answers as they are read.

DICOM PS3.8 section 9.3, PS3.7 section 9.3.1 and annex E. pynetdicom encodes the request for an association.
"""

from __future__ import annotations

import struct
from collections.abc import Iterator, Sequence
from dataclasses import dataclass

from pydicom.uid import UID
from pynetdicom import PYNETDICOM_IMPLEMENTATION_UID, PYNETDICOM_IMPLEMENTATION_VERSION, build_context
from pynetdicom.pdu import A_ASSOCIATE_RQ
from pynetdicom.pdu_primitives import (
    A_ASSOCIATE,
    ImplementationClassUIDNotification,
    ImplementationVersionNameNotification,
    MaximumLengthNotification,
)

ACCEPT, REJECT, DATA, RELEASE, ABORT = 2, 3, 4, 5, 7
COMMAND_LAST, DATA_PART, DATA_LAST = 3, 0, 2
_APPLICATION_CONTEXT = UID("1.2.840.10008.3.1.1.1")
# What we take at once (bytes).
_OUR_PDU_BYTES = 65536
_BY_KEYWORD = {0x0900: "status", 0x0902: "comment"}


@dataclass(frozen=True)
class Offer:
    """A SOP class in one of several transfer syntaxes, the one we like best first."""

    sop_class: str
    syntaxes: tuple[str, ...]


@dataclass(frozen=True)
class Answer:
    """What the other side said of an instance: DIMSE status and ErrorComment (PS3.7 annex C)."""

    status: int
    comment: str


def associate_request(calling: str, called: str, offers: Sequence[Offer]) -> bytes:
    """Return an A-ASSOCIATE-RQ: the offers have the presentation contexts 1, 3, 5 and so on."""
    primitive = A_ASSOCIATE()
    primitive.application_context_name = _APPLICATION_CONTEXT
    primitive.calling_ae_title, primitive.called_ae_title = calling, called
    contexts = []
    for number, offer in enumerate(offers):
        context = build_context(offer.sop_class, list(offer.syntaxes))
        context.context_id = number * 2 + 1
        contexts.append(context)
    primitive.presentation_context_definition_list = contexts
    length, uid = MaximumLengthNotification(), ImplementationClassUIDNotification()
    version = ImplementationVersionNameNotification()
    length.maximum_length_received = _OUR_PDU_BYTES
    uid.implementation_class_uid = PYNETDICOM_IMPLEMENTATION_UID
    version.implementation_version_name = PYNETDICOM_IMPLEMENTATION_VERSION
    primitive.user_information = [length, uid, version]
    pdu = A_ASSOCIATE_RQ()
    pdu.from_primitive(primitive)
    return pdu.encode()


def store_request(message_id: int, sop_class: str, sop_instance_uid: str) -> bytes:
    """Return a C-STORE-RQ (PS3.7 table 9.3-1), in implicit VR little endian as all commands are."""
    elements = b"".join(
        (
            _element(0x0002, _uid(sop_class)),
            _element(0x0100, struct.pack("<H", 0x0001)),
            _element(0x0110, struct.pack("<H", message_id)),
            _element(0x0700, struct.pack("<H", 0x0000)),
            _element(0x0800, struct.pack("<H", 0x0001)),
            _element(0x1000, _uid(sop_instance_uid)),
        )
    )
    return _element(0x0000, struct.pack("<I", len(elements))) + elements


def _element(number: int, value: bytes) -> bytes:
    return struct.pack("<HHI", 0x0000, number, len(value)) + value


def _uid(uid: str) -> bytes:
    encoded = uid.encode("ascii")
    return encoded + b"\0" * (len(encoded) % 2)


def data_header(context_id: int, control: int, length: int) -> bytes:
    """Return what stands before `length` bytes of one PDV in a PDU of its own (PS3.8 section 9.3.5)."""
    return struct.pack(">BxIIBB", DATA, length + 6, length + 2, context_id, control)


def data_pdu(context_id: int, control: int, value: bytes) -> list[bytes | memoryview]:
    """Return a P-DATA-TF PDU with one value, in pieces."""
    return [data_header(context_id, control, len(value)), value]


def values(content: bytes) -> Iterator[tuple[int, bytes]]:
    """Yield message control header and value of each PDV of a P-DATA-TF."""
    start = 0
    while start + 6 <= len(content):
        length, _, control = struct.unpack_from(">IBB", content, start)
        yield control, content[start + 6 : start + 4 + length]
        start += 4 + max(length, 2)


def read_answer(command: bytes) -> Answer:
    """Return what a C-STORE-RSP says."""
    found: dict[str, bytes] = {}
    start = 0
    while start + 8 <= len(command):
        _, number, length = struct.unpack_from("<HHI", command, start)
        if number in _BY_KEYWORD:
            found[_BY_KEYWORD[number]] = command[start + 8 : start + 8 + length]
        start += 8 + length
    status = found.get("status", b"")
    comment = found.get("comment", b"").decode("ascii", "replace").strip(" \0")
    # An answer without a status is no success: 0110 is "processing failure".
    return Answer(struct.unpack("<H", status)[0] if len(status) == 2 else 0x0110, comment)  # noqa: PLR2004
