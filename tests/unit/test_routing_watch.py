"""Times of day and labels: each asks the rules once, whatever was missed, and nothing of the past is news."""

from __future__ import annotations

from collections.abc import Iterator
from datetime import UTC, datetime, timedelta
from pathlib import Path
from zoneinfo import ZoneInfo

import pytest
from sqlalchemy import update

from fakes.archive import MemoryArchive
from fixtures.broken_rules import KNOWN
from fixtures.study_rows import store_rows, study_row
from fixtures.worklist_entries import enter, entry
from pacs.database import Database
from pacs.metrics import Metrics
from pacs.ports import Json
from pacs.routing.actions.orders import Tasks
from pacs.routing.decisions.journal import DecisionJournal, Occasion
from pacs.routing.rules.appointments import Appointments
from pacs.routing.rules.book import RuleBook
from pacs.routing.rules.figures import RuleFigures
from pacs.routing.rules.gathering import Gatherer
from pacs.routing.rules.router import Router
from pacs.routing.rules.ruleset import Subject, Verdict
from pacs.routing.rules.triggers import Ahead, Event, Schedule, parse_trigger
from pacs.routing.rules.watch import Watch
from pacs.work import WorkState
from pacs.worklist.models import StepRecord
from pacs.worklist.statuses import StepStatus

ASUNCION = ZoneInfo("America/Asuncion")
RULES = """
rules:
  - name: Nightly
    on: at 22:00 Mon-Fri
    do: [{send: university}]
  - name: Labelled
    on: label set
    if: {labels: Urgent}
    do: [{send: university}]
  - name: Priors
    on: 12 hours before appointment
    if: {Modality: CT, order_station: CT1, PatientID: P-1, age_years: 1..130}
    do: [{prefetch: {from: university, last: 2}}]
"""


class Labels(MemoryArchive):
    """An archive that knows nothing but labels."""

    def __init__(self) -> None:
        super().__init__()
        self.labelled: dict[str, set[str]] = {}
        self.asked: list[str] = []

    def get_json(self, path: str) -> Json:
        """Return the labels that there are."""
        assert path == "/tools/labels"
        return sorted(self.labelled)

    def post_json(self, path: str, body: Json) -> Json:
        """Return the studies that have a label, or how many."""
        self.asked.append(path)
        found = sorted(self.labelled[body["Labels"][0]])
        if path == "/tools/count-resources":
            return {"Count": len(found)}
        assert path == "/tools/find"
        return found[body["Since"] : body["Since"] + body["Limit"]]


class Hospital:
    """A watch with its clock, archive and notes."""

    def __init__(self, database: Database, folder: Path) -> None:
        self.now = datetime(2026, 11, 20, 20, 0, tzinfo=ASUNCION)
        self.archive, self.database = Labels(), database
        book = RuleBook(folder, KNOWN)
        book.activate(RULES, actor="person:test")
        figures = RuleFigures(Metrics("1.2.3"))
        self.tasks = Tasks(database, figures)
        self.journal = DecisionJournal(database, clock=lambda: self.now)
        self.router = Router(
            database,
            book,
            Gatherer(database, self.archive),
            journal=self.journal,
            tasks=self.tasks,
            order=lambda *_: None,
            figures=figures,
            time_zone=ASUNCION,
        )
        self.seconds = 0.0
        clocks = {"clock": lambda: self.now, "monotonic": lambda: self.seconds}
        self.watch = Watch(database, self.archive, book, self.router, time_zone=ASUNCION, **clocks)

    def notes(self) -> list[tuple[str, str, str]]:
        """Return event, study and detail of what was noted so far, oldest first."""
        items = self.router.queue.list_items(*WorkState)[::-1]
        return [(item.payload["event"], item.payload["orthanc_id"], item.payload["detail"]) for item in items]

    def decide(self) -> None:
        """Decide what was noted, as far as the journal has it."""
        while claims := self.router.queue.claim(1):
            note = claims[0].item.payload
            with self.database.session(write=True) as session:
                occasion = Occasion(Event(note["event"]), note["detail"])
                self.journal.note(session, Subject(note["orthanc_id"], "1.2.3"), occasion, 1, Verdict(()))
                claims[0].complete(session=session)

    def look_at(self, hour: int, *, days: int = 0) -> None:
        """Look at another time."""
        self.now = datetime(2026, 11, 20, hour, 5, tzinfo=ASUNCION) + timedelta(days=days)
        self.watch.look()


@pytest.fixture
def hospital(tmp_path: Path) -> Iterator[Hospital]:
    """Give a watch on Friday evening, before the schedule's time."""
    with Database(f"sqlite:///{tmp_path}/pacs.db") as database:
        database.migrate()
        yield Hospital(database, tmp_path / "routing")


def _stored(hospital: Hospital, at: datetime) -> str:
    row = study_row() | {"last_update_at": at, "received_at": at}
    store_rows(hospital.database, row)
    return str(row["orthanc_study_id"])


def _local(text: str) -> datetime:
    return datetime.fromisoformat(text).replace(tzinfo=ASUNCION)


