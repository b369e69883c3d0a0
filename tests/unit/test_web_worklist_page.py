"""The Worklist page on a real SQLite database: a day's steps, entries by hand, and who did what."""

from __future__ import annotations

from collections.abc import Iterator
from datetime import date
from pathlib import Path

import pytest

from fixtures.pages import Pages, pages
from fixtures.worklist_entries import entry
from pacs.web.step_form import StepForm
from pacs.worklist.statuses import StepStatus
from pacs.worklist.steps import StepRow, StepSelector, Version

DAY = "2026-03-10"
NEW = {
    "family": "FICTICIA",
    "given": "Ana María",
    "patient_id": "P-9",
    "birth_date": "1980-02-14",
    "sex": "F",
    "description": "TC de tórax",
    "modality": "ct",
    "priority": "STAT",
    "date": DAY,
    "time": "10:15",
    "station": "CT1, CT2",
    "room": "Sala 1",
    "physician": "Casas, Eva",
    "comments": "Ayuno\nde seis horas",
}


@pytest.fixture
def made(tmp_path: Path) -> Iterator[Pages]:
    """Return the pages with three entries of a day, two of CT in two rooms and one of MR."""
    with pages(tmp_path, TimeZone="America/Asuncion") as made:
        made.archive.answers["/modalities?expand"] = {"CT1": {"AET": "CT1", "Host": "127.0.0.1", "Port": 104}}
        put(
            made,
            {"AccessionNumber": "A-1", "ScheduledProcedureStepLocation": "Sala 1"},
            {"AccessionNumber": "A-2", "PatientID": "P-2", "PatientName": "MUÑOZ^Íñigo^José=漢字"},
            {"AccessionNumber": "A-3", "PatientID": "P-3", "Modality": "MR", "ScheduledStationAETitle": "MR1"},
            {"AccessionNumber": "A-4", "ScheduledProcedureStepStartDate": "20260311"},
        )
        yield made


def put(made: Pages, *entries: dict[str, object]) -> None:
    """Put entries into the worklist as a message would."""
    with made.database.session(write=True) as session:
        steps = [entry(**attributes) for attributes in entries]
        made.services.worklist.upsert(session, steps, version=Version("20260301080000", 1), actor="hl7:HIS")


def row(made: Pages, accession: str) -> StepRow:
    """Return the one entry of an accession number."""
    with made.database.session() as session:
        (found,) = made.services.worklist.select(session, StepSelector(accession_number=accession))
    return found


def page(made: Pages, path: str) -> str:
    """Return a page's text."""
    answer = made.client().get(path)
    assert answer.status_code == 200, answer.get_data(as_text=True)
    return answer.get_data(as_text=True)


def test_day_is_listed_by_modality_and_room(made: Pages) -> None:
    """Each modality and room is a group with its entries; another day's are not there."""
    text = page(made, f"/worklist?day={DAY}")
    assert text.count('class="row-link"') == 3
    assert text.count('scope="rowgroup"') == 3
    assert text.index(">CT<") < text.index(">MR<")
    assert "Sala 1" in text
    assert "MUÑOZ" in text
    assert "A-4" not in text


@pytest.mark.parametrize(
    ("query", "accessions"),
    [
        ("modality=MR", ["A-3"]),
        ("room=Sala+1", ["A-1"]),
        ("q=munoz", ["A-2"]),
        ("q=A-3", ["A-3"]),
        ("status=STARTED", []),
        ("status=SCHEDULED&modality=CT", ["A-1", "A-2"]),
        ("modality=%3Cscript%3E", ["A-1", "A-2", "A-3"]),
    ],
)
def test_list_is_narrowed(made: Pages, query: str, accessions: list[str]) -> None:
    """Modality, room, status and words narrow the day; what is no modality counts as none."""
    text = page(made, f"/worklist?day={DAY}&{query}")
    assert [each for each in ("A-1", "A-2", "A-3") if f">{each}<" in text] == accessions


