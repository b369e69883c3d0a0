"""Messages taken apart: nothing lost, nothing changed."""

from __future__ import annotations

import pytest

from fixtures.hl7_messages import ORDER, REPORT
from pacs.errors import InvalidInput
from pacs.hl7.errors import NotHl7
from pacs.hl7.message import Message
from pacs.hl7.paths import Path

PID = 'PID|1||4711^^^HOSP&1.2&ISO^PI~~88^^^MI||GARCÍA PÉREZ^""^^&b&c||""|  M |'
MESSAGE = Message.parse(f"MSH|^~\\&|HIS||||20260310||ADT^A08|1|P|2.5\r{PID}\rOBX|1|TX|||a\\S\\b\rOBX|2|TX|||c\r")


@pytest.mark.parametrize(
    ("path", "text"),
    [
        ("PID-3", "4711"),
        ("PID-3.1", "4711"),
        ("PID-3.4", "HOSP"),
        ("PID-3.4.1", "HOSP"),
        ("PID-3.4.2", "1.2"),
        ("PID-3.4.4", None),
        ("PID-3[2]", None),
        ("PID-3[3].4", "MI"),
        ("PID-3[4]", None),
        ("PID-1[2]", None),
        ("PID-1.2", None),
        ("PID-1.1.2", None),
        ("PID-2", None),
        ("PID-5.1", "GARCÍA PÉREZ"),
        ("PID-5.2", ""),
        ("PID-5.3", None),
        ("PID-5.4.1", None),
        ("PID-5.4.2", "b"),
        ("PID-7", ""),
        ("PID-7.3", ""),
        ("PID-8", "  M "),
        ("PID-9", None),
        ("PID-99", None),
        ("OBX-5", "a^b"),
        ("OBX[2]-5", "c"),
        ("OBX[3]-5", None),
        ("ZZZ-1", None),
        ("MSH-1", "|"),
        ("MSH-2", "^~\\&"),
        ("MSH-3", "HIS"),
        ("MSH-9.2", "A08"),
        ("MSH-12", "2.5"),
    ],
)
def test_text_reads_one_place(path: str, text: str | None) -> None:
    """Absent is None, null is "", all else is the unescaped value."""
    assert MESSAGE.text(path) == text


@pytest.mark.parametrize("end", ["\r", "\n", "\r\n", "\r\r", "\r\n\r\n"])
def test_parse_takes_every_segment_end(end: str) -> None:
    """Segments end in CR; some senders disagree."""
    text = ORDER.replace("\r", end)
    message = Message.parse(text)
    assert [segment.name for segment in message.segments] == ["MSH", "PID", "PV1", "ORC", "OBR", "ZDS"]
    assert message.text("OBR-24") == "CR"
    assert str(message) == text


def test_parse_joins_lines_that_start_no_segment_to_the_text_before() -> None:
    """Line ends that a sender did not escape belong to the text."""
    message = Message.parse("MSH|^~\\&|A\rOBX|1|TX|||first\r\n\nsecond line\rthird|4|\rOBX|2\r")
    assert message.text("OBX-5") == "first\r\n\nsecond line\rthird"
    assert len(message.all("OBX")) == 2


def test_parse_finds_indented_segments_and_those_without_fields() -> None:
    """Blanks before a segment and segments of a name alone are seen."""
    message = Message.parse("\ufeffMSH|^~\\&|A\n  PID|1||7\nZZZ\n\tZPI|1")
    assert [str(segment) for segment in message.segments] == ["MSH|^~\\&|A", "PID|1||7", "ZZZ", "ZPI|1"]


@pytest.mark.parametrize("text", ["", "hola", "PID|1", "MSH", "xMSH|^~\\&"])
def test_parse_refuses_what_has_no_header(text: str) -> None:
    """No MSH, no message."""
    with pytest.raises(NotHl7):
        Message.parse(text)


def test_repetitions_keep_their_places() -> None:
    """Empty repetitions count."""
    segment = MESSAGE.first("PID")
    assert segment is not None
    assert [repetition.text(1) for repetition in segment.repetitions(3)] == ["4711", None, "88"]
    assert segment.repetitions(2) == []
    assert [str(repetition) for repetition in segment.repetitions(5)] == ['GARCÍA PÉREZ^""^^&b&c']


def test_bounds_find_what_raw_reads() -> None:
    """A value looked up in place is the value split off."""
    for segment in Message.parse(ORDER).segments:
        for field in range(1, 30):
            start, end = segment.bounds(field)
            expected = segment.raw(field) if (segment.name, field) != ("MSH", 1) else ""
            if (segment.name, field) != ("MSH", 1):
                assert ORDER[start:end] == expected


def test_long_segment_is_read_as_a_short_one_is() -> None:
    """A document of megabytes is found in place."""
    document = "QUJD" * 200_000
    message = Message.parse(f"MSH|^~\\&|A\rOBX|1|ED|PDF^x||^AP^^Base64^{document}||||||F\r")
    segment = message.first("OBX")
    assert segment is not None
    assert (segment.text(2), segment.text(3, 2), segment.text(5, 4), segment.text(11)) == ("ED", "x", "Base64", "F")
    assert segment.text(5, 5) == document
    assert segment.raw(12) == ""