@pytest.mark.parametrize(
    ("words", "now", "expected"),
    [
        ("at 22:00", "2026-11-20T22:00", "2026-11-20T22:00"),
        ("at 22:00", "2026-11-20T21:59", "2026-11-19T22:00"),
        ("at 06:30 Mon-Fri", "2026-11-22T12:00", "2026-11-20T06:30"),
        ("at 06:30 Sun", "2026-11-21T12:00", "2026-11-15T06:30"),
    ],
)
def test_schedule_knows_its_last_time(words: str, now: str, expected: str) -> None:
    """The latest moment of a schedule that is not in the future, on its days alone."""
    schedule = parse_trigger(words)
    assert isinstance(schedule, Schedule)
    assert schedule.last_before(_local(now)) == _local(expected)


def test_schedule_notes_what_came_since_the_time_before_once(hospital: Hospital) -> None:
    """Nothing at first; at its time the studies since; not again at the next look, nor on another day."""
    hospital.watch.look()
    study = _stored(hospital, datetime(2026, 11, 20, 18, 0, tzinfo=ASUNCION))
    _stored(hospital, datetime(2026, 11, 10, 18, 0, tzinfo=ASUNCION))
    hospital.look_at(21)
    assert hospital.notes() == []
    for hour, days in ((22, 0), (23, 0), (22, 1)):
        hospital.look_at(hour, days=days)
        assert hospital.notes() == [("schedule", study, "at 22:00 Mon-Fri")]


def test_schedule_is_kept_up_after_a_standstill(hospital: Hospital) -> None:
    """A server that was off at the time asks when it is on again."""
    hospital.watch.look()
    study = _stored(hospital, datetime(2026, 11, 20, 21, 0, tzinfo=ASUNCION))
    hospital.look_at(9, days=2)
    assert [note[1] for note in hospital.notes()] == [study]


@pytest.mark.parametrize("days_ahead", [3, 7, 31, 370])
@pytest.mark.parametrize("fires_meanwhile", [False, True])
def test_schedule_goes_on_though_the_clock_was_ahead(
    hospital: Hospital, days_ahead: int, *, fires_meanwhile: bool
) -> None:
    """After a clock that was ahead the next time is the next one by the clock of now; each study is noted once."""
    hospital.look_at(21, days=-1)
    before = _stored(hospital, datetime(2026, 11, 20, 10, 0, tzinfo=ASUNCION))
    hospital.look_at(23, days=days_ahead if fires_meanwhile else 0)
    hospital.look_at(23, days=days_ahead)
    ahead = _stored(hospital, hospital.now)
    hospital.decide()
    hospital.look_at(23, days=days_ahead + 3)
    hospital.decide()
    hospital.look_at(23, days=1)
    hospital.look_at(9, days=3)
    after = _stored(hospital, datetime(2026, 11, 23, 10, 0, tzinfo=ASUNCION))
    for day in range(3, days_ahead + 10):
        hospital.look_at(23, days=day)
        hospital.decide()
    assert sorted(note[1] for note in hospital.notes()) == sorted([before, ahead, after])


def test_schedule_asks_nothing_twice_after_a_clock_that_was_behind(hospital: Hospital) -> None:
    """A server that starts with the date of long ago, and gets the right one later, begins nothing anew."""
    hospital.look_at(21, days=-1)
    study = _stored(hospital, datetime(2026, 11, 20, 10, 0, tzinfo=ASUNCION))
    hospital.look_at(23)
    hospital.decide()
    hospital.look_at(23, days=-9000)
    hospital.look_at(23, days=3)
    assert [note[1] for note in hospital.notes()] == [study]


def test_label_is_noted_once_each_time_it_is_set(hospital: Hospital) -> None:
    """Labels of before are no news; a new one is, once; taken off and set again it is news again."""
    hospital.archive.labelled = {"urgent": {"old"}, "other": {"a"}}
    hospital.watch.look()
    assert hospital.notes() == []
    hospital.archive.labelled["urgent"].add("new")
    hospital.watch.look()
    hospital.watch.look()
    assert hospital.notes() == [("label set", "new", "urgent")]
    hospital.archive.labelled["urgent"].discard("new")
    hospital.watch.look()
    hospital.archive.labelled["urgent"].add("new")
    hospital.watch.look()
    assert hospital.notes() == [("label set", "new", "urgent")] * 2


def test_labelled_studies_are_counted_and_only_listed_when_they_may_be_others(hospital: Hospital) -> None:
    """Ten thousand studies with a label cost a count a look; one set as another was taken off is found in a minute."""
    hospital.archive.labelled = {"urgent": {f"{number}" for number in range(10_000)}}
    hospital.watch.look()
    hospital.archive.asked.clear()
    hospital.watch.look()
    assert hospital.archive.asked == ["/tools/count-resources"]
    hospital.archive.labelled["urgent"] = hospital.archive.labelled["urgent"] - {"7"} | {"new"}
    hospital.watch.look()
    assert hospital.notes() == []
    hospital.seconds = 61.0
    hospital.watch.look()
    assert hospital.notes() == [("label set", "new", "urgent")]