def test_list_alone_is_answered_to_htmx(made: Pages) -> None:
    """The form gets the list and a new address; a list that renews itself makes none."""
    client = made.client()
    typed = client.get(f"/worklist?day={DAY}", headers={"HX-Request": "true", "HX-Trigger": "search"})
    renewed = client.get(f"/worklist?day={DAY}", headers={"HX-Request": "true"})
    assert typed.headers["HX-Push-Url"] == f"/pacs/worklist?day={DAY}"
    assert "HX-Push-Url" not in renewed.headers
    assert "<html" not in typed.get_data(as_text=True)


def test_day_without_entries_tells_what_to_do(made: Pages) -> None:
    """An empty day leads to the form and to the journal."""
    text = page(made, "/worklist?day=2030-01-01")
    assert "Nothing is scheduled on this day" in text
    assert "/pacs/worklist/new?day=2030-01-01" in text


def test_entry_shows_its_history_with_who_did_it(made: Pages) -> None:
    """Every change is there with its author and both values."""
    row_id = row(made, "A-1").id
    client = made.client()
    client.post(f"/worklist/steps/{row_id}/status", data={"status": "ARRIVED"}, headers={"Remote-User": "eva.nunez"})
    client.post(f"/worklist/steps/{row_id}/cancel", data={"reason": "No vino"})
    text = page(made, f"/worklist/steps/{row_id}")
    for words in (
        "HL7 message of HIS",
        "Scheduled → Arrived",
        "eva.nunez",
        "Arrived → Canceled",
        "No vino",
        "at this server",
    ):
        assert words in text
    assert row(made, "A-1").status is StepStatus.CANCELED


def test_status_that_is_none_is_refused(made: Pages) -> None:
    """Only the statuses that a person may give are taken; canceling has its own question."""
    row_id = row(made, "A-1").id
    for status in ("", "CANCELED", "DONE"):
        assert made.client().post(f"/worklist/steps/{row_id}/status", data={"status": status}).status_code == 400
    assert row(made, "A-1").status is StepStatus.SCHEDULED


def test_entry_is_added_by_hand(made: Pages) -> None:
    """What is entered is what modalities get, with identifiers of its own and the person in the history."""
    answer = made.client().post("/worklist/new", data=NEW, headers={"Remote-User": "ana"})
    assert answer.status_code == 303
    row_id = int(answer.location.partition("?")[0].rpartition("/")[2])
    with made.database.session() as session:
        details = made.services.worklist.get(session, row_id)
    step, item = details.step, details.step.step_item
    assert (step.patient_name, step.patient_id, step.priority) == ("FICTICIA^Ana María", "P-9", "STAT")
    assert (step.modality, step.start_key, step.location) == ("CT", "20260310101500", "Sala 1")
    assert step.station_aets == ("CT1", "CT2")
    assert str(step.dataset.ReferringPhysicianName) == "Casas^Eva"
    assert step.dataset.RequestedProcedureComments == "Ayuno\r\nde seis horas"
    assert item.ScheduledProcedureStepDescription == step.dataset.RequestedProcedureDescription == "TC de tórax"
    assert step.accession_number.startswith("M")
    assert len(step.accession_number) <= 16
    assert step.study_instance_uid.startswith("2.25.")
    assert [event.actor for event in details.history] == ["person:ana"]


