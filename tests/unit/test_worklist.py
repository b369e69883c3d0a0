"""`pacs.worklist.Worklist` on SQLite and PostgreSQL: what orders change, in which order, and what is told of it."""

from __future__ import annotations

import threading
from datetime import UTC, date, datetime
from typing import Any

import pytest
from pydicom import Dataset
from sqlalchemy import text
from sqlalchemy.orm import Session

from fixtures.worklist_entries import enter, entry, question
from pacs.database import Database
from pacs.errors import InvalidInput, NotFound
from pacs.worklist.purging import Purge
from pacs.worklist.settings import StationSettings, WorklistSettings
from pacs.worklist.statuses import StepStatus
from pacs.worklist.steps import ChangeKind, NewStep, PatientMismatch, StepChange, StepDetails, StepSelector, Version
from pacs.worklist.worklist import Worklist

pytest_plugins = ("fixtures.postgresql", "fixtures.databases")

FIRST, LATER, LATEST = (Version(f"2026030108000{number}", number) for number in range(3))
PATIENT = ("P-1", "")


@pytest.fixture
def worklist(database: Database) -> Worklist:
    """Return an empty worklist."""
    return Worklist(database)


def upsert(
    database: Database, worklist: Worklist, *steps: NewStep, version: Version | None = FIRST, actor: str = "hl7:HIS"
) -> list[StepChange]:
    """Order steps in a transaction of their own."""
    with database.session(write=True) as session:
        return worklist.upsert(session, steps, version=version, actor=actor)


def set_status(
    database: Database, worklist: Worklist, status: StepStatus, version: Version | None = None, **which: Any
) -> list[StepChange]:
    """Set a status in a transaction of its own."""
    with database.session(write=True) as session:
        selector = StepSelector(**(which or {"accession_number": "A-1"}))
        return worklist.set_status(session, selector, status, actor="mpps:CT1", version=version)


def only(database: Database, worklist: Worklist) -> StepDetails:
    """Return the one step that there is."""
    with database.session() as session:
        (step,) = worklist.page(session)
        return worklist.get(session, step.id)


def answers(worklist: Worklist, calling: str = "CT1", **keys: object) -> list[str]:
    """Return the accession numbers that a modality is answered."""
    asked = question(**{"AccessionNumber": "", **keys})
    return [answer.AccessionNumber for answer in worklist.find(asked, calling_aet=calling)]


def patient(**attributes: object) -> Dataset:
    """Return attributes of a patient."""
    made = Dataset()
    made.update(attributes)
    return made


def test_new_step_is_told_and_kept(database: Database, worklist: Worklist) -> None:
    """A new step is in the list, with a first line of history, and listeners hear of it."""
    told: list[StepChange] = []
    worklist.subscribe(lambda _session, change: told.append(change))
    changes = upsert(database, worklist, entry(priority="STAT", PatientName="Muñoz^José"))
    details = only(database, worklist)
    assert changes == told
    assert [(change.kind, change.before, change.after) for change in changes] == [
        (ChangeKind.NEW, None, StepStatus.SCHEDULED)
    ]
    assert (details.step.patient_name, details.step.priority, details.step.start_key) == (
        "Muñoz^José",
        "STAT",
        "20260310101500",
    )
    assert (details.step.description, details.step.station_aets) == ("TC de tórax", ("CT1",))
    assert [(event.actor, event.kind) for event in details.history] == [("hl7:HIS", ChangeKind.NEW)]


