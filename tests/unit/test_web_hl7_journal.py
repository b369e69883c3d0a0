"""The HL7 journal: finding messages, reading them, and deciding on dead letters, with who did it."""

from __future__ import annotations

import re
from collections.abc import Iterator
from pathlib import Path

import pytest

from fixtures.hl7_arrivals import arrive, handle_orders, refused, work
from fixtures.mllp import order
from fixtures.pages import Pages, pages
from pacs.hl7.journal import Entry, Search
from pacs.hl7.reception import Reception
from pacs.hl7.settings import PeerSettings
from pacs.hl7.states import MessageState
from pacs.web.message_view import differences, view, written
from pacs.worklist.steps import StepSelector

# DICOM has room for 16 characters: a longer number is never cut.
LONG_NUMBER = "ACCESSION-TOO-LONG-1"
ADT = b"MSH|^~\\&|HIS|H|||20260310||ADT^A60|ADT1|P|2.5\rPID|1||P9^^^H||OTRA^PERSONA\r"


@pytest.fixture
def made(tmp_path: Path) -> Iterator[Pages]:
    """Return the pages with orders handled as the application does."""
    with pages(tmp_path, hl7={"Peers": {"HIS": {"SendingApplication": "HIS"}}}) as made:
        made.archive.answers["/modalities?expand"] = {}
        handle_orders(made)
        yield made


@pytest.fixture
def dead(made: Pages) -> Entry:
    """Return a dead letter: an order whose number DICOM has no room for."""
    raw = order("DEAD1", accession="A9").replace(b"|A9|RPA9|", f"|{LONG_NUMBER}|RPA9|".encode())
    entry = arrive(made, raw, peer="HIS")
    assert entry.state is MessageState.FAILED
    return entry


def text_of(made: Pages, path: str, status: int = 200) -> str:
    """Return a page's text."""
    answer = made.client().get(path)
    assert answer.status_code == status, answer.get_data(as_text=True)
    return answer.get_data(as_text=True)


def state(made: Pages, message_id: int) -> MessageState:
    """Return a message's state."""
    return made.services.hl7.journal.get(message_id).state


# -- the list ------------------------------------------------------------------------------------------------------


@pytest.fixture
def three(made: Pages) -> list[int]:
    """Return a worked order, a message that is only kept, and a refused one."""
    return [
        arrive(made, order("C1", patient_id="P1", accession="A1"), peer="HIS").id,
        arrive(made, ADT).id,
        refused(made, order("C3", patient_id="P3", accession="A3"), "PID-3 is missing.", "PID^1^3").id,
    ]


@pytest.mark.parametrize(
    ("query", "found"),
    [
        ("", [2, 1, 0]),
        ("q=P1", [0]),
        ("q=A3", [2]),
        ("q=adt1", [1]),
        ("q=otra", [1]),
        ("type=ORM", [2, 0]),
        ("type=adt%5Ea60", [1]),
        ("type=nothing", []),
        ("state=refused", [2]),
        ("state=done", [1, 0]),
        ("state=bad", [2, 1, 0]),
        ("direction=out", []),
        ("peer=HIS", [0]),
        ("period=today", [2, 1, 0]),
        ("period=yesterday", []),
        ("to=2001-01-01T00:00", []),
        ("from=2001-01-01T00:00", [2, 1, 0]),
        ("from=nonsense", [2, 1, 0]),
    ],
)
def test_messages_are_found(made: Pages, three: list[int], query: str, found: list[int]) -> None:
    """By patient, accession, control id, name, type, event, state, direction, system and time; newest first."""
    text = text_of(made, f"/hl7?{query}")
    listed = [int(each) for each in re.findall(r'class="row-link" href="/pacs/hl7/messages/(\d+)"', text)]
    assert listed == [three[index] for index in found]


def test_list_goes_on_with_older_messages(tmp_path: Path) -> None:
    """A page ends with a way to older messages, which leads back to the newest."""
    with pages(tmp_path, PageSize=5) as made:
        ids = [arrive(made, ADT.replace(b"ADT1", f"N{number}".encode())).id for number in range(7)]
        first = text_of(made, "/hl7")
        assert f"/pacs/hl7?before={ids[2]}" in first
        assert first.count("row-link") == 5
        second = text_of(made, f"/hl7?before={ids[2]}")
    assert second.count("row-link") == 2
    assert "Newest" in second


# -- one message ---------------------------------------------------------------------------------------------------


def test_message_is_shown_raw_and_by_fields_with_what_it_became(made: Pages) -> None:
    """Names of segments, fields and components, the worklist entry that it became, and its acknowledgment."""
    entry = arrive(made, order("C1", patient_id="P1", accession="A1"), peer="HIS")
    with made.database.session() as session:
        (step,) = made.services.worklist.select(session, StepSelector(accession_number="A1"))
    text = text_of(made, f"/hl7/messages/{entry.id}")
    for words in (
        "Patient identification",
        "Patient identifier list",
        "Given name",
        "Study Instance UID",
        f'href="/pacs/worklist/steps/{step.id}"',
        "MSA|AA|C1",
        "HIS",
        "received from HIS",
    ):
        assert words in text, words