@pytest.mark.parametrize(
    ("changed", "field"),
    [
        ({"family": ""}, "family"),
        ({"patient_id": ""}, "patient_id"),
        ({"date": "2026-02-30"}, "date"),
        ({"time": "25:00"}, "time"),
        ({"modality": "C T"}, "modality"),
        ({"station": "A\\B"}, "station"),
        ({"birth_date": "2999-01-01"}, "birth_date"),
        ({"family": "A^B"}, "family"),
        ({"accession": "12345678901234567"}, "accession"),
        ({"room": "A room with a name too long"}, "room"),
        ({"sex": "X"}, "sex"),
        ({"accession": "A-1"}, "accession"),
    ],
    ids=lambda value: next(iter(value)) if isinstance(value, dict) else "",
)
def test_entry_with_a_mistake_is_not_written(made: Pages, changed: dict[str, str], field: str) -> None:
    """The form comes back with what was entered and the reason at its field; nothing was written."""
    answer = made.client().post("/worklist/new", data=NEW | changed)
    assert answer.status_code == 422
    assert f'id="{field}-fault"' in answer.get_data(as_text=True)
    with made.database.session() as session:
        assert len(made.services.worklist.page(session, day=date(2026, 3, 10))) == 3


def test_entry_is_changed_and_the_rest_of_it_stays(made: Pages) -> None:
    """Only what was changed is written: the other script of a name and what the form does not show stay."""
    step = row(made, "A-2")
    values = {**StepForm.of(step).values, "time": "11:30", "given": "Iñigo", "room": "Sala 2"}
    answer = made.client().post(f"/worklist/steps/{step.id}/edit", data={**values, "seen": step.changed_at.isoformat()})
    assert answer.status_code == 303
    after = row(made, "A-2")
    assert after.patient_name == "MUÑOZ^Iñigo^José=漢字"
    assert (after.start_key, after.location) == ("20260310113000", "Sala 2")
    assert after.study_instance_uid == step.study_instance_uid
    with made.database.session() as session:
        changes = made.services.worklist.get(session, step.id).history[-1].detail["changes"]
    assert changes["ScheduledProcedureStepLocation"] == ["", "Sala 2"]
    assert set(changes) == {"PatientName", "ScheduledProcedureStepStartTime", "ScheduledProcedureStepLocation"}


def test_change_of_what_was_changed_meanwhile_is_refused(made: Pages) -> None:
    """Two people, or a person and a message: the second sees what the first did, and nothing is lost."""
    step = row(made, "A-1")
    values = StepForm.of(step).values
    put(made, {"AccessionNumber": "A-1", "ScheduledProcedureStepLocation": "Sala 7"})
    answer = made.client().post(
        f"/worklist/steps/{step.id}/edit", data={**values, "room": "Sala 9", "seen": step.changed_at.isoformat()}
    )
    assert answer.status_code == 409
    assert "Sala 7" in answer.get_data(as_text=True)
    assert row(made, "A-1").location == "Sala 7"


def test_change_of_nothing_writes_nothing(made: Pages) -> None:
    """Saving a form as it is makes no line of history."""
    step = row(made, "A-1")
    values = {**StepForm.of(step).values, "seen": step.changed_at.isoformat()}
    assert made.client().post(f"/worklist/steps/{step.id}/edit", data=values).status_code == 303
    with made.database.session() as session:
        assert len(made.services.worklist.get(session, step.id).history) == 1


@pytest.mark.parametrize(
    ("header", "name"),
    [(None, "local"), ("", "local"), ("eva", "eva"), ("Muñoz", "Muñoz"), ("a\tb", "ab"), ("x" * 999, "x" * 200)],
)
def test_author_is_who_signed_in(made: Pages, header: str | None, name: str) -> None:
    """The name of the sign-in is kept, and "local" where nobody signs in."""
    headers = {} if header is None else {"Remote-User": header.encode().decode("latin-1")}
    row_id = row(made, "A-1").id
    made.client().post(f"/worklist/steps/{row_id}/status", data={"status": "READY"}, headers=headers)
    with made.database.session() as session:
        assert made.services.worklist.get(session, row_id).history[-1].actor == f"person:{name}"


def test_unknown_entry_is_told(made: Pages) -> None:
    """A row that is not there is a 404 on every way."""
    for path in ("/worklist/steps/999", "/worklist/steps/999/edit", "/worklist/steps/999/cancel"):
        assert made.client().get(path).status_code == 404
    assert made.client().post("/worklist/steps/999/status", data={"status": "READY"}).status_code == 404