def test_absent_stays_and_empty_deletes(database: Database, worklist: Worklist) -> None:
    """An update changes what it names: at the root and in the step."""
    upsert(
        database,
        worklist,
        entry(ReferringPhysicianName="A^B", RequestedProcedureComments="x", ScheduledProcedureStepLocation="SALA 1"),
    )
    news = question(
        AccessionNumber="A-1",
        RequestedProcedureID="RP-1",
        ScheduledProcedureStepID="SPS-1",
        RequestedProcedureComments="",
        ScheduledProcedureStepStartTime="120000",
        ScheduledProcedureStepLocation="",
    )
    (change,) = upsert(database, worklist, NewStep(news, None), version=LATER)
    details = only(database, worklist)
    dataset, item = details.step.dataset, details.step.step_item
    assert (change.kind, change.after) == (ChangeKind.UPDATED, StepStatus.SCHEDULED)
    assert dataset.ReferringPhysicianName == "A^B"
    assert "RequestedProcedureComments" not in dataset
    assert "ScheduledProcedureStepLocation" not in item
    assert (item.ScheduledProcedureStepStartTime, item.Modality) == ("120000", "CT")
    assert (details.step.start_key, details.step.location) == ("20260310120000", "")
    assert details.history[-1].detail["changes"] == {
        "RequestedProcedureComments": ["x", ""],
        "ScheduledProcedureStepStartTime": ["101500", "120000"],
        "ScheduledProcedureStepLocation": ["SALA 1", ""],
    }


def test_older_order_never_overwrites_newer(database: Database, worklist: Worklist) -> None:
    """Messages that overtake each other leave what the newest said."""
    upsert(database, worklist, entry(ScheduledProcedureStepStartTime="110000"), version=LATER)
    assert upsert(database, worklist, entry(ScheduledProcedureStepStartTime="090000"), version=FIRST) == []
    assert only(database, worklist).step.start_key == "20260310110000"


def test_order_after_newer_cancellation_stays_canceled(database: Database, worklist: Worklist) -> None:
    """A cancellation is not undone by the late copy of an order that was sent before it."""
    upsert(database, worklist, entry(), version=FIRST)
    set_status(database, worklist, StepStatus.CANCELED, LATEST)
    assert upsert(database, worklist, entry(), version=LATER) == []
    assert only(database, worklist).step.status == StepStatus.CANCELED


def test_same_order_again_changes_nothing(database: Database, worklist: Worklist) -> None:
    """An order that is sent twice leaves one step and no trace in the history."""
    upsert(database, worklist, entry())
    assert upsert(database, worklist, entry(), version=LATER) == []
    assert len(only(database, worklist).history) == 1


def test_person_changes_now_and_later_messages_change_on(database: Database, worklist: Worklist) -> None:
    """What a person enters counts; an older message still does not come through, a newer one does."""
    upsert(database, worklist, entry(), version=LATER)
    upsert(database, worklist, entry(ScheduledProcedureStepLocation="SALA 2"), version=None, actor="person:ana")
    assert upsert(database, worklist, entry(ScheduledProcedureStepLocation="SALA 0"), version=FIRST) == []
    assert only(database, worklist).step.location == "SALA 2"
    upsert(database, worklist, entry(ScheduledProcedureStepLocation="SALA 3"), version=LATEST)
    assert only(database, worklist).step.location == "SALA 3"


@pytest.mark.parametrize(
    ("before", "told", "after"),
    [
        (StepStatus.SCHEDULED, StepStatus.ARRIVED, StepStatus.ARRIVED),
        (StepStatus.ARRIVED, StepStatus.SCHEDULED, StepStatus.ARRIVED),
        (StepStatus.STARTED, StepStatus.SCHEDULED, StepStatus.STARTED),
        (StepStatus.COMPLETED, StepStatus.SCHEDULED, StepStatus.COMPLETED),
        (StepStatus.CANCELED, StepStatus.SCHEDULED, StepStatus.SCHEDULED),
        (StepStatus.CANCELED, None, StepStatus.CANCELED),
        (StepStatus.STARTED, StepStatus.DISCONTINUED, StepStatus.DISCONTINUED),
    ],
)
def test_repeated_order_does_not_turn_back(
    database: Database, worklist: Worklist, before: StepStatus, told: StepStatus | None, after: StepStatus
) -> None:
    """An update of an order whose step has begun does not put the patient back on the list."""
    upsert(database, worklist, entry(before))
    upsert(database, worklist, entry(told, ScheduledProcedureStepLocation="SALA 9"), version=LATER)
    step = only(database, worklist).step
    assert (step.status, step.location) == (after, "SALA 9")


