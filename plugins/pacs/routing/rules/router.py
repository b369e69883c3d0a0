"""`Router`: notes what happens as rows of a queue, asks the rules in worker threads, puts the answer into effect.

In Orthanc's callbacks nothing is done: the change feed's own thread writes the notes, in the feed's transaction.
"""

from __future__ import annotations

import logging
from collections.abc import Callable, Iterator, Mapping, Sequence
from dataclasses import dataclass, replace
from datetime import UTC, datetime, tzinfo
from itertools import batched
from typing import Any

from sqlalchemy import select
from sqlalchemy.orm import Session

from pacs.database import Database
from pacs.hl7.rehearse.fiction import is_played
from pacs.mpps.matching import match
from pacs.mpps.progress import names_of
from pacs.ports import ChangeKind
from pacs.routing.actions.orders import REPEATED, Tasks
from pacs.routing.decisions.journal import DecisionJournal, Occasion
from pacs.routing.orders import DeliveryOrder
from pacs.routing.rules.appointments import appointment, step_of
from pacs.routing.rules.book import InForce, RuleBook
from pacs.routing.rules.facts import Facts
from pacs.routing.rules.figures import RuleFigures
from pacs.routing.rules.gathering import Gathered, Gatherer
from pacs.routing.rules.ruleset import Subject, Verdict
from pacs.routing.rules.tasks import Task
from pacs.routing.rules.triggers import Event
from pacs.routing.targets.own import OWN_TARGET
from pacs.studies import ChangeFeed, FeedChange
from pacs.studies.models import StudyRecord
from pacs.work import Claim, NewItem, QueueWorker, Supervisor, WorkQueue
from pacs.worklist.statuses import StepStatus
from pacs.worklist.steps import StepChange
from pacs.worklist.worklist import Worklist

_log = logging.getLogger(__name__)

QUEUE_NAME = "routing rules"
_KEEP_DONE_DAYS = 2
_THREADS = 2
_NOTES_AT_ONCE = 500
_ENDED = frozenset({StepStatus.COMPLETED, StepStatus.DISCONTINUED, StepStatus.CANCELED})
_PATIENT = "PatientID"
# Who asks for a study of nobody to be routed. A person's name begins with "person:".
TRIAL = "trial"
_EVENTS = {
    ChangeKind.NEW_INSTANCE: Event.INSTANCE,
    ChangeKind.STABLE_SERIES: Event.SERIES_STABLE,
    ChangeKind.STABLE_STUDY: Event.STUDY_STABLE,
}

# Writes deliveries in the caller's transaction: `delivery.ledger.Ledger.order`.
type OrderDeliveries = Callable[[Sequence[DeliveryOrder], Session], object]


@dataclass(frozen=True)
class Note:
    """Something that happened, as the queue keeps it.

    Attributes
    ----------
    orthanc_id : of the instance, series or study that it happened to; of an appointment see `appointments`.
    again : what is proven is sent once more.
    """

    event: Event
    orthanc_id: str
    detail: str = ""
    actor: str = ""
    again: bool = False

    def payload(self) -> dict[str, Any]:
        """Return it as JSON."""
        return vars(self) | {"event": self.event.value}

    @classmethod
    def of(cls, payload: Mapping[str, Any]) -> Note:
        """Read it."""
        return cls(**{**payload, "event": Event(payload["event"])})