def test_appointment_is_noted_once_when_it_comes_near(hospital: Hospital) -> None:
    """Twelve hours before, once; again when the order is changed; what is off, over or far away is not noted."""
    day = {"ScheduledProcedureStepStartDate": "20261121"}
    early = entry(**day, ScheduledProcedureStepStartTime="080000")
    late = entry(**day, ScheduledProcedureStepStartTime="180000", AccessionNumber="A-2", StudyInstanceUID="2.25.2")
    off = entry(StepStatus.CANCELED, **day, AccessionNumber="A-3", StudyInstanceUID="2.25.3")
    gone = entry(ScheduledProcedureStepStartDate="20261119", AccessionNumber="A-4", StudyInstanceUID="2.25.4")
    enter(hospital.database, early, late, off, gone)
    hospital.look_at(19)
    assert hospital.notes() == []
    hospital.look_at(20)
    hospital.look_at(21)
    (noted,) = hospital.notes()
    assert (noted[0], noted[2]) == ("appointment", "12 hours before appointment")
    hospital.look_at(6, days=1)
    assert len(hospital.notes()) == 2


def test_appointments_are_looked_at_though_the_clock_was_ahead(hospital: Hospital) -> None:
    """A look by a clock that was a year ahead does not put off all looks by a year; nothing is noted twice."""
    enter(
        hospital.database, entry(ScheduledProcedureStepStartDate="20261121", ScheduledProcedureStepStartTime="030000")
    )
    hospital.look_at(20)
    hospital.look_at(20, days=365)
    enter(
        hospital.database,
        entry(
            ScheduledProcedureStepStartDate="20261121",
            ScheduledProcedureStepStartTime="080000",
            AccessionNumber="A-2",
            StudyInstanceUID="2.25.2",
        ),
    )
    hospital.look_at(20)
    assert len(hospital.notes()) == 2


@pytest.mark.parametrize(
    ("start", "before", "after"),
    [
        # Clocks of Lisbon go back at 2:00 on 25 October 2026, and forward at 1:00 on 28 March 2027.
        ("20261025013000", "2026-10-24T12:29:00+00:00", "2026-10-24T12:31:00+00:00"),
        ("20261025120000", "2026-10-24T23:59:00+00:00", "2026-10-25T00:01:00+00:00"),
        ("20270328120000", "2027-03-27T22:59:00+00:00", "2027-03-27T23:01:00+00:00"),
    ],
)
def test_hours_before_an_appointment_are_hours_when_clocks_change(
    hospital: Hospital, start: str, before: str, after: str
) -> None:
    """Twelve hours, by the hospital's time, also over a night of 25 hours or of 23."""
    enter(
        hospital.database,
        entry(ScheduledProcedureStepStartDate=start[:8], ScheduledProcedureStepStartTime=start[8:]),
    )
    with hospital.database.session(write=True) as session:
        session.execute(update(StepRecord).values(changed_at=datetime(2026, 1, 1, tzinfo=UTC)))
    noted: list[str] = []
    appointments = Appointments(
        hospital.database,
        lambda _session, name, _words, *, dedupe: noted.append(name),  # noqa: ARG005
        time_zone=ZoneInfo("Europe/Lisbon"),
        clock=lambda: hospital.now,
    )
    ahead = parse_trigger("12 hours before appointment")
    assert isinstance(ahead, Ahead)
    for at, count in ((before, 0), (after, 1)):
        hospital.now = datetime.fromisoformat(at)
        appointments.look([ahead])
        assert len(noted) == count


def test_appointment_leads_to_a_prefetch_by_what_the_order_says(hospital: Hospital) -> None:
    """Conditions see the order's attributes, step and station; the task names the step, no study is decided about."""
    on = {"ScheduledProcedureStepStartDate": "20261121", "ScheduledProcedureStepStartTime": "030000"}
    enter(hospital.database, entry(**on), entry(**on, Modality="MR", AccessionNumber="A-2", StudyInstanceUID="2.25.2"))
    hospital.look_at(20)
    for claim in hospital.router.queue.claim(10):
        hospital.router.work(claim)
    (task,) = hospital.tasks.queue.list_items(*WorkState)
    parameters = task.payload["parameters"]
    assert (task.payload["kind"], parameters["from"], parameters["last"]) == ("prefetch", "university", 2)
    assert task.payload["orthanc_study_id"] == f"step {parameters['step']}"
    assert DecisionJournal(hospital.database).latest() == []


def test_decisions_are_forgotten_by_their_age(hospital: Hospital) -> None:
    """What was decided is kept as long as the settings say, and no longer."""
    days = iter((400, 0, 0))
    journal = DecisionJournal(hospital.database, clock=lambda: hospital.now - timedelta(days=next(days)))
    for study in ("old", "new"):
        with hospital.database.session(write=True) as session:
            journal.note(session, Subject(study, "1.2.3"), Occasion(Event.BY_HAND), 1, Verdict(()))
    assert journal.forget(365) == 1
    assert [one.orthanc_study_id for one in journal.latest()] == ["new"]