@pytest.mark.parametrize("other", [{"PatientID": "P-2"}, {"PatientID": ""}, {"IssuerOfPatientID": "OTHER"}], ids=str)
def test_step_never_changes_its_patient_by_an_order(
    database: Database, worklist: Worklist, other: dict[str, str]
) -> None:
    """A number used for two patients is refused, and nothing is changed."""
    upsert(database, worklist, entry(IssuerOfPatientID="HOSP"))
    with pytest.raises(PatientMismatch, match="another patient"):
        upsert(database, worklist, entry(PatientName="OTRO^Alguien", **other), version=LATER)
    assert only(database, worklist).step.patient_name == "FICTICIO^Paciente"


@pytest.mark.parametrize(
    ("wrong", "word"),
    [
        (NewStep(Dataset()), "this one has 0"),
        (entry(AccessionNumber="", RequestedProcedureID="", ScheduledProcedureStepID=""), "Nothing names"),
    ],
)
def test_nameless_steps_are_refused(database: Database, worklist: Worklist, wrong: NewStep, word: str) -> None:
    """What could never be found again is not taken."""
    with pytest.raises(InvalidInput, match=word):
        upsert(database, worklist, wrong)


def test_selector_names_something() -> None:
    """A status is never set on all steps at once."""
    with pytest.raises(InvalidInput):
        StepSelector(accession_number="", row_id=None)


@pytest.mark.parametrize(
    "which",
    [
        {"accession_number": "A-1"},
        {"placer_order_number": "PL-1"},
        {"filler_order_number": "FI-1", "accession_number": "A-1"},
        {"study_instance_uid": "2.25.1"},
        {"accession_number": "A-1", "step_id": "SPS-1", "requested_procedure_id": "RP-1"},
    ],
    ids=str,
)
def test_status_is_set_by_any_number_of_the_order(
    database: Database, worklist: Worklist, which: dict[str, str]
) -> None:
    """MPPS, images and orders name a step each in their way; the others stay as they are."""
    numbers = {"PlacerOrderNumberImagingServiceRequest": "PL-1", "FillerOrderNumberImagingServiceRequest": "FI-1"}
    upsert(
        database, worklist, entry(**numbers), entry(AccessionNumber="A-2", StudyInstanceUID="2.25.2", PatientID="P-2")
    )
    (change,) = set_status(database, worklist, StepStatus.STARTED, **which)
    assert (change.kind, change.before, change.step.accession_number) == (
        ChangeKind.STATUS,
        StepStatus.SCHEDULED,
        "A-1",
    )
    assert set_status(database, worklist, StepStatus.STARTED, **which) == []
    assert answers(worklist) == ["A-2"]


def test_patient_is_updated_in_all_steps(database: Database, worklist: Worklist) -> None:
    """A corrected name reaches every step of exactly this patient; the ID itself is not changed."""
    steps = [entry(AccessionNumber=f"A-{number}", StudyInstanceUID=f"2.25.{number}") for number in range(2)]
    upsert(database, worklist, *steps, entry(AccessionNumber="X", IssuerOfPatientID="OTHER"))
    news = patient(PatientName="Nuevo^Nombre", PatientID="P-9")
    with database.session(write=True) as session:
        changes = worklist.update_patient(session, [PATIENT], news, version=LATER, actor="hl7:HIS")
    assert [(change.step.accession_number, change.step.patient_id) for change in changes] == [
        ("A-0", "P-1"),
        ("A-1", "P-1"),
    ]
    assert answers(worklist, PatientName="nuevo*") == ["A-0", "A-1"]


