"""What the journal and the order of work need of a message: who it is about, which orders, which type."""

from __future__ import annotations

import hashlib
from collections.abc import Iterator
from dataclasses import dataclass

from pacs.hl7.charsets import decode
from pacs.hl7.errors import Hl7Error
from pacs.hl7.header import Header
from pacs.hl7.message import Message
from pacs.hl7.models import PATIENT_KEY_LENGTH
from pacs.hl7.segment import Segment
from pacs.hl7.settings import PeerSettings

# Columns that are searched; a longer value is a fault of the sender and stands whole in the raw message.
LONGEST_SEARCHED = 255
# Read for it at most: patients and orders stand at the top, documents in base64 behind.
HEAD_BYTES = 2**20


@dataclass(frozen=True, kw_only=True)
class Brief:
    """The columns of the journal that are read from the message itself.

    Attributes
    ----------
    turn_keys : one for each identifier of a patient (PID-3, else PID-2, PID-4; MRG-1), whoever assigned it: to wait
        for a message about another patient of the same number does no harm. Of a message about no patient, its orders.
    """

    control_id: str = ""
    message_type: str = ""
    trigger_event: str = ""
    version: str = ""
    charset: str = ""
    patient_ids: str = ""
    patient_name: str = ""
    accession_numbers: str = ""
    turn_keys: frozenset[str] = frozenset()

    @classmethod
    def read(cls, raw: bytes, peer: PeerSettings) -> Brief:
        """Read as much as there is; of what is no HL7, nothing."""
        try:
            header = Header.scan(raw)
        except Hl7Error:
            return cls()
        head = _head(raw)
        try:
            text = decode(head, header, default=peer.charset, sniff_utf8=peer.sniff_utf8).text
        except Hl7Error:
            # For the search alone: the bytes stay what they are, and nothing is done with this message.
            text = head.decode("latin-1")
        message = Message.parse(text)
        patients = list(_unique(_patient_ids(message)))
        return cls(
            control_id=_plain(header.control_id),
            message_type=_plain(header.message_type),
            trigger_event=_plain(header.trigger_event),
            version=_plain(header.version),
            charset=_plain("~".join(header.charset_names)),
            patient_ids=_plain(" ".join(patients)),
            patient_name=_plain(_patient_name(message)),
            accession_numbers=_plain(" ".join(_unique(_accession_numbers(message)))),
            turn_keys=frozenset(map(_turn_key, patients or list(_unique(_orders(message))))),
        )


def _head(raw: bytes) -> bytes:
    """Return the beginning of a long message up to the end of a segment: a letter of several bytes stays whole."""
    if len(raw) < HEAD_BYTES:
        return raw
    return raw[: raw.rfind(b"\r", 0, HEAD_BYTES) + 1] or raw[:HEAD_BYTES]


def _patient_ids(message: Message) -> Iterator[str]:
    for segment in message.segments:
        if segment.name == "PID":
            found = [value for field in (3, 2, 4) for value in _ids(segment, field)]
            yield from found
        elif segment.name == "MRG":
            yield from _ids(segment, 1)


def _ids(segment: Segment, field: int) -> Iterator[str]:
    for repetition in segment.repetitions(field):
        value = (repetition.text(1) or "").strip()
        if value:
            yield value


def _patient_name(message: Message) -> str:
    segment = message.first("PID")
    if segment is None:
        return ""
    return "^".join(segment.text(5, component) or "" for component in (1, 2)).strip("^")


def _accession_numbers(message: Message) -> Iterator[str]:
    for name, field in (("IPC", 1), ("OBR", 18)):
        for segment in message.all(name):
            yield (segment.text(field) or "").strip()


def _orders(message: Message) -> Iterator[str]:
    for name, fields in (("ORC", (2, 3)), ("OBR", (2, 3)), ("SCH", (1, 2))):
        for segment in message.all(name):
            for field in fields:
                value = (segment.text(field) or "").strip()
                yield f"order {value}" if value else ""


def _unique(values: Iterator[str]) -> Iterator[str]:
    return iter(dict.fromkeys(value for value in values if value))


def _turn_key(identifier: str) -> str:
    key = identifier.upper()
    if len(key) <= PATIENT_KEY_LENGTH and key.isprintable():
        return key
    return f"sha256 {hashlib.sha256(key.encode('utf-8', 'surrogatepass')).hexdigest()}"


def _plain(text: str) -> str:
    """Return text that every database stores: no U+0000, no half pairs, not too long for an index."""
    if text.isascii() and text.isprintable():
        return text[:LONGEST_SEARCHED]
    cleaned = text.replace("\0", "").encode("utf-8", "replace").decode("utf-8")
    return cleaned[:LONGEST_SEARCHED]