class Router:
    """Asks the rules. Safe to use from any thread.

    Parameters
    ----------
    order : puts deliveries into the ledger.
    time_zone : of the hospital.

    Attributes
    ----------
    queue : notes of what happened, key: the study, series or instance.
    """

    def __init__(
        self,
        database: Database,
        book: RuleBook,
        gatherer: Gatherer,
        *,
        journal: DecisionJournal,
        tasks: Tasks,
        order: OrderDeliveries,
        figures: RuleFigures,
        time_zone: tzinfo,
    ) -> None:
        self.queue = WorkQueue(database, QUEUE_NAME)
        self._database = database
        self._book = book
        self._gatherer = gatherer
        self._journal = journal
        self._tasks = tasks
        self._order = order
        self._figures = figures
        self._time_zone = time_zone

    # -- what happens --------------------------------------------------------------------------------------------------

    def follow(self, feed: ChangeFeed, worklist: Worklist) -> None:
        """Subscribe to the archive and the worklist. After whoever lets images change the worklist."""
        feed.subscribe(_EVENTS, self._on_change)
        worklist.subscribe(self._on_step)

    def add_to(self, supervisor: Supervisor) -> None:
        """Add the threads."""
        QueueWorker(self.queue, self.work, threads=_THREADS, keep_days=_KEEP_DONE_DAYS).add_to(supervisor)

    def put(self, session: Session, notes: Sequence[Note], *, dedupe: str = "") -> None:
        """Note what happened, in the caller's transaction; many at once, for others wait to write meanwhile."""
        for some in batched(notes, _NOTES_AT_ONCE, strict=False):
            items = [
                NewItem(
                    payload=note.payload(),
                    key=note.orthanc_id,
                    dedupe=f"{note.event} {note.orthanc_id} {dedupe}"[:255] if dedupe else None,
                )
                for note in some
            ]
            self.queue.put_many(items, session=session)

    def _on_change(self, session: Session, change: FeedChange) -> None:
        asked = self._book.in_force().rules.events
        happened = _EVENTS[change.kind]
        wanted = [event for event in _with_complete(happened) if event in asked]
        self.put(
            session,
            [Note(event, change.resource_id) for event in wanted],
            dedupe=f"{change.sequence or change.at.isoformat()}",
        )

    def _on_step(self, session: Session, change: StepChange) -> None:
        if change.after is not StepStatus.COMPLETED or change.before is StepStatus.COMPLETED:
            return
        if Event.STUDY_COMPLETE not in self._book.in_force().rules.events:
            return
        notes = [Note(Event.STUDY_COMPLETE, study_id) for study_id in _studies_of(session, change)]
        self.put(session, notes, dedupe=change.at.isoformat())

    # -- what follows --------------------------------------------------------------------------------------------------

    def work(self, claim: Claim) -> Mapping[str, Any] | None:
        """Ask the rules about one thing that happened. The handler of the queue."""
        note = Note.of(claim.item.payload)
        in_force = self._book.in_force()
        if note.actor == TRIAL:
            return self._try_out(claim, note, in_force)
        if note.event not in in_force.rules.events:
            return {"asked": False}
        found = self._subject(note, in_force.rules.names | {_PATIENT})
        if found is None:
            return {"asked": False, "gone": True}
        subject, facts = found
        if any(map(is_played, facts.get(_PATIENT))):
            # Rehearsals and the golden signal stay in the house.
            return {"asked": False, "played": True}
        verdict = in_force.rules.decide(facts, note.event, note.detail)
        with self._database.session(write=True) as session:
            if note.event is Event.STUDY_COMPLETE and not _is_complete(session, subject.orthanc_study_id):
                return {"asked": True, "complete": False}
            self._effect(session, note, subject, verdict, in_force)
            claim.complete({"rules": list(verdict.names), "targets": list(verdict.targets)}, session=session)
        self._figures.decided(note.event.value, verdict.names)
        return None

    def _try_out(self, claim: Claim, note: Note, in_force: InForce) -> Mapping[str, Any] | None:
        """Ask the rules as always, and send the study to the target of our own whatever they say."""
        found = self._subject(note, in_force.rules.names | {_PATIENT})
        if found is None or not any(map(is_played, found[1].get(_PATIENT))):
            return {"asked": False}
        subject, facts = found
        verdict = in_force.rules.decide(facts, note.event, note.detail)
        order = DeliveryOrder(subject.orthanc_study_id, subject.study_instance_uid, target=OWN_TARGET, rule=OWN_TARGET)
        with self._database.session(write=True) as session:
            self._order([order], session)
            claim.complete({"asked": True, "rules": list(verdict.names)}, session=session)
        return None

    def _effect(self, session: Session, note: Note, subject: Subject, verdict: Verdict, in_force: InForce) -> None:
        orders = verdict.orders(subject, _reason(note), again=note.again)
        if orders:
            self._order(orders, session)
        # By hand is always new; what happens again by itself is not done again, but for a schedule's next day.
        today = f"{datetime.now(self._time_zone):%Y%m%d}" if note.event is Event.SCHEDULE else "once"
        occasion = "" if note.actor else f"{note.event} {note.detail} {today}"
        for rule, task in verdict.tasks():
            # What is repeated anyway is asked for each time: it adds what came since.
            own = "" if task.kind in REPEATED or note.event is Event.APPOINTMENT else occasion
            self._tasks.put(session, subject, rule, _with_cause(task, note), occasion=own, actor=note.actor)
        if note.event is Event.APPOINTMENT:
            # The journal is of studies, of which there is none yet.
            return
        # Of single images only what leads to something is kept.
        if verdict.matched or note.event is not Event.INSTANCE:
            occurred = Occasion(note.event, note.detail, note.actor)
            self._journal.note(session, subject, occurred, in_force.number, verdict)

    def _subject(self, note: Note, names: frozenset[str]) -> tuple[Subject, Facts] | None:
        """Return what is decided about, and what is known of it; None when it is gone."""
        at = datetime.now(UTC).astimezone(self._time_zone)
        if note.event is Event.INSTANCE:
            instance = self._gatherer.instance(note.orthanc_id, names, at)
            return None if instance is None else (_subject_of(*instance), instance[1].facts)
        if note.event is Event.APPOINTMENT:
            return appointment(self._database, note.orthanc_id, at)
        if note.event is Event.SERIES_STABLE:
            return self._series(note.orthanc_id, names, at)
        study = self._gatherer.gather([note.orthanc_id], names, at).get(note.orthanc_id)
        return None if study is None else (_subject_of(note.orthanc_id, study), study.facts)

    def _series(self, orthanc_series_id: str, names: frozenset[str], at: datetime) -> tuple[Subject, Facts] | None:
        study_id = self._gatherer.study_of_series(orthanc_series_id)
        study = self._gatherer.gather([study_id], names, at).get(study_id) if study_id else None
        facts = study.series.get(orthanc_series_id) if study else None
        if study is None or study_id is None or facts is None:
            return None
        return Subject(study_id, study.study_instance_uid, orthanc_series_id), facts