def test_order_older_than_the_patient_s_data_leaves_them(database: Database, worklist: Worklist) -> None:
    """An order that was sent before a correction of the name, but comes after it, changes the order alone."""
    upsert(database, worklist, entry(), version=FIRST)
    with database.session(write=True) as session:
        news = patient(PatientName="Nuevo^Nombre")
        worklist.update_patient(session, [PATIENT], news, version=LATEST, actor="hl7:HIS")
        assert worklist.update_patient(session, [PATIENT], patient(PatientName="X"), version=FIRST, actor="") == []
    upsert(database, worklist, entry(ScheduledProcedureStepLocation="SALA 5"), version=LATER)
    step = only(database, worklist).step
    assert (step.patient_name, step.location) == ("Nuevo^Nombre", "SALA 5")


def test_merge_gives_steps_to_the_survivor(database: Database, worklist: Worklist) -> None:
    """After a merge the steps are the survivor's; orders under the old ID still reach them, and change no patient."""
    upsert(database, worklist, entry(IssuerOfPatientID="OLD"), version=FIRST)
    survivor = patient(PatientID="P-2", PatientName="Superviviente^Ana")
    with database.session(write=True) as session:
        (change,) = worklist.merge_patients(session, [("P-1", "OLD")], survivor, version=LATER, actor="hl7:HIS")
        assert worklist.merge_patients(session, [("P-1", "OLD")], survivor, version=LATER, actor="hl7:HIS") == []
    assert (change.step.patient_id, change.step.issuer_of_patient_id) == ("P-2", "")
    late = entry(IssuerOfPatientID="OLD", ScheduledProcedureStepLocation="SALA 6")
    upsert(database, worklist, late, version=LATEST)
    step = only(database, worklist).step
    assert (step.patient_id, step.patient_name, step.location) == ("P-2", "Superviviente^Ana", "SALA 6")


def test_listener_s_fault_undoes_the_change(database: Database, worklist: Worklist) -> None:
    """What must go with a change, such as a message to the HIS, goes with it or neither does."""

    def refuse(_session: Session, _change: StepChange) -> None:
        raise RuntimeError

    worklist.subscribe(refuse)
    with pytest.raises(RuntimeError):
        upsert(database, worklist, entry())
    with database.session() as session:
        assert worklist.page(session) == []


def test_two_processes_may_order_the_same_step(database: Database, worklist: Worklist) -> None:
    """Orders of one step that come at once leave one step, as the newest says."""

    def order(number: int) -> None:
        upsert(
            database,
            worklist,
            entry(ScheduledProcedureStepLocation=f"SALA {number}"),
            version=Version("20260301080000", number),
        )

    threads = [threading.Thread(target=order, args=(number,)) for number in range(1, 9)]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()
    assert only(database, worklist).step.location == "SALA 8"


def test_page_narrows(database: Database, worklist: Worklist) -> None:
    """A day, a modality, a room, words and a status each narrow the page, which is in the order of time."""
    upsert(
        database,
        worklist,
        entry(AccessionNumber="A-2", ScheduledProcedureStepStartTime="150000", ScheduledProcedureStepLocation="B"),
        entry(AccessionNumber="A-1", PatientName="Muñoz^José", ScheduledProcedureStepLocation="A"),
        entry(AccessionNumber="A-3", ScheduledProcedureStepStartDate="20260311", Modality="MR"),
        entry(StepStatus.ARRIVED, AccessionNumber="A-4", ScheduledProcedureStepStartDate=""),
    )
    day = date(2026, 3, 10)
    cases: list[tuple[dict[str, Any], list[str]]] = [
        ({}, ["A-4", "A-1", "A-2", "A-3"]),
        ({"day": day}, ["A-1", "A-2"]),
        ({"day": day, "location": "B"}, ["A-2"]),
        ({"modality": "MR"}, ["A-3"]),
        ({"text": "munoz"}, ["A-1"]),
        ({"text": "a-3"}, ["A-3"]),
        ({"status": StepStatus.ARRIVED}, ["A-4"]),
        ({"offset": 1, "limit": 2}, ["A-1", "A-2"]),
    ]
    with database.session() as session:
        for wanted, expected in cases:
            assert [step.accession_number for step in worklist.page(session, **wanted)] == expected, wanted
        assert worklist.locations(session, day) == [("CT", "A"), ("CT", "B")]
        found = worklist.select(session, StepSelector(accession_number="A-3"))
        assert [step.modality for step in found] == ["MR"]
        with pytest.raises(NotFound):
            worklist.get(session, 0)


