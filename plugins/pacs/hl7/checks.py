"""What must be known of a message before it is accepted, so that an AA is the truth.

Source: HL7 v2.5.1 chapters 2.9.2 (what an acknowledgment says), 3 (ADT), 4 (orders), 7 (results), 10 (scheduling).
"""

from __future__ import annotations

import re
from collections.abc import Callable, Collection, Iterator

from pacs.hl7.errors import (
    DATA_TYPE_ERROR,
    DUPLICATE_KEY_IDENTIFIER,
    REQUIRED_FIELD_MISSING,
    SEGMENT_SEQUENCE_ERROR,
    UNSUPPORTED_EVENT_CODE,
    UNSUPPORTED_MESSAGE_TYPE,
    UNSUPPORTED_PROCESSING_ID,
    Fault,
)
from pacs.hl7.header import Header
from pacs.hl7.message import Message
from pacs.hl7.segment import Repetition, Segment

_ADT_EVENTS = (1, 2, 3, 4, 5, 6, 7, 8, 10, 11, 12, 13, 14, 17, 18, 28, 31, 34, 38, 40, 45, 47, 60)
SUPPORTED: frozenset[str] = frozenset(
    {
        *(f"ADT^A{event:02}" for event in _ADT_EVENTS),
        "ORM^O01",
        "OMG^O19",
        "OMI^O23",
        *(f"SIU^S{event}" for event in (12, 13, 14, 15, 16, 17, 26)),
        "ORU^R01",
        *(f"MDM^T{event:02}" for event in range(1, 12)),
    }
)
_MERGES = frozenset({"ADT^A18", "ADT^A34", "ADT^A40", "ADT^A47"})
_PATIENT_ID_FIELDS = (3, 2, 4)
_ORDERS = frozenset({"ORM^O01", "OMG^O19", "OMI^O23"})
_PROCESSING_IDS = frozenset("PTD")
# Order control codes (table 0119) that tell of a known order, so its number is enough; PA of one whose parts follow.
_ABOUT_KNOWN_ORDERS = frozenset({"CA", "OC", "DC", "OD", "HD", "OH", "RL", "SC", "RU", "RQ", "PA"})
# Base64 with line ends in it, raw or as escape sequences. Possessive, so that 64 MB need no memory to go back.
_LINE_END = r"\\(?:\.br|X0D0A|X0D|X0A)\\"
_BASE64 = re.compile(rf"[A-Za-z0-9+/\s]*+(?:{_LINE_END}[A-Za-z0-9+/\s]*+)*+(?:=(?:[=\s]|{_LINE_END})*+)?")


def type_of(header: Header, message: Message) -> str:
    """Return "ADT^A08" for the message; the event from EVN-1 where MSH-9 lacks it, as it did before 2.2."""
    if header.trigger_event or not header.message_type:
        return header.type
    event = (message.text("EVN-1") or "").strip()
    return f"{header.message_type}^{event}" if event else header.message_type


def check(header: Header, message: Message, supported_types: Collection[str] = SUPPORTED) -> list[Fault]:
    """Return what is wrong with a message; [] when it can be accepted.

    What rejects the kind of the message (AR) is told alone: its content was not looked at. An acknowledgment is
    rejected as an unsupported type: nothing that came is left without an answer, and no sender answers an AR.
    """
    kind = type_of(header, message)
    return list(_rejections(header, message, kind, supported_types)) or list(_content_faults(message, kind))


def _rejections(header: Header, message: Message, kind: str, supported: Collection[str]) -> Iterator[Fault]:
    if not header.message_type:
        yield Fault(REQUIRED_FIELD_MISSING, "MSH^1^9", "MSH-9 (message type) is missing.", rejects=True)
    if not header.control_id:
        yield Fault(REQUIRED_FIELD_MISSING, "MSH^1^10", "MSH-10 (message control id) is missing.", rejects=True)
    if header.processing_id and header.processing_id not in _PROCESSING_IDS:
        text = "MSH-11 (processing id) must be P, T or D."
        yield Fault(UNSUPPORTED_PROCESSING_ID, "MSH^1^11", text, rejects=True)
    if header.message_type and kind not in supported:
        yield _unsupported(header.message_type, supported)
    if len(message.all("MSH")) > 1:
        text = "One message a frame is taken; this frame has several."
        yield Fault(SEGMENT_SEQUENCE_ERROR, "MSH^2", text, rejects=True)