def _with_cause(task: Task, note: Note) -> Task:
    """Return a task with the step of the worklist, or the image, that it is for, where that is what happened."""
    cause: dict[str, Any] = {}
    if note.event is Event.APPOINTMENT:
        cause = {"step": step_of(note.orthanc_id)}
    elif note.event is Event.INSTANCE and task.kind in REPEATED:
        cause = {"instance": note.orthanc_id}
    return replace(task, parameters={**task.parameters, **cause}) if cause else task


def _with_complete(event: Event) -> tuple[Event, ...]:
    """Return what an event may be, too: a stable study is complete if its order was done before its last image came."""
    return (event, Event.STUDY_COMPLETE) if event is Event.STUDY_STABLE else (event,)


def _subject_of(orthanc_study_id: str, study: Gathered) -> Subject:
    return Subject(orthanc_study_id, study.study_instance_uid)


def _studies_of(session: Session, change: StepChange) -> Iterator[str]:
    """Yield the studies that are here of the order that a step belongs to."""
    step = change.step
    wanted = StudyRecord.study_instance_uid == step.study_instance_uid
    if step.accession_number:
        wanted |= StudyRecord.accession_number == step.accession_number
    for record in session.scalars(select(StudyRecord).where(wanted, StudyRecord.is_stable)):
        if any(found.row_id == step.id for found in match(session, names_of(record)).steps):
            yield record.orthanc_study_id


def _is_complete(session: Session, orthanc_study_id: str) -> bool:
    """Tell whether no image is on its way and every step of the study's order has ended, one of them done."""
    record = session.scalars(select(StudyRecord).where(StudyRecord.orthanc_study_id == orthanc_study_id)).one_or_none()
    if record is None or not record.is_stable:
        return False
    statuses = {step.status for step in match(session, names_of(record)).steps}
    return StepStatus.COMPLETED in statuses and statuses <= _ENDED


def _reason(note: Note) -> str:
    words = f"{note.event}: {note.detail}" if note.detail else note.event.value
    return f"{words}, {note.actor}" if note.actor else words