def _empty_code() -> Dataset:
    code = Dataset()
    code.CodeValue = code.CodingSchemeDesignator = code.CodeMeaning = ""
    return code


MANY = (
    entry(AccessionNumber="A-1", PatientName="Muñoz^José", PatientID="P_1"),
    entry(AccessionNumber="A-2", PatientID="PX1", ScheduledProcedureStepStartDate="20260311", priority="HIGH"),
    entry(AccessionNumber="A-3", Modality="MR", ScheduledStationAETitle="MR1", PatientName="Álvarez^Ana"),
    entry(AccessionNumber="A-4", ScheduledStationAETitle=["CT1", "CT2"], StudyInstanceUID="2.25.4"),
    entry(AccessionNumber="A-5", ScheduledStationAETitle=None, ScheduledProcedureStepStartDate=""),
    entry(StepStatus.ARRIVED, AccessionNumber="B-6"),
    entry(StepStatus.STARTED, AccessionNumber="B-7"),
    entry(StepStatus.CANCELED, AccessionNumber="B-8"),
)


@pytest.mark.parametrize(
    ("keys", "expected"),
    [
        ({}, ["A-5", "A-1", "A-3", "A-4", "B-6", "A-2"]),
        ({"AccessionNumber": "A-4"}, ["A-4"]),
        ({"AccessionNumber": "B-*"}, ["B-6"]),
        ({"AccessionNumber": "b-*"}, []),
        ({"PatientID": "P_1"}, ["A-1"]),
        ({"PatientID": "P?1"}, ["A-1", "A-3", "A-4", "A-5", "B-6", "A-2"]),
        ({"PatientID": "P_*"}, ["A-1"]),
        ({"PatientName": "MUNOZ*"}, ["A-1"]),
        ({"PatientName": "alvarez^ana"}, ["A-3"]),
        ({"PatientName": "alvarez"}, []),
        ({"PatientName": "alvarez^ana^*^*"}, ["A-3"]),
        ({"PatientName": "alvarez*^*"}, ["A-3"]),
        ({"PatientName": "*^*"}, ["A-5", "A-1", "A-3", "A-4", "B-6", "A-2"]),
        ({"PatientName": "^^^^"}, ["A-5", "A-1", "A-3", "A-4", "B-6", "A-2"]),
        ({"RequestedProcedureCodeSequence": [_empty_code()], "AccessionNumber": "A-4"}, ["A-4"]),
        ({"StudyInstanceUID": ["2.25.4", "2.25.5"]}, ["A-4"]),
        ({"Modality": "MR"}, ["A-3"]),
        ({"Modality": "M?"}, ["A-3"]),
        ({"Modality": ["MR", "US"]}, ["A-3"]),
        ({"ScheduledStationAETitle": "CT2"}, ["A-4"]),
        ({"ScheduledStationAETitle": "C*"}, ["A-1", "A-4", "B-6", "A-2"]),
        ({"ScheduledStationAETitle": "T1"}, []),
        ({"ScheduledProcedureStepStartDate": "20260310"}, ["A-1", "A-3", "A-4", "B-6"]),
        ({"ScheduledProcedureStepStartDate": "20260311-"}, ["A-2"]),
        ({"ScheduledProcedureStepStartDate": "-20260310"}, ["A-1", "A-3", "A-4", "B-6"]),
        ({"ScheduledProcedureStepStatus": "STARTED"}, ["B-7"]),
        ({"ScheduledProcedureStepStatus": "ARRIVED"}, ["B-6"]),
        ({"RequestedProcedurePriority": "HIGH"}, ["A-2"]),
        ({"RequestedProcedureID": "RP-1", "ScheduledProcedureStepID": "SPS-2"}, []),
    ],
    ids=str,
)
def test_modality_is_answered(database: Database, keys: dict[str, object], expected: list[str]) -> None:
    """Whatever the database narrows by, the answers are those that DICOM's matching describes."""
    assert sorted(answers(enter(database, *MANY), **keys)) == sorted(expected)