def _unsupported(message_type: str, supported: Collection[str]) -> Fault:
    if any(known.startswith(f"{message_type}^") for known in supported):
        text = "This event (MSH-9.2) is not taken here."
        return Fault(UNSUPPORTED_EVENT_CODE, "MSH^1^9^1^2", text, rejects=True)
    text = "This message type (MSH-9.1) is not taken here."
    return Fault(UNSUPPORTED_MESSAGE_TYPE, "MSH^1^9^1^1", text, rejects=True)


def _content_faults(message: Message, kind: str) -> Iterator[Fault]:
    for applies, faults in _CHECKS:
        if applies(kind):
            yield from faults(message, kind)


def _patient_faults(message: Message, _kind: str) -> Iterator[Fault]:
    """Find patients without an id: nothing may be done for anybody then. Some have theirs in PID-2 or PID-4."""
    patients = message.all("PID")
    if not patients:
        yield Fault(REQUIRED_FIELD_MISSING, "PID^1^3", "PID-3 (patient id) is missing: there is no PID segment.")
    for pid in patients:
        if not any(_identifiers(pid, field) for field in _PATIENT_ID_FIELDS):
            yield Fault(REQUIRED_FIELD_MISSING, pid.location(3), "PID-3 (patient id) is missing.")


def _merge_faults(message: Message, _kind: str) -> Iterator[Fault]:
    for group in message.patient_groups():
        prior = _identifiers(group.mrg, 1) if group.mrg else []
        if not prior:
            place = group.mrg.location(1) if group.mrg else f"MRG^{group.pid.number}^1"
            yield Fault(REQUIRED_FIELD_MISSING, place, "MRG-1 (prior patient id) is missing.")
        elif set(prior) <= set(_identifiers(group.pid, 3)):
            # A number that both have, such as that of the country, stays; another one must go.
            text = "MRG-1 and PID-3 name the same patient: a patient can't be merged with itself."
            yield Fault(DUPLICATE_KEY_IDENTIFIER, f"MRG^{group.pid.number}^1", text)


def _order_faults(message: Message, _kind: str) -> Iterator[Fault]:
    groups = message.order_groups()
    if not groups:
        yield Fault(REQUIRED_FIELD_MISSING, "OBR^1", "There is no order: no ORC and no OBR segment.")
    for number, group in enumerate(groups, 1):
        if group.obr is None and not (group.is_of_other_service or _tells_of_known_order(group.orc)):
            yield Fault(REQUIRED_FIELD_MISSING, f"OBR^{number}", f"Order {number} has no OBR segment.")


def _tells_of_known_order(orc: Segment | None) -> bool:
    if orc is None or (orc.text(1) or "").strip() not in _ABOUT_KNOWN_ORDERS:
        return False
    return bool(orc.text(2) or orc.text(3))


def _schedule_faults(message: Message, _kind: str) -> Iterator[Fault]:
    if message.first("SCH") is None and message.first("AIS") is None:
        yield Fault(REQUIRED_FIELD_MISSING, "SCH^1", "There is no appointment: neither an SCH nor an AIS segment.")


def _document_faults(message: Message, _kind: str) -> Iterator[Fault]:
    """Find documents that can't be unpacked: their sender, who has them, must know."""
    for obx in message.all("OBX"):
        if (obx.text(2) or "").strip() == "ED" and not _has_sound_document(obx, str(message)):
            yield Fault(DATA_TYPE_ERROR, obx.location(5, 5), "OBX-5.5 says it is Base64 and is not.")


def _has_sound_document(obx: Segment, text: str) -> bool:
    start, end = obx.bounds(5, 4)
    if text[start:end].strip().upper() != "BASE64":
        return True
    return _BASE64.fullmatch(text, *obx.bounds(5, 5)) is not None


def _identifiers(segment: Segment, field: int) -> list[tuple[str, str]]:
    """Return id and assigning authority of each repetition of a CX field that has an id."""
    return [found for repetition in segment.repetitions(field) if (found := _identifier(repetition))[0]]


def _identifier(repetition: Repetition) -> tuple[str, str]:
    authority = repetition.text(4) or repetition.text(4, 2) or ""
    return (repetition.text(1) or "").strip(), authority.strip()


_CHECKS: tuple[tuple[Callable[[str], bool], Callable[[Message, str], Iterator[Fault]]], ...] = (
    (lambda kind: kind.startswith(("ADT", "SIU")) or kind in _ORDERS, _patient_faults),
    (_MERGES.__contains__, _merge_faults),
    (_ORDERS.__contains__, _order_faults),
    (lambda kind: kind.startswith("SIU"), _schedule_faults),
    (lambda kind: kind.startswith(("ORU", "MDM")), _document_faults),
)