def test_dead_letter_marks_the_field_at_fault(dead: Entry, made: Pages) -> None:
    """The fault's place is marked in the raw message and in the list of fields."""
    text = text_of(made, f"/hl7/messages/{dead.id}")
    assert re.search(r'<span id="raw-OBR-18" class="faulty">ACCESSION-TOO-LONG-1</span>', text)
    assert re.search(r'<tr class="faulty" id="faulty">\s*<th scope="row"><a href="#raw-OBR-18">OBR-18', text)


def test_dead_letter_marks_every_field_at_fault(made: Pages) -> None:
    """Who corrects it sees at once all that is in the way."""
    wrong = f"|{LONG_NUMBER}|{LONG_NUMBER}X|".encode()
    dead = arrive(made, order("DEAD2", accession="A9").replace(b"|A9|RPA9|", wrong), peer="HIS")
    text = text_of(made, f"/hl7/messages/{dead.id}")
    assert re.findall(r'<span id="raw-([A-Z0-9-]+)" class="faulty">', text) == ["OBR-18", "OBR-19"]
    assert text.count('id="faulty"') == 1


def test_refused_message_marks_every_field_that_its_sender_was_told_of(made: Pages) -> None:
    """Of a message that was answered AE, the ERR segments of the answer tell the places."""
    raw = b"MSH|^~\\&|HIS|H|||2026||ADT^A40|1|P|2.5\rPID|1\rMRG||\r"
    judged = Reception().judge(raw, made.services.hl7.peers.calling_from("127.0.0.1"), "127.0.0.1").arrival
    entry = refused(made, raw, judged.error or "", judged.error_location or "", ack=judged.ack)
    text = text_of(made, f"/hl7/messages/{entry.id}")
    marked = re.findall(r'class="faulty"[^>]*>\s*<th scope="row"><a href="#raw-([A-Z0-9-]+)">', text)
    assert marked == ["PID-3", "MRG-1"]


@pytest.mark.parametrize(
    "raw",
    [
        b"",
        b"nothing of HL7 <script>alert(1)</script>",
        b"MSH|^~\\&|A|B|C|D|2026||ADT^A08|1|P|2.5||||||UNICODE UTF-8\rPID|1||\xff\xfe||X",
        b"MSH|^~\\&\rPID",
        b"MSH|^~\\&|HIS||||||ORU^R01|9|P|2.5\rOBX|1|ED|||^^^Base64^" + b"A" * 300_000,
        b"MSH$%*@!$HIS\rZZZ$1$2%3\rPID$1$$x%y*z!a",
    ],
    ids=["empty", "no HL7", "undecodable", "no fields", "long", "other separators"],
)
def test_whatever_came_can_be_shown(made: Pages, raw: bytes) -> None:
    """What can't be read is shown as text; nothing in it becomes a part of the page."""
    entry = refused(made, raw, "It is no HL7.", "")
    text = text_of(made, f"/hl7/messages/{entry.id}")
    assert "<script>alert" not in text
    assert len(text) < 250_000


def test_fault_in_a_field_that_is_not_there_is_marked(made: Pages) -> None:
    """A field that is missing is shown empty where it should be; a missing segment is told with the fault."""
    raw = b"MSH|^~\\&|HIS|H|||2026||ADT^A08|1|P|2.5\rPID|1\r"
    shown = view(raw, PeerSettings(), ["PID^1^3"])
    (field,) = [field for segment in shown.segments for field in segment.fields if field.is_faulty]
    assert (field.place, field.name) == ("PID-3", "Patient identifier list")
    assert not any(segment.is_faulty for segment in shown.segments)
    assert "PID-3" in text_of(made, f"/hl7/messages/{refused(made, raw, 'missing', 'PID^1^3').id}")


# -- decisions -----------------------------------------------------------------------------------------------------


def test_dead_letter_is_corrected_by_one_value(made: Pages, dead: Entry) -> None:
    """The corrected message takes its place, becomes the entry, and both are kept with who changed what."""
    form = text_of(made, f"/hl7/messages/{dead.id}/edit")
    assert 'name="place" value="OBR-18"' in form
    assert f'value="{LONG_NUMBER}"' in form
    answer = made.client().post(
        f"/hl7/messages/{dead.id}/edit",
        data={"place": "OBR-18", "value": "SHORT-1"},
        headers={"Remote-User": "eva"},
    )
    assert answer.status_code == 303
    corrected = int(re.search(r"/(\d+)\?", answer.location)[1])  # type: ignore[index]
    work(made)
    assert (state(made, dead.id), state(made, corrected)) == (MessageState.REPLACED, MessageState.DONE)
    with made.database.session() as session:
        assert len(made.services.worklist.select(session, StepSelector(accession_number="SHORT-1"))) == 1
    before, after = (text_of(made, f"/hl7/messages/{number}") for number in (dead.id, corrected))
    assert "eva" in before
    assert f"/pacs/hl7/messages/{corrected}" in before
    for words in ("eva", "OBR-18", LONG_NUMBER, "SHORT-1", f"/pacs/hl7/messages/{dead.id}"):
        assert words in after
    assert made.services.hl7.journal.get(dead.id).raw == dead.raw


