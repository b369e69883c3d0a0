"""The answers: ours, and those of others."""

from __future__ import annotations

from datetime import UTC, datetime, timedelta, timezone

import pytest
from hl7apy.parser import parse_message

from pacs.hl7.acknowledgments import AckCode, AckReceived, acknowledge, moment
from pacs.hl7.errors import Fault, MalformedMessage, NotHl7
from pacs.hl7.header import Header

NOW = datetime(2026, 3, 10, 8, 30, 5, tzinfo=timezone(timedelta(hours=-3)))
MISSING = Fault("101", "PID^1^3", "PID-3 (patient id) is missing.")
UNKNOWN = Fault("200", "MSH^1^9^1^1", "This type is not taken.", rejects=True)


def answer(message: bytes, *faults: Fault, enhanced: bool = False) -> bytes:
    """Return the answer to a message with these faults."""
    code = AckCode.of(faults, enhanced=enhanced)
    return acknowledge(Header.scan(message), message, code, faults, sent_at=moment(NOW), control_id="A7")


def incoming(version: str, *, tail: str = "") -> bytes:
    """Return a message of a version."""
    return f"MSH|^~\\&|HIS|HOSP^1.2|PACS|RAD|20260310||ADT^A08^ADT_A01|ID 1|P|{version}{tail}\rPID|1\r".encode()


def test_acceptance_gives_back_what_was_sent() -> None:
    """Applications change places; control id, processing id and version come back."""
    assert answer(incoming("2.5.1")) == (
        b"MSH|^~\\&|PACS|RAD|HIS|HOSP^1.2|20260310083005-0300||ACK^A08^ACK|A7|P|2.5.1\rMSA|AA|ID 1\r"
    )


@pytest.mark.parametrize(
    ("version", "segments"),
    [
        ("2.3", b"ACK|A7|P|2.3\rMSA|AE|ID 1|101 PID^1^3: PID-3 (patient id) is missing.\r"),
        ("2.4", b"ACK^A08^ACK|A7|P|2.4\rMSA|AE|ID 1|101 PID^1^3: PID-3 (patient id) is missing.\r"),
        ("{}", b"ACK|A7|P|{}\rMSA|AE|ID 1|101 PID^1^3: PID-3 (patient id) is missing.\r"),
        (
            "2.5",
            b"|2.5\rMSA|AE|ID 1\rERR||PID^1^3|101^Required field missing^HL70357|E||||PID-3 (patient id) is missing.\r",
        ),
    ],
)
def test_refusal_tells_why_as_the_version_has_it(version: str, segments: bytes) -> None:
    """ERR came with 2.5; before it, MSA-3 has to do. A caret of ours is escaped."""
    expected = segments.replace(b"PID^1^3:", b"PID\\S\\1\\S\\3:")
    assert answer(incoming(version), MISSING).endswith(expected)


def test_refusal_has_an_err_for_each_fault_and_the_hardest_code() -> None:
    """All faults at once."""
    received = AckReceived.parse(answer(incoming("2.6"), MISSING, UNKNOWN))
    assert (received.code, received.control_id) == (AckCode.AR, "ID 1")
    assert [(error.hl7_code, error.location, error.text) for error in received.errors] == [
        ("101", "PID^1^3", MISSING.text),
        ("200", "MSH^1^9^1^1", UNKNOWN.text),
    ]


@pytest.mark.parametrize(
    ("faults", "enhanced", "code"),
    [
        ((), False, "AA"),
        ((MISSING,), False, "AE"),
        ((MISSING, UNKNOWN), False, "AR"),
        ((), True, "CA"),
        ((MISSING,), True, "CE"),
        ((UNKNOWN,), True, "CR"),
    ],
)
def test_code_is_that_of_the_worst_fault(faults: tuple[Fault, ...], enhanced: bool, code: str) -> None:  # noqa: FBT001
    """A for the application, C for safe storage."""
    assert AckCode.of(faults, enhanced=enhanced) == code


@pytest.mark.parametrize("encoding", ["^~\\&", "^~&", "@#$&", "^\\~\\&", "^"])
def test_answer_uses_the_separators_of_the_message(encoding: str) -> None:
    """Whoever sends odd separators reads odd separators."""
    raw = f"MSH%{encoding}%HIS%H%P%R%%%ADT{encoding[0]}A08%7%P%2.5\r".encode()
    sent = answer(raw, MISSING)
    assert sent.startswith(f"MSH%{encoding}%P%R%HIS%H%".encode())
    received = AckReceived.parse(sent)
    assert (received.code, received.control_id, received.errors[0].text) == ("AE", "7", MISSING.text)