def test_answers_come_in_the_order_of_time(database: Database) -> None:
    """Modalities show the list as it comes."""
    worklist = enter(database, *MANY)
    assert answers(worklist)[0] == "A-5"
    assert answers(worklist)[-1] == "A-2"


def test_answer_tells_status_and_priority(database: Database) -> None:
    """What the table knows best is answered from there."""
    keys = question(AccessionNumber="A-2", RequestedProcedurePriority="", ScheduledProcedureStepStatus="")
    (answer,) = enter(database, *MANY).find(keys, calling_aet="CT1")
    (item,) = answer.ScheduledProcedureStepSequence
    assert (answer.RequestedProcedurePriority, item.ScheduledProcedureStepStatus) == ("HIGH", "SCHEDULED")


@pytest.mark.parametrize(
    ("settings", "calling", "expected"),
    [
        ({"only_own_steps": True}, "CT1", ["A-1", "A-2", "A-4", "A-5", "B-6"]),
        ({"only_own_steps": True}, "MR1", ["A-3", "A-5"]),
        ({"only_own_steps": True, "stations": {"MR1": {"OnlyOwnSteps": False}}}, "MR1", None),
        ({"stations": {"MR1": {"OnlyOwnSteps": True}}}, "CT1", None),
        ({"statuses": ("STARTED",)}, "CT1", ["B-7"]),
    ],
    ids=str,
)
def test_settings_decide_what_a_station_sees(
    database: Database, settings: dict[str, Any], calling: str, expected: list[str] | None
) -> None:
    """A station gets its own steps and those of no station where that is set, of it or of all."""
    enter(database, *MANY)
    typed = WorklistSettings.model_validate({_pascal(name): value for name, value in settings.items()})
    worklist = Worklist(database, typed)
    everything = ["A-1", "A-2", "A-3", "A-4", "A-5", "B-6"]
    assert sorted(answers(worklist, calling)) == (expected or everything)


def _pascal(name: str) -> str:
    return name.title().replace("_", "")


@pytest.mark.parametrize(
    ("asked_in", "of_station", "name", "expected"),
    [
        (None, None, "Muñoz^José", "ISO_IR 100"),
        ("ISO_IR 100", None, "Muñoz^José", "ISO_IR 100"),
        ("ISO_IR 192", None, "Muñoz^José", "ISO_IR 192"),
        ("ISO_IR 192", "ISO_IR 100", "Muñoz^José", "ISO_IR 100"),
        ("ISO_IR 100", "ISO_IR 192", "Muñoz^José", "ISO_IR 192"),
        ("ISO_IR 100", "ISO_IR 100", "Łukasz^Wiśniewski", "ISO_IR 192"),
        (None, None, "山田^太郎", "ISO_IR 192"),
        (["", "ISO 2022 IR 87"], None, "Muñoz^José", "ISO_IR 100"),
    ],
)
def test_character_set_is_the_station_s(
    database: Database, asked_in: Any, of_station: Any, name: str, expected: str
) -> None:
    """The setting of the station decides, then what it asked in; no letter is given up for it."""
    enter(database, entry(PatientName=name))
    stations = {"CT1": StationSettings.model_validate({"CharacterSet": of_station})}
    worklist = Worklist(database, WorklistSettings.model_validate({"Stations": stations}))
    keys = question(PatientName="")
    if asked_in:
        keys.SpecificCharacterSet = asked_in
    (answer,) = worklist.find(keys, calling_aet="CT1")
    assert (answer.SpecificCharacterSet, str(answer.PatientName)) == (expected, name)


