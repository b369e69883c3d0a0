"""Parts of the go-live rehearsal that need no running archive: the sheet, the fiction, what is removed, the page."""

from __future__ import annotations

from collections.abc import Iterator
from datetime import UTC, datetime, timedelta
from pathlib import Path
from zoneinfo import ZoneInfo

import pytest

from fixtures.hl7_orders import mapper
from fixtures.pages import Pages, pages
from fixtures.worklist_entries import entry
from pacs.hl7.checks import check
from pacs.hl7.header import Header
from pacs.hl7.message import Message
from pacs.hl7.orders import Action
from pacs.hl7.peers import Peer
from pacs.hl7.rehearse.fiction import GOLDEN_SIGNAL, ORDER_TYPES, REHEARSAL, Fiction
from pacs.hl7.rehearse.models import RehearsalRecord
from pacs.hl7.rehearse.printing import printed
from pacs.hl7.rehearse.sheet import Check, Line, Outcome, Record, Sheet, StationSheet
from pacs.hl7.rehearse.site import modality_of
from pacs.hl7.rehearse.traces import Traces
from pacs.hl7.settings import PeerSettings
from pacs.web.message_view import read_text
from pacs.worklist.steps import Version

START = datetime(2026, 3, 10, 9, 30, tzinfo=ZoneInfo("America/Asuncion"))
PASSED = tuple(Line(check, Outcome.PASSED, 0.1) for check in Check)


@pytest.fixture
def made(tmp_path: Path) -> Iterator[Pages]:
    """Return the pages with one modality."""
    with pages(tmp_path) as made:
        made.archive.answers |= {
            "/modalities?expand": {
                "CT1": {"AET": "CT1_AE", "Host": "10.0.0.7", "Port": 104},
                "rehearsal-0-0": {"AET": "CT1_AE", "Host": "127.0.0.1", "Port": 104},
            },
            "/modalities": ["CT1", "rehearsal-0-0"],
        }
        made.archive.outcomes["/tools/lookup REHEARSAL-0123456789AB"] = []
        yield made


def fiction(charset: str = "8859/1") -> Fiction:
    """Return what a CT is rehearsed with."""
    return Fiction(
        number=Fiction.new_number(),
        ae_title="CT1",
        modality="CT",
        start=START,
        application="HIS",
        facility="H",
        authority="HOSP",
        charset=charset,
    )


@pytest.mark.parametrize("message_type", ORDER_TYPES)
@pytest.mark.parametrize("charset", ["8859/1", "UNICODE UTF-8", "8859/15"])
def test_order_of_fiction_is_a_sound_order(message_type: str, charset: str) -> None:
    """It is accepted, and the default mapping makes of it the entry that the rehearsal looks for."""
    made_up, settings = fiction(charset), PeerSettings()
    raw = made_up.order(message_type)
    text, _ = read_text(raw, settings)
    header, message = Header.scan(raw), Message.parse(text)
    assert check(header, message) == []
    (reading,) = mapper().read_message(message, header, Peer("", settings), datetime.now(UTC))
    (step,) = (each.step for each in reading.entries)
    assert reading.action is Action.SCHEDULE
    assert [each.explanation.faults for each in reading.entries] == [()]
    assert str(step.dataset.PatientName) == REHEARSAL.name
    assert step.dataset.PatientID == made_up.patient_id
    assert step.dataset.StudyInstanceUID == made_up.study_instance_uid
    assert step.dataset.AccessionNumber == made_up.accession_number
    item = step.step_item
    assert (item.Modality, item.ScheduledProcedureStepStartDate) == ("CT", "20260310")
    assert item.get("ScheduledStationAETitle", "") == ("CT1" if message_type == "OMI^O23" else "")


@pytest.mark.parametrize(
    ("names", "modality"),
    [
        (("CT1",), "CT"),
        (("SCANNER", "SIEMENS_TAC"), "CT"),
        (("RM-2",), "MR"),
        (("ECO_3",), "US"),
        (("RX1",), "DX"),
        (("CONSOLE",), "OT"),
        (("",), "OT"),
    ],
)
def test_modality_is_told_from_the_name(names: tuple[str, ...], modality: str) -> None:
    """Whole words count: CONSOLE is no CT and no NM."""
    assert modality_of(*names) == modality


@pytest.mark.parametrize(
    ("lines", "outcome"),
    [
        ((), None),
        (PASSED[:3], None),
        (PASSED, Outcome.PASSED),
        ((*PASSED[:8], Line(Check.STATUS_OUT, Outcome.NOT_TESTED), PASSED[9]), Outcome.PASSED),
        ((PASSED[0], Line(Check.WORKLIST, Outcome.FAILED)), Outcome.FAILED),
        (tuple(Line(check, Outcome.NOT_TESTED) for check in Check), Outcome.NOT_TESTED),
    ],
    ids=["begun", "under way", "passed", "nobody to tell", "failed", "stopped"],
)
def test_sheet_tells_the_worst(lines: tuple[Line, ...], outcome: Outcome | None) -> None:
    """A failure counts at once; without order, worklist, image and removal there is nothing to sign."""
    good = StationSheet("MR1", "MR1", "MR", PASSED)
    sheet = Sheet("ORM^O01", "HIS", (good, StationSheet("CT1", "CT1", "CT", lines)), ("RIS",))
    assert sheet.outcome is outcome
    assert Sheet.from_json(sheet.as_json()) == sheet


