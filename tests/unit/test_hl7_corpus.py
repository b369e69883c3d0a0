"""Real messages, and what is left of them after damage."""

from __future__ import annotations

import random
import time
import warnings
from collections import Counter

import hl7
import pytest
from hl7apy.exceptions import HL7apyException
from hl7apy.parser import parse_segment

from fixtures.hl7_messages import CorpusMessage, answered, fictitious, mutated
from pacs.hl7.framing import MllpFramer, frame
from pacs.hl7.message import Message

pytest_plugins = ("fixtures.hl7_corpus",)

MUTATIONS = 5000
SLOWEST_SECONDS = 1.0


def _control_id(raw: bytes) -> bytes:
    """Return MSH-10 by the plainest of means."""
    line = raw.replace(b"\n", b"\r").split(b"\r", 1)[0]
    fields = line.split(line[3:4]) if line.startswith(b"MSH") else []
    return fields[9] if len(fields) > 9 and fields[9].strip() else b""


def test_every_real_message_reads_without_loss(real_hl7: list[CorpusMessage]) -> None:
    """Text and bytes come out as they went in."""
    changed = []
    for message in real_hl7:
        found = answered(message.raw)
        if found.message is None or found.decoded is None:
            assert message.due == "ar", message.name
        elif str(found.message).encode(found.decoded.codec) != message.raw:
            changed.append(message.name)
    assert changed == []


def test_every_real_message_keeps_each_field(real_hl7: list[CorpusMessage]) -> None:
    """Fields joined again are the segment; segments joined again are the message."""
    for message in real_hl7:
        found = answered(message.raw)
        for segment in found.message.segments if found.message else ():
            fields = (
                segment.fields[:1] + segment.fields[2:] if segment.name in {"MSH", "FHS", "BHS"} else segment.fields
            )
            assert segment.separators.field.join(fields) == str(segment)


def test_every_real_message_gets_one_answer_with_its_control_id(real_hl7: list[CorpusMessage]) -> None:
    """MSA-2 is MSH-10, character for character, and an AA tells of no error."""
    for message in real_hl7:
        frames = MllpFramer().feed(frame(message.raw))
        assert [found.raw for found in frames] == [message.raw]
        found = answered(frames[0].raw)
        assert found.received.code == found.code
        assert found.returned_control_id == _control_id(message.raw), message.name
        assert (found.code == "AA") == (found.received.errors == () and found.received.text == "")


def test_answers_are_those_that_the_names_say(real_hl7: list[CorpusMessage]) -> None:
    """ok_, ae_, ar_: every one of them."""
    dues = {"AA": "ok", "AE": "ae", "AR": "ar"}
    named = [message for message in real_hl7 if message.due]
    assert len(named) > 80
    assert [message.name for message in named if dues[answered(message.raw).code] != message.due] == []


def test_every_sound_real_message_of_a_supported_type_is_accepted(real_hl7: list[CorpusMessage]) -> None:
    """Who is refused lacks something that is named: an id, a type, a segment, or sends no base64 as base64."""
    reasons = Counter(
        (fault.hl7_code, fault.location.split("^")[0])
        for message in real_hl7
        for fault in answered(message.raw).faults[:1]
    )
    assert set(reasons) <= {
        ("101", "MSH"),  # no type, no control id
        ("200", "MSH"),
        ("201", "MSH"),
        ("202", "MSH"),
        ("100", ""),  # no HL7
        ("101", "PID"),
        ("101", "MRG"),
        ("205", "MRG"),
        ("101", "OBR"),
        ("101", "SCH"),
        ("102", "OBX"),
    }
    assert reasons["102", "OBX"] <= 2


def test_fields_are_those_that_python_hl7_reads(real_hl7: list[CorpusMessage]) -> None:
    """An oracle that is right about where fields are, wherever it can read the message."""
    compared = 0
    for message in real_hl7:
        found = answered(message.raw)
        if found.message is None or not message.raw.startswith(b"MSH|^~\\&|"):
            continue
        theirs = hl7.parse(str(found.message).replace("\r\n", "\r").replace("\n", "\r"))
        assert len(theirs) == len(found.message.segments), message.name
        for segment, their in zip(found.message.segments, theirs, strict=True):
            for number in range(2 if segment.name == "MSH" else 0, len(their)):
                assert segment.raw(number) == str(their[number]), (message.name, segment, number)
                compared += 1
    assert compared > 10_000


def test_components_are_those_that_hl7apy_reads_where_it_is_right(real_hl7: list[CorpusMessage]) -> None:
    """hl7apy as an oracle: PID-3 and PID-5, whose text it keeps as long as there are no escapes in it."""
    compared = 0
    for message in real_hl7[::4]:
        read = answered(message.raw).message
        pid = read.first("PID") if read else None
        if pid is None or not message.raw.startswith(b"MSH|^~\\&|") or "\\" in str(pid) or '""' in str(pid):
            continue
        with warnings.catch_warnings():
            warnings.simplefilter("ignore")
            try:
                theirs = parse_segment(str(pid), version="2.5")
            except HL7apyException:
                continue
        for number in (3, 5):
            for ours, their in zip(pid.repetitions(number), getattr(theirs, f"pid_{number}"), strict=False):
                if not ours.raw.strip() or "&" in ours.raw.split("^")[0]:
                    continue
                assert ours.raw.split("^")[0] == their.to_er7().split("^")[0], message.name
                compared += 1
    assert compared > 50


def test_damaged_messages_are_answered_all_the_same(request: pytest.FixtureRequest) -> None:
    """Thousands of damaged messages: no crash, one answer each, none slow."""
    try:
        messages = [message.raw for message in request.getfixturevalue("real_hl7")]
    except pytest.skip.Exception:
        messages = fictitious()
    chance = random.Random(20260310)
    codes = Counter(assert_is_answered(mutated(chance, messages)) for _ in range(MUTATIONS))
    assert set(codes) == {"AA", "AE", "AR"}


def assert_is_answered(raw: bytes) -> str:
    """Check all that must hold for any bytes whatever, and return the code of the answer."""
    started = time.process_time()
    found = answered(raw)
    assert time.process_time() - started < SLOWEST_SECONDS
    assert found.received.code == found.code
    assert found.returned_control_id == found.expected_control_id
    if found.message is not None and found.decoded is not None:
        assert str(found.message).encode(found.decoded.codec) == raw
        assert str(Message.parse(str(found.message))) == str(found.message)
    return found.code