@pytest.mark.parametrize(
    ("path", "value", "changed"),
    [
        ("PID-2", "9", "PID|1|9|4711^^^HOSP&1.2&ISO^PI~~88^^^MI||"),
        ("PID-3", "9", "PID|1||9~~88^^^MI||"),
        ("PID-3[2]", "9", "PID|1||4711^^^HOSP&1.2&ISO^PI~9~88^^^MI||"),
        ("PID-3[4].4", "A|B", "PID|1||4711^^^HOSP&1.2&ISO^PI~~88^^^MI~^^^A\\F\\B||"),
        ("PID-3.4.2", "3", "PID|1||4711^^^HOSP&3&ISO^PI~~88^^^MI||"),
        ("PID-3.4", None, "PID|1||4711^^^^PI~~88^^^MI||"),
        ("PID-3.1", "", 'PID|1||""^^^HOSP&1.2&ISO^PI~~88^^^MI||'),
    ],
)
def test_with_value_changes_one_place_alone(path: str, value: str | None, changed: str) -> None:
    """The rest stays character for character, and the value is read back."""
    edited = MESSAGE.with_value(path, value)
    before = "PID|1||4711^^^HOSP&1.2&ISO^PI~~88^^^MI||"
    assert str(edited) == str(MESSAGE).replace(before, changed)
    assert edited.text(path) == value


def test_with_value_lengthens_a_short_segment() -> None:
    """A field beyond the end is put where it belongs, in MSH too."""
    assert str(MESSAGE.with_value("OBX[2]-8", "H")).endswith("OBX|2|TX|||c|||H\r")
    assert MESSAGE.with_value("MSH-18", "8859/1").text("MSH-18") == "8859/1"


@pytest.mark.parametrize(
    "path", ["ZZZ-1", "OBX[3]-1", "MSH-1", "MSH-2", "PID", "PID-0", "PID-3[0]", "pid-3", "PID-3.", ""]
)
def test_with_value_refuses_places_that_are_none(path: str) -> None:
    """A place that can't be is told, not guessed."""
    with pytest.raises(InvalidInput):
        MESSAGE.with_value(path, "x")


@pytest.mark.parametrize("text", ["PID-3", "PID-3.4", "PID-3[2].4.1", "OBX[2]-5", "OBX[3]-5[2].1"])
def test_path_is_written_as_it_was_read(text: str) -> None:
    """Paths and ERR-2 locations go forth and back."""
    path = Path.parse(text)
    assert str(path) == text
    assert Path.at(path.location) == path


@pytest.mark.parametrize(
    ("location", "path"),
    [
        ("PID^1^3", "PID-3"),
        ("OBX^2^5^1^5", "OBX[2]-5.5"),
        ("PID^1^3^2^4^1", "PID-3[2].4.1"),
        ("MRG^1", None),
        ("", None),
    ],
)
def test_path_is_found_from_the_location_of_a_fault(location: str, path: str | None) -> None:
    """What an ERR segment points at can be shown."""
    found = Path.at(location)
    assert (str(found) if found else None) == path


def test_order_groups_keep_each_order_with_its_details() -> None:
    """Several OBR under one ORC are several orders; timing before the first is that of all."""
    message = Message.parse(
        "MSH|^~\\&|A\rPID|1\rPV1|1\rORC|NW|1\rTQ1|1\rOBR|1|1\rNTE|1||a\rZDS|1.2\rOBR|2|1\rIPC|x\rIPC|y\rOBX|1\rZZ1|q\r"
        "PV1|1\rORC|CA|2\rORC|NW|3\rOBR|3|3\rZDS|1.3\r"
    )
    first, second, canceled, last = message.order_groups()
    assert [group.orc and group.orc.text(2) for group in message.order_groups()] == ["1", "1", "2", "3"]
    assert [group.obr and group.obr.text(1) for group in message.order_groups()] == ["1", "2", None, "3"]
    assert (first.zds and first.zds.text(1), second.zds, last.zds and last.zds.text(1)) == ("1.2", None, "1.3")
    assert (len(first.tq1s), len(second.tq1s), len(last.tq1s)) == (1, 1, 0)
    assert (len(first.notes), len(second.ipcs), len(second.observations)) == (1, 2, 1)
    assert [segment.name for segment in second.others] == ["ZZ1"]
    assert canceled.obr is None


def test_order_groups_of_a_report_need_no_orc() -> None:
    """Results come with OBR alone, and each patient's stand alone."""
    groups = Message.parse(REPORT).order_groups()
    assert [(group.orc, len(group.observations)) for group in groups] == [(None, 2)]
    several = Message.parse("MSH|^~\\&|A\rPID|1\rORC|RE|1\rOBR|1\rPID|2\rOBR|1\r").order_groups()
    assert [group.orc is None for group in several] == [False, True]


def test_patient_groups_pair_each_patient_with_its_own_prior() -> None:
    """Two merges in one message are two merges."""
    groups = Message.parse("MSH|^~\\&|A\rPID|1||7\rPD1|\rMRG|8\rPID|2||9\rPID|3||10\rMRG|11\r").patient_groups()
    assert [(group.pid.text(3), group.mrg.text(1) if group.mrg else None) for group in groups] == [
        ("7", "8"),
        ("9", None),
        ("10", "11"),
    ]


def test_segment_tells_no_patient_in_its_representation() -> None:
    """What lands in a log by accident holds no names."""
    assert repr(MESSAGE.first("PID")) == "<Segment PID[1]>"