def test_printed_sheet_has_every_check_and_a_line_to_sign() -> None:
    """What the command prints can be put into a folder as it is."""
    sheet = Sheet("ORM^O01", "", (StationSheet("", "CT1", "CT", PASSED),))
    now = datetime.now(UTC)
    text = printed(Record(7, "person:eva", now, now, is_interrupted=False, sheet=sheet).as_json())
    assert text.count("PASS  ") == len(Check)
    for words in ("Go-live rehearsal 7", ", eva", "Result: PASS", "signature: ____"):
        assert words in text


@pytest.mark.parametrize("patient_id", ["", "%", "REHEARSAL-", "REHEARSAL-XYZ", "P-1", "REHEARSAL-0123456789AB%"])
def test_only_patients_of_fiction_are_removed(made: Pages, patient_id: str) -> None:
    """Nothing but a number that a rehearsal made can be given."""
    with pytest.raises(ValueError, match="no patient of a rehearsal"):
        Traces(made.database, made.archive).remove(patient_id)


def test_plays_leave_each_other_alone(made: Pages) -> None:
    """A rehearsal removes nothing of the golden signal, which may be under way, nor the other way round."""
    patients = ("REHEARSAL-0123456789AB", "PROBE-0123456789AB")
    for number, patient_id in enumerate(patients):
        with made.database.session(write=True) as session:
            step = entry(AccessionNumber=f"A{number}", PatientID=patient_id)
            made.services.worklist.upsert(session, [step], version=Version("", 1), actor="test")
    assert [REHEARSAL.has(patient_id) for patient_id in patients] == [True, False]
    assert [GOLDEN_SIGNAL.has(patient_id) for patient_id in patients] == [False, True]
    with pytest.raises(ValueError, match="no patient of a rehearsal"):
        Traces(made.database, made.archive).remove(patients[1])
    with pytest.raises(ValueError, match="no patient of a rehearsal"):
        Traces(made.database, made.archive, GOLDEN_SIGNAL).remove(patients[0])


def test_what_an_interrupted_rehearsal_left_is_removed(made: Pages) -> None:
    """Entries of fiction go, and with them nothing of anybody else, however alike the number."""
    alike = ("REHEARSAL-1", "REHEARSAL-0123456789ABC", "P-REHEARSAL-0123456789AB")
    for number, patient_id in enumerate(("REHEARSAL-0123456789AB", *alike)):
        with made.database.session(write=True) as session:
            step = entry(AccessionNumber=f"A{number}", PatientID=patient_id)
            made.services.worklist.upsert(session, [step], version=Version("", 1), actor="test")
    assert Traces(made.database, made.archive).remove_left_behind() == 1
    with made.database.session() as session:
        assert {step.patient_id for step in made.services.worklist.page(session)} == set(alike)


def test_page_offers_the_modalities(made: Pages) -> None:
    """Every AE with what it probably is; entries that a rehearsal made for itself are not among them."""
    text = made.client().get("/hl7/rehearsal").get_data(as_text=True)
    assert 'value="CT1" checked' in text
    assert "<option selected>CT</option>" in text
    assert "rehearsal-0-0" not in text
    assert "No other system is told" in text


@pytest.mark.parametrize(
    ("form", "status"),
    [
        ({"station": "CT1"}, 303),
        ({"station": "SOME_AE"}, 303),
        ({}, 303),
        ({"station": [f"AE{number}" for number in range(65)]}, 400),
        ({"station": "CT1", "message_type": "ADT^A08"}, 400),
        ({"station": "CT1", "sender": "NOBODY"}, 400),
    ],
    ids=["registered", "AE title", "all", "too many", "type", "sender"],
)
def test_rehearsal_is_asked_for(made: Pages, form: dict[str, object], status: int) -> None:
    """A good form begins one at once; what can't be rehearsed is refused with its reason."""
    assert made.client().post("/hl7/rehearsal", data=form).status_code == status
    assert len(made.services.rehearsals.latest()) == (1 if status == 303 else 0)


def test_interrupted_rehearsal_is_told_and_makes_room(made: Pages) -> None:
    """One that has not gone on for minutes is shown as interrupted, and another may begin."""
    rehearsals = made.services.rehearsals
    first = rehearsals.start(["CT1"], actor="person:eva")
    assert made.client().post("/hl7/rehearsal", data={"station": "CT1"}).status_code == 409
    with made.database.session(write=True) as session:
        session.get_one(RehearsalRecord, first).changed_at = datetime.now(UTC) - timedelta(minutes=10)
    assert "Interrupted" in made.client().get(f"/hl7/rehearsal/{first}").get_data(as_text=True)
    assert made.client().post("/hl7/rehearsal", data={"station": "CT1"}).status_code == 303


def test_unknown_rehearsal_is_told(made: Pages) -> None:
    """A number that there is not is a 404 for people and for programs."""
    assert made.client().get("/hl7/rehearsal/99").status_code == 404
    answer = made.client().get("/hl7/rehearsal/99", headers={"Accept": "application/json"})
    assert answer.get_json()["status"] == 404