def test_dead_letter_is_corrected_as_a_whole(made: Pages, dead: Entry) -> None:
    """A browser's line ends and the message's own character set: only what was changed is other bytes."""
    text = dead.raw.decode("latin-1").replace(LONG_NUMBER, "ÑANDÚ-1").replace("\r", "\r\n")
    answer = made.client().post(f"/hl7/messages/{dead.id}/edit", data={"text": text})
    assert answer.status_code == 303
    (corrected, *_) = made.services.hl7.journal.find(Search(most=1))
    raw = made.services.hl7.journal.get(corrected.id).raw
    assert raw == dead.raw.replace(LONG_NUMBER.encode(), "ÑANDÚ-1".encode("latin-1"))


@pytest.mark.parametrize(
    ("form", "words"),
    [
        ({"place": "OBR-18", "value": LONG_NUMBER}, "Nothing was changed"),
        ({"place": "XYZ", "value": "1"}, "no place in a message"),
        ({"place": "ZZZ-1", "value": "1"}, "has no segment"),
        ({"place": "PID-3", "value": ""}, "PID-3 (patient id) is missing"),
        ({"place": "MSH-1", "value": "x"}, "separators"),
        ({"text": "no message"}, "MSH"),
        ({"place": "PID-5.1", "value": "王"}, "letters that"),
    ],
    ids=str,
)
def test_correction_that_is_none_changes_nothing(made: Pages, dead: Entry, form: dict[str, str], words: str) -> None:
    """What would not be accepted either is told, and the dead letter stays as it is."""
    answer = made.client().post(f"/hl7/messages/{dead.id}/edit", data=form)
    assert answer.status_code == 422
    assert words in answer.get_data(as_text=True)
    assert state(made, dead.id) is MessageState.FAILED


def test_dead_letter_is_replayed_and_skipped_with_a_name(made: Pages, dead: Entry) -> None:
    """Replaying fails again here, skipping sets it aside; both are in its history."""
    client, headers = made.client(), {"Remote-User": "eva"}
    assert client.post(f"/hl7/messages/{dead.id}/replay", headers=headers).status_code == 303
    work(made)
    assert state(made, dead.id) is MessageState.FAILED
    assert "Skip this message?" in text_of(made, f"/hl7/messages/{dead.id}/skip")
    client.post(f"/hl7/messages/{dead.id}/skip", data={"reason": "Enviado dos veces"}, headers=headers)
    assert state(made, dead.id) is MessageState.SKIPPED
    text = text_of(made, f"/hl7/messages/{dead.id}")
    for words in ("Replayed", "Skipped", "Enviado dos veces"):
        assert words in text
    assert text.count("eva") == 2


def test_decision_on_what_is_no_dead_letter_is_refused(made: Pages) -> None:
    """Only dead letters are decided on, and a refusal leaves no line in the history."""
    entry = arrive(made, ADT)
    for action in ("replay", "skip"):
        assert made.client().post(f"/hl7/messages/{entry.id}/{action}").status_code == 409
    data = {"place": "PID-5.1", "value": "X"}
    assert made.client().post(f"/hl7/messages/{entry.id}/edit", data=data).status_code == 409
    assert made.services.decisions.about(entry.id) == []


def test_differences_name_every_field() -> None:
    """Fields that changed, segments that came and went."""
    before = "MSH|^~\\&|A\rPID|1||P1\rNTE|1||x"
    after = "MSH|^~\\&|A\rPID|1||P2||N\rZZ1|1"
    assert differences(before, after) == [
        ("PID-3", "P1", "P2"),
        ("PID-5", "", "N"),
        ("NTE", "NTE", ""),
        ("NTE-1", "1", ""),
        ("NTE-3", "x", ""),
        ("ZZ1", "", "ZZ1"),
        ("ZZ1-1", "", "1"),
    ]


@pytest.mark.parametrize("charset", ["8859/1", "UNICODE UTF-8", "ISO IR87", "", "WINDOWS-1252"])
def test_corrected_text_keeps_the_character_set(charset: str) -> None:
    """A text is written in the set that it was read in, letter by letter."""
    name = "山田" if charset == "ISO IR87" else "ÑANDÚ"
    codec = {"ISO IR87": "iso2022_jp_2", "UNICODE UTF-8": "utf-8"}.get(charset, "latin-1")
    text = f"MSH|^~\\&|A|B|C|D|2026||ADT^A08|1|P|2.5||||||{charset}\rPID|1||P1||{name}\r"
    raw = text.encode(codec)
    assert written(text, raw, PeerSettings()) == raw