@pytest.mark.parametrize("codec", ["utf-8", "latin-1"])
def test_answer_gives_back_the_same_bytes_of_a_name(codec: str) -> None:
    """An application with an accent finds itself in the answer, in its character set."""
    raw = "MSH|^~\\&|Clínica|Ñ|P|R|||ADT^A08|é1|P|2.5||||||8859/1\rPID|".encode(codec)
    sent = answer(raw)
    assert "|P|R|Clínica|Ñ|".encode(codec) in sent
    assert "|2.5||||||8859/1\rMSA|AA|é1\r".encode(codec) in sent


def test_answer_to_what_is_no_hl7_has_a_header_of_our_own() -> None:
    """Even garbage in a frame is answered."""
    fault = Fault("100", "", "No MSH.", rejects=True)
    sent = acknowledge(None, b"hola", AckCode.AR, [fault], sent_at=moment(NOW), control_id="A7")
    assert sent == (
        b"MSH|^~\\&|PACS||||20260310083005-0300||ACK|A7|P|2.5\rMSA|AR\r"
        b"ERR|||100^Segment sequence error^HL70357|E||||No MSH. (4 bytes)\r"
    )
    assert AckReceived.parse(sent).control_id == ""


def test_answer_fills_what_a_short_header_lacks() -> None:
    """A required field of the answer is not left empty because the question lacked it."""
    assert b"||ACK|A7|P|2.5\rMSA|AR\rERR|" in answer(b"MSH|^~\\&|HIS|HOSP|PACS|RA", UNKNOWN)


@pytest.mark.parametrize("version", ["2.4", "2.5", "2.5.1", "2.6"])
@pytest.mark.parametrize("faults", [(), (MISSING,), (MISSING, UNKNOWN)])
def test_answer_is_valid_in_hl7apy(version: str, faults: tuple[Fault, ...]) -> None:
    """Another program, strict about versions, takes our answers."""
    parsed = parse_message(answer(incoming(version), *faults).decode(), find_groups=False)
    assert parsed.validate()


@pytest.mark.parametrize(
    ("raw", "expected"),
    [
        (b"MSH|^~\\&|A\rMSA|AA|17\r", ("AA", "17", "")),
        (b"MSH|^~\\&|A\rMSA| aa |17|fine\r", ("AA", "17", "fine")),
        (b"MSH|^~\\&|A\nMSA|CE|17^x|no\\F\\way\n", ("CE", "17^x", "no|way")),
        (b"MSH|^~\\&|A\rMSA|AE|1\rERR|PID^1^3^101&Required field missing\r", ("AE", "1", "Required field missing")),
        (b"MSH|^~\\&|A\rMSA|AR|1\rERR|||207^Internal|E||||broken \xe9\r", ("AR", "1", "broken é")),
        (b"MSH|^~\\&|A\rMSA|AE\r", ("AE", "", "")),
    ],
)
def test_received_answer_is_read_whatever_its_version(raw: bytes, expected: tuple[str, str, str]) -> None:
    """What a HIS says is understood, accents or not."""
    received = AckReceived.parse(raw)
    assert (received.code, received.control_id, received.text) == expected


def test_received_answer_locates_its_errors() -> None:
    """ERR before 2.5 has place and code in one field."""
    received = AckReceived.parse(b"MSH|^~\\&|A\rMSA|AE|1\rERR|PID^1^3^101&Required field missing\r")
    assert received.errors == (Fault("101", "PID^1^3", "Required field missing"),)


@pytest.mark.parametrize(
    ("raw", "error"),
    [
        (b"", NotHl7),
        (b"\x06", NotHl7),
        (b"HTTP/1.1 400 Bad Request", NotHl7),
        (b"MSH|^~\\&|A||||||ORU^R01|1\rPID|1\r", MalformedMessage),
        (b"MSH|^~\\&|A\rMSA||1\r", MalformedMessage),
        (b"MSH|^~\\&|A\rMSA|OK|1\r", MalformedMessage),
    ],
)
def test_received_answer_that_is_none_is_an_error(raw: bytes, error: type[Exception]) -> None:
    """What is no acknowledgment is never taken for one."""
    with pytest.raises(error):
        AckReceived.parse(raw)


def test_answer_tells_utc_as_an_offset() -> None:
    """MSH-7 never leaves the time zone open."""
    sent = acknowledge(None, b"", AckCode.AR, sent_at=moment(NOW.astimezone(UTC)), control_id="1")
    assert b"20260310113005+0000" in sent
