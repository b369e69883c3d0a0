"""Messages to the hospital's systems: what they say, and that they are what the standard says."""

from __future__ import annotations

import itertools
from datetime import UTC, datetime

import pytest
from hl7apy.consts import VALIDATION_LEVEL
from hl7apy.parser import parse_message
from pydantic import ValidationError

from pacs.hl7.charsets import decode
from pacs.hl7.header import Header
from pacs.hl7.message import Message
from pacs.hl7.outbound.builder import Builder
from pacs.hl7.outbound.conformance import faults
from pacs.hl7.outbound.events import Code, Event
from pacs.hl7.outbound.kinds import EventKind
from pacs.hl7.outbound.layout import VERSIONS, MessageType
from pacs.hl7.outbound.settings import DestinationSettings, OutboundSettings
from pacs.worklist.statuses import StepStatus

AT = datetime(2026, 3, 10, 13, 17, tzinfo=UTC)
SETTINGS = OutboundSettings.model_validate(
    {
        "SendingFacility": "HOSPITAL",
        "TimeZone": "America/Asuncion",
        "Link": "https://pacs.example/v?a=1&u={StudyInstanceUID}",
    }
)
LINK = "https://pacs.example/v?a=1&u=2.25.1"
KINDS = [(message, version) for message in MessageType for version in VERSIONS[message]]


def event(kind: EventKind = EventKind.STARTED, **values: object) -> Event:
    """Return an event with all that can be known; `values` replace."""
    usual: dict[str, object] = {
        "patient_id": "P-1",
        "issuer_of_patient_id": "MRN",
        "patient_name": "NUÑEZ^José^María^Dr.^Jr.",
        "patient_birth_date": "19800214",
        "patient_sex": "F",
        "admission_id": "V-9",
        "placer_order_number": "PO-1",
        "filler_order_number": "FO-1",
        "accession_number": "A-1",
        "requested_procedure_id": "RP-1",
        "step_id": "SPS-1",
        "study_instance_uid": "2.25.1",
        "modality": "CT",
        "procedure": Code("TCT", "TC de tórax", "99H"),
        "scheduled_start": "20260310101500",
        "step_status": StepStatus.STARTED,
    }
    return Event(kind=kind, at=AT, **(usual | values))  # type: ignore[arg-type]


def destination(**values: object) -> DestinationSettings:
    """Return the settings of a destination."""
    return DestinationSettings.model_validate({"Host": "his", "Port": 2575, **values})


def built(what: Event, **values: object) -> Message:
    """Return the message about an event, read by our own reader."""
    raw = Builder(SETTINGS).build(what, destination(**values)).raw
    return Message.parse(decode(raw, Header.scan(raw)).text)


@pytest.mark.parametrize(("message", "version"), KINDS)
@pytest.mark.parametrize("link", ["RP", "ST", "none"])
def test_message_is_valid_to_the_letter(message: MessageType, version: str, link: str) -> None:
    """Every type and version, read back by hl7apy, is found without a fault (strict, groups and all)."""
    values = {"Message": message, "ResultMessage": message, "Version": version, "Link": link}
    raw = Builder(SETTINGS).build(event(), destination(**values)).raw
    text = "\r".join(line for line in raw.decode().split("\r") if not line.startswith("ZDS"))
    read = parse_message(text, validation_level=VALIDATION_LEVEL.TOLERANT, find_groups=True)
    assert faults(read) == []
    assert read.to_er7().rstrip("\r") == text.rstrip("\r")


def test_order_message_says_all_that_is_known() -> None:
    """ORM^O01 of version 2.3.1, as IHE Radiology has it: each value in its field."""
    message = built(event())
    expected = {
        "MSH-3": "PACS",
        "MSH-4": "HOSPITAL",
        "MSH-9.1": "ORM",
        "MSH-9.2": "O01",
        "MSH-11": "P",
        "MSH-12": "2.3.1",
        "MSH-18": "UNICODE UTF-8",
        "PID-3.1": "P-1",
        "PID-3.4": "MRN",
        "PID-5.1": "NUÑEZ",
        "PID-5.2": "José",
        "PID-5.3": "María",
        "PID-5.4": "Jr.",
        "PID-5.5": "Dr.",
        "PID-7": "19800214",
        "PID-8": "F",
        "PV1-19": "V-9",
        "ORC-1": "SC",
        "ORC-2": "PO-1",
        "ORC-3": "FO-1",
        "ORC-5": "IP",
        "ORC-7.4": "20260310101500",
        "ORC-9": "20260310101700-0300",
        "ORC-16.1": "STARTED",
        "OBR-4.1": "TCT",
        "OBR-4.2": "TC de tórax",
        "OBR-4.3": "99H",
        "OBR-18": "A-1",
        "OBR-19": "RP-1",
        "OBR-20": "SPS-1",
        "OBR-24": "CT",
        "OBR-25": "I",
        "OBX-5": "2.25.1",
        "ZDS-1.1": "2.25.1",
    }
    assert {path: message.text(path) for path in expected} == expected


def test_imaging_order_names_the_step() -> None:
    """OMI^O23: IPC carries what names step and study."""
    message = built(event(), Message="OMI_O23")
    named = [message.text(f"IPC-{number}") for number in range(1, 6)]
    assert named == ["A-1", "RP-1", "2.25.1", "SPS-1", "CT"]
    assert message.text("TQ1-7") == "20260310101500"