def test_too_many_answers_are_refused(database: Database) -> None:
    """A list that is cut short would be taken for the whole."""
    enter(database, *MANY)
    worklist = Worklist(database, WorklistSettings.model_validate({"MostAnswers": 5}))
    with pytest.raises(InvalidInput, match="more than 5"):
        answers(worklist)
    assert answers(worklist, Modality="MR") == ["A-3"]


def test_day_of_a_modality_walks_an_index(database: Database) -> None:
    """The usual question reads its own day, not the years before."""
    if not database.is_sqlite:
        pytest.skip("PostgreSQL chooses by the number of rows")
    with database.session() as session:
        plan = session.execute(
            text(
                "EXPLAIN QUERY PLAN SELECT attributes FROM worklist_steps WHERE status IN ('SCHEDULED', 'ARRIVED') "
                "AND start_key >= '20260310' AND start_key <= '20260310235959' AND stations_key LIKE '%|ct1|%'"
            )
        )
        assert "ix_worklist_steps_asked (status=? AND start_key>? AND start_key<?)" in str(plan.all())


def test_clocks_of_two_senders_are_not_compared(database: Database, worklist: Worklist) -> None:
    """A sender whose clock is behind is believed when it speaks last; of one sender its own clock decides."""
    upsert(database, worklist, entry(Modality="CT"), version=Version("20260301090000", 1, "hl7:HIS"))
    upsert(database, worklist, entry(Modality="MR"), version=Version("20260301070000", 2, "hl7:RIS"))
    assert only(database, worklist).step.modality == "MR"
    upsert(database, worklist, entry(Modality="US"), version=Version("20260301065900", 3, "hl7:RIS"))
    assert only(database, worklist).step.modality == "MR"


def test_purge_deletes_what_is_past_and_no_longer_changed(database: Database) -> None:
    """Ten days after their day and their last change entries go, with their history; others stay."""
    days = {"PAST": "20260305", "TOMORROW": "20260311", "UNKNOWN": ""}
    steps = [entry(AccessionNumber=name, ScheduledProcedureStepStartDate=day) for name, day in days.items()]
    entered = Worklist(database, clock=lambda: datetime(2026, 3, 10, tzinfo=UTC))
    upsert(database, entered, *steps)
    assert Purge(database, 10, clock=lambda: datetime(2026, 3, 19, tzinfo=UTC)).purge() == 0
    assert Purge(database, 10, clock=lambda: datetime(2026, 3, 21, tzinfo=UTC)).purge() == 2
    with database.session() as session:
        assert [step.accession_number for step in entered.page(session)] == ["TOMORROW"]
        assert session.execute(text("SELECT count(*) FROM worklist_history")).scalar() == 1


def test_history_keeps_who_and_when(database: Database) -> None:
    """Every change is there with its actor, its moment and what the actor said."""
    now = datetime(2026, 3, 10, 9, 30, tzinfo=UTC)
    worklist = Worklist(database, clock=lambda: now)
    upsert(database, worklist, entry())
    with database.session(write=True) as session:
        which = StepSelector(accession_number="A-1")
        worklist.set_status(session, which, StepStatus.ARRIVED, actor="person:ana", detail={"desk": 2})
    event = only(database, worklist).history[-1]
    assert (event.at, event.actor, event.before, event.after, event.detail) == (
        now,
        "person:ana",
        StepStatus.SCHEDULED,
        StepStatus.ARRIVED,
        {"desk": 2},
    )
