"""The header, from bytes."""

from __future__ import annotations

import pytest

from pacs.hl7.errors import NotHl7
from pacs.hl7.header import Header


def test_scan_reads_every_field_it_promises() -> None:
    """All of MSH that the bridge acts on."""
    header = Header.scan(
        b"MSH|^~\\&|HIS^1.2^ISO|HOSP|PACS|RAD|20260310083000-0300||ADT^A08^ADT_A01|ID 1|P^T|2.5^ESP&&HL70399|||AL|NE|"
        b"ESP|ASCII~8859/1\rPID|1"
    )
    assert (header.field_separator, header.encoding_characters) == ("|", "^~\\&")
    assert header.sending_application == "HIS^1.2^ISO"
    assert header.name_of(header.sending_application) == "HIS"
    assert (header.sending_facility, header.receiving_application, header.receiving_facility) == ("HOSP", "PACS", "RAD")
    assert header.sent_at == "20260310083000-0300"
    assert (header.message_type, header.trigger_event, header.structure) == ("ADT", "A08", "ADT_A01")
    assert (header.type, header.control_id) == ("ADT^A08", "ID 1")
    assert (header.processing_id, header.version, header.release) == ("P", "2.5", (2, 5))
    assert (header.accept_acknowledgment, header.application_acknowledgment) == ("AL", "NE")
    assert header.charset_names == ("ASCII", "8859/1")
    assert (header.codec, header.fields[12], header.fields[18]) == ("ascii", "2.5^ESP&&HL70399", "ASCII~8859/1")


@pytest.mark.parametrize(
    "front", [b"", b"\xef\xbb\xbf", b"\x0b", b"  ", b"\r\n", b"FHS|^~\\&|A\rBHS|^~\\&|A\r", b"hello\r\n"]
)
def test_scan_finds_the_header_behind_what_may_stand_before_it(front: bytes) -> None:
    """Byte order marks, stray start bytes and batch segments hide no message."""
    assert Header.scan(front + b"MSH|^~\\&|A||||||ORU^R01|7|P|2.5\rPID|").control_id == "7"


@pytest.mark.parametrize(
    "raw", [b"", b"hola mundo\r", b"MSH", b"MSHA", b"PID|1\rxMSH|^~\\&", b"\xff\xfeM\0S\0H\0|\0", b"{}", b"MS"]
)
def test_scan_refuses_what_is_no_message(raw: bytes) -> None:
    """No MSH at the start of a segment: no HL7."""
    with pytest.raises(NotHl7):
        Header.scan(raw)


@pytest.mark.parametrize(
    "raw", [b"MSH|", b"MSH|^~\\&", b"MSH|^~\\&|HIS|HOSP|PACS|RA", b"MSH|^~\\&\r", b"MSH||||||||||"]
)
def test_scan_leaves_empty_what_a_short_header_lacks(raw: bytes) -> None:
    """A header cut off is read as far as it goes."""
    header = Header.scan(raw)
    assert (header.message_type, header.control_id, header.version, header.charset_names) == ("", "", "", ())
    assert header.release == (0, 0)
    assert len(header.fields) == 19


@pytest.mark.parametrize(
    ("name", "codec"), [("Clinic", "ascii"), ("Clínica", "utf-8"), ("Clínica", "latin-1"), ("«»", "latin-1")]
)
def test_scan_reads_names_in_their_character_set(name: str, codec: str) -> None:
    """Applications with accents keep them."""
    header = Header.scan(f"MSH|^~\\&|{name}|H\r".encode(codec))
    assert (header.sending_application, header.codec) == (name, codec)


@pytest.mark.parametrize(
    ("field", "kind"),
    [
        (b"ORM", "ORM^O01"),
        (b"ORU^", "ORU^R01"),
        (b"ORU^R01 ", "ORU^R01"),
        (b"ADT", "ADT"),
        (b"ADT^A01^ADT^A01", "ADT^A01"),
    ],
)
def test_scan_fills_in_the_event_of_a_type_that_has_but_one(field: bytes, kind: str) -> None:
    """Old senders write ORM for ORM^O01; nothing is guessed of ADT."""
    assert Header.scan(b"MSH|^~\\&|A||||||" + field + b"|1").type == kind


@pytest.mark.parametrize("end", [b"\r", b"\n", b"\r\n", b""])
def test_scan_stops_at_any_segment_end(end: bytes) -> None:
    """CR, LF and CRLF end a segment."""
    assert Header.scan(b"MSH|^~\\&|A||||||ADT^A01|7|P|2.3" + end + b"|x" * bool(end)).version == "2.3"


@pytest.mark.parametrize(
    ("field", "names"),
    [("UNICODE UTF-8", ("UNICODE UTF-8",)), ("UTF-8^ISO-8859-1", ("UTF-8", "ISO-8859-1")), ("~8859/1", ("8859/1",))],
)
def test_scan_takes_every_charset_named(field: str, names: tuple[str, ...]) -> None:
    """Repetitions, and what some write as components."""
    assert Header.scan(b"MSH|^~\\&|" + b"|" * 15 + field.encode()).charset_names == names