def test_link_opens_the_study() -> None:
    """OBX of type RP: the address comes out of its escapes whole, and says that it is an address."""
    message = built(event(EventKind.STUDY_AVAILABLE))
    link = message.all("OBX")[1]
    assert (link.text(2), link.text(5), link.text(5, 4)) == ("RP", LINK, "URL")
    assert message.text("MSH-9.1") == "ORU"
    as_text = built(event(EventKind.STUDY_AVAILABLE), Link="ST").all("OBX")[1]
    assert (as_text.text(2), as_text.text(5)) == ("ST", LINK)
    assert len(built(event(EventKind.STUDY_AVAILABLE), Link="none").all("OBX")) == 1


@pytest.mark.parametrize(
    ("kind", "step_status", "order_status", "result_status"),
    [
        (EventKind.SCHEDULED, StepStatus.SCHEDULED, "SC", "S"),
        (EventKind.ARRIVED, StepStatus.ARRIVED, "SC", "S"),
        (EventKind.STARTED, StepStatus.STARTED, "IP", "I"),
        (EventKind.COMPLETED, StepStatus.COMPLETED, "CM", "R"),
        (EventKind.DISCONTINUED, StepStatus.DISCONTINUED, "DC", "X"),
        (EventKind.CANCELED, StepStatus.CANCELED, "CA", "X"),
        (EventKind.STUDY_AVAILABLE, StepStatus.STARTED, "A", "R"),
        (EventKind.STUDY_AVAILABLE, StepStatus.COMPLETED, "CM", "R"),
        (EventKind.STUDY_AVAILABLE, None, "CM", "R"),
        (EventKind.REPORT_STORED, StepStatus.COMPLETED, "CM", "R"),
    ],
)
def test_status_is_that_of_the_event(
    kind: EventKind, step_status: StepStatus | None, order_status: str, result_status: str
) -> None:
    """ORC-5 by table 0038, OBR-25 by table 0123; images of a step that goes on complete nothing."""
    message = built(event(kind, step_status=step_status))
    assert (message.text("ORC-5"), message.text("OBR-25")) == (order_status, result_status)


def test_only_a_signed_report_is_final() -> None:
    """OBR-25 is F for a report that its author verified, and for no other."""
    assert built(event(EventKind.REPORT_STORED, is_verified=True)).text("OBR-25") == "F"


@pytest.mark.parametrize("message", MessageType)
def test_what_is_not_known_is_not_said(message: MessageType) -> None:
    """Nothing but a patient and a study: no empty segments, no empty parts, and OBR-4 says it is a study."""
    bare = Event(
        kind=EventKind.STARTED,
        at=AT,
        patient_id="P-1",
        issuer_of_patient_id="",
        patient_name="",
        study_instance_uid="2.25.1",
    )
    read = built(bare, Message=message)
    assert [str(segment) for segment in read.segments if segment.name in {"PID", "PV1", "TQ1"}] == ["PID|1||P-1"]
    assert read.text("OBR-4.2") == "DICOM Study"
    assert not any(str(segment).endswith(("|", "^", "&")) for segment in read.segments)


NASTY = ["a|b^c&d~e\\f", "line\rbreak\nhere", "\\X0D\\", "Ünïcödé 日本", "^^^", '""', "|", "\\"]


@pytest.mark.parametrize("text", NASTY)
def test_text_comes_out_as_it_went_in(text: str) -> None:
    """Separators, line ends and escapes in a value change nothing of it, and nothing of the message around."""
    message = built(event(procedure=Code("C", text, "S"), placer_order_number="PO-1"))
    if text != '""':
        assert message.text("OBR-4.2") == text
    assert (message.text("OBR-4.3"), message.text("OBR-18"), message.text("ORC-2")) == ("S", "A-1", "PO-1")


@pytest.mark.parametrize(
    ("charset", "name", "said"),
    [
        ("8859/1", "NUÑEZ^José", "8859/1"),
        ("8859/1", "日本^太郎", "UNICODE UTF-8"),
        ("ASCII", "NUÑEZ^José", "UNICODE UTF-8"),
        ("UNICODE UTF-8", "日本^太郎", "UNICODE UTF-8"),
    ],
)
def test_no_character_is_ever_replaced(charset: str, name: str, said: str) -> None:
    """A name that the destination's character set can't write goes out in UTF-8, and says so."""
    message = built(event(patient_name=name, procedure=Code("C", "x", "S")), Charset=charset)
    assert f"{message.text('PID-5.1')}^{message.text('PID-5.2')}" == name
    assert message.text("MSH-18") == said


def test_ideographic_name_alone_is_sent() -> None:
    """A name without an alphabetic group is still a name."""
    assert built(event(patient_name="=日本^太郎")).text("PID-5.1") == "日本"


def test_control_ids_are_unique_and_short_enough() -> None:
    """MSH-10 has 20 characters at most, and no two are alike."""
    builder = Builder(SETTINGS)
    ids = {builder.build(event(), destination()).brief.control_id for _ in range(1000)}
    assert len(ids) == 1000
    assert {len(each) for each in ids} == {20}


@pytest.mark.parametrize(
    "values",
    [
        {"Version": "2.3.1", "Message": "OMI_O23"},
        {"Version": "2.7"},
        {"Charset": "KLINGON"},
        {"Message": "ADT_A01"},
        {"Events": ["born"]},
        {"Port": 0},
        {"Link": "HTTP"},
        {"Hosts": "his"},
    ],
)
def test_destination_that_can_not_be_is_refused(values: dict[str, object]) -> None:
    """A mistake in the settings is told at the start, not when a message is due."""
    with pytest.raises(ValidationError):
        destination(**values)


def test_every_event_can_be_sent_as_every_message() -> None:
    """No combination of event and message type is left out."""
    for kind, message in itertools.product(EventKind, MessageType):
        read = built(event(kind), Message=message, ResultMessage=message)
        assert read.text("MSH-9.3") == message
        assert read.text("ORC-16.1") == kind.upper()
