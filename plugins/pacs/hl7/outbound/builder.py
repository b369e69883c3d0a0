"""An event as the bytes of an HL7 message, in the type, version and character set that a destination wants."""

from __future__ import annotations

import logging
import secrets
from collections.abc import Mapping
from dataclasses import dataclass
from datetime import UTC, datetime, tzinfo
from zoneinfo import ZoneInfo

from pacs.hl7.brief import Brief
from pacs.hl7.charsets import encode
from pacs.hl7.errors import UnencodableText
from pacs.hl7.outbound.events import RESULTS, Event
from pacs.hl7.outbound.kinds import EventKind
from pacs.hl7.outbound.layout import MessageType
from pacs.hl7.outbound.settings import DestinationSettings, OutboundSettings
from pacs.hl7.outbound.templates import template
from pacs.worklist.statuses import StepStatus

_log = logging.getLogger(__name__)

_UTF_8 = "UNICODE UTF-8"
# MSH-10 has 20 characters up to version 2.6.
_CONTROL_ID_BYTES = 10

_TEXTS = {
    EventKind.SCHEDULED: "Step is scheduled",
    EventKind.ARRIVED: "Patient has arrived",
    EventKind.STARTED: "Step was started",
    EventKind.COMPLETED: "Step is completed",
    EventKind.DISCONTINUED: "Step was discontinued",
    EventKind.CANCELED: "Step was canceled",
    EventKind.STUDY_AVAILABLE: "Study can be opened",
    EventKind.REPORT_STORED: "Report was stored",
}
# Order status (table 0038) and result status (table 0123).
_STATUSES = {
    EventKind.SCHEDULED: ("SC", "S"),
    EventKind.ARRIVED: ("SC", "S"),
    EventKind.STARTED: ("IP", "I"),
    EventKind.COMPLETED: ("CM", "R"),
    EventKind.DISCONTINUED: ("DC", "X"),
    EventKind.CANCELED: ("CA", "X"),
    EventKind.STUDY_AVAILABLE: ("CM", "R"),
    EventKind.REPORT_STORED: ("CM", "R"),
}
_STILL_OPEN = frozenset({StepStatus.SCHEDULED, StepStatus.ARRIVED, StepStatus.READY, StepStatus.STARTED})


@dataclass(frozen=True)
class BuiltMessage:
    """A message ready to be sent.

    Attributes
    ----------
    brief : what the journal is to know of it.
    """

    raw: bytes
    brief: Brief


class Builder:
    """Builds messages. Safe to use from any thread; some 0.1 ms each, see `templates`."""

    def __init__(self, settings: OutboundSettings) -> None:
        self._settings = settings

    def prepare(self) -> None:
        """Have hl7apy build what will be needed: some 50 ms a kind of message, so not while anybody waits."""
        for destination in self._settings.destinations.values():
            for message in (destination.message, destination.result_message):
                template(message, destination.version_of(message), destination.link)

    def build(self, event: Event, destination: DestinationSettings) -> BuiltMessage:
        """Return the message that tells `destination` of an event."""
        message = destination.result_message if event.kind in RESULTS else destination.message
        version = destination.version_of(message)
        made = template(message, version, destination.link)
        values = self._values(event, destination)
        raw, charset = _encoded(made.filled({**values, "charset": destination.charset}), destination.charset)
        if charset != destination.charset:
            raw = made.filled({**values, "charset": charset}).encode()
        return BuiltMessage(raw, _brief(message, version, charset, event, values["control_id"]))

    def _values(self, event: Event, destination: DestinationSettings) -> Mapping[str, str]:
        order_status, result_status = _statuses(event)
        return {
            "sending_application": self._settings.sending_application,
            "sending_facility": self._settings.sending_facility,
            "receiving_application": destination.receiving_application,
            "receiving_facility": destination.receiving_facility,
            "processing_id": destination.processing_id,
            "now": self._moment(datetime.now(UTC)),
            "at": self._moment(event.at),
            "control_id": secrets.token_hex(_CONTROL_ID_BYTES).upper(),
            "event": event.kind.upper(),
            "event_text": _TEXTS[event.kind],
            "order_status": order_status,
            "result_status": result_status,
            "observation_status": "F" if event.study_instance_uid else "",
            "link": self._link(event) if destination.link != "none" else "",
            **_patient(event),
            **_order(event),
        }

    def _link(self, event: Event) -> str:
        uid = event.study_instance_uid
        return self._settings.link.replace("{StudyInstanceUID}", uid) if uid else ""

    def _moment(self, at: datetime) -> str:
        zone: tzinfo | None = ZoneInfo(self._settings.time_zone) if self._settings.time_zone else None
        return f"{at.astimezone(zone):%Y%m%d%H%M%S%z}"


def _statuses(event: Event) -> tuple[str, str]:
    order_status, result_status = _STATUSES[event.kind]
    if event.kind in RESULTS and event.step_status in _STILL_OPEN:
        # Some, but not all: the step itself tells when it is completed.
        order_status = "A"
    if event.kind is EventKind.REPORT_STORED and event.is_verified:
        result_status = "F"
    return order_status, result_status


def _patient(event: Event) -> dict[str, str]:
    family, given, middle, prefix, suffix = _name_parts(event.patient_name)
    return {
        "patient_id": event.patient_id,
        "issuer_of_patient_id": event.issuer_of_patient_id,
        "family_name": family,
        "given_name": given,
        "middle_name": middle,
        "name_prefix": prefix,
        "name_suffix": suffix,
        "patient_birth_date": event.patient_birth_date,
        "patient_sex": event.patient_sex,
        "admission_id": event.admission_id,
    }


def _order(event: Event) -> dict[str, str]:
    procedure = event.procedure
    return {
        "placer_order_number": event.placer_order_number,
        "filler_order_number": event.filler_order_number,
        # OBR-4 must not be empty.
        "procedure_code": procedure.value if procedure else "113014",
        "procedure_text": procedure.meaning if procedure else "DICOM Study",
        "procedure_scheme": procedure.scheme if procedure else "DCM",
        "accession_number": event.accession_number,
        "requested_procedure_id": event.requested_procedure_id,
        "step_id": event.step_id,
        "modality": event.modality,
        "study_instance_uid": event.study_instance_uid,
        "scheduled_start": event.scheduled_start,
    }


def _name_parts(name: str) -> list[str]:
    """Return family, given, middle name, prefix and suffix of a DICOM name; its alphabetic group where it has one."""
    groups = name.split("=")
    parts = next((group for group in groups if group.strip(" ^")), "").split("^")
    return [part.strip() for part in (*parts, "", "", "", "", "")[:5]]


def _encoded(text: str, charset: str) -> tuple[bytes, str]:
    """Return the bytes and the name of the character set that they are in: never a replaced character."""
    try:
        return encode(text, charset), charset
    except UnencodableText:
        _log.warning("A message can't be written in %s and goes out in %s", charset, _UTF_8)
        return text.encode(), _UTF_8


def _brief(message: MessageType, version: str, charset: str, event: Event, control_id: str) -> Brief:
    code, trigger = message.split("_")
    return Brief(
        control_id=control_id,
        message_type=code,
        trigger_event=trigger,
        version=version,
        charset=charset,
        patient_ids=event.patient_id,
        patient_name="^".join(_name_parts(event.patient_name)[:2]).strip("^"),
        accession_numbers=event.accession_number,
    )
