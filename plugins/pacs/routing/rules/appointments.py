"""Appointments of the worklist: rules that are asked some time before one, while there is no study yet."""

from __future__ import annotations

from collections.abc import Callable, Iterable
from datetime import UTC, datetime, timedelta, tzinfo
from typing import Protocol

from sqlalchemy import select
from sqlalchemy.orm import Session

from pacs.database import Database
from pacs.routing.decisions.models import MarkRecord
from pacs.routing.rules.facts import Facts
from pacs.routing.rules.gathering import facts_of_order
from pacs.routing.rules.ruleset import Subject
from pacs.routing.rules.triggers import Ahead
from pacs.worklist.models import StepRecord
from pacs.worklist.statuses import StepStatus

_MARK = "appointment"
_PREFIX = "step "
_EVERY = timedelta(minutes=1)
# A transaction that was long under way may bring a step in that was changed before the last look.
_OVERLAP = timedelta(minutes=2)
_TO_COME = tuple(status.value for status in (StepStatus.SCHEDULED, StepStatus.ARRIVED, StepStatus.READY))


class NoteAppointment(Protocol):
    """Notes an appointment for the rules, once a name and `dedupe`, in the caller's transaction."""

    def __call__(self, session: Session, name: str, words: str, *, dedupe: str) -> None:
        """Note it."""


class Appointments:
    """Looks which appointments have come near. Called by one thread."""

    def __init__(
        self, database: Database, note: NoteAppointment, *, time_zone: tzinfo, clock: Callable[[], datetime]
    ) -> None:
        self._database = database
        self._note = note
        self._time_zone = time_zone
        self._clock = clock

    def look(self, aheads: Iterable[Ahead]) -> None:
        """Note what came near since the last look, or was entered or changed when it was near already."""
        for ahead in aheads:
            now = self._clock()
            with self._database.session() as session:
                mark = session.get(MarkRecord, (_MARK, ahead.words))
            # A look that lies ahead was by a clock that was wrong.
            since = None if mark is None or mark.at > now else mark.at
            if since is None or now >= since + _EVERY:
                self._look(ahead, now, since)

    def _look(self, ahead: Ahead, now: datetime, since: datetime | None) -> None:
        step = StepRecord
        # In the hospital's time, as the worklist has it; without a time of day a step is of the whole day.
        near = select(step.id, step.changed_at).where(
            step.status.in_(_TO_COME),
            step.start_key >= f"{now.astimezone(self._time_zone):%Y%m%d}000000",
            step.start_key <= self._key(now + ahead.time),
        )
        if since is not None:
            is_new = step.start_key > self._key(since + ahead.time)
            near = near.where(is_new | (step.changed_at > since - _OVERLAP))
        with self._database.session(write=True) as session:
            for step_id, changed_at in session.execute(near).all():
                dedupe = f"{ahead.words} {changed_at.astimezone(UTC).isoformat()}"
                self._note(session, f"{_PREFIX}{step_id}", ahead.words, dedupe=dedupe)
            session.merge(MarkRecord(kind=_MARK, name=ahead.words, at=now))

    def _key(self, moment: datetime) -> str:
        return f"{moment.astimezone(self._time_zone):%Y%m%d%H%M%S}"


def step_of(name: str) -> int:
    """Return the step that a note is about."""
    return int(name.removeprefix(_PREFIX))


def find_appointment(database: Database, number: str) -> str | None:
    """Return the name of the latest appointment with an accession number or Study Instance UID, None without."""
    step = StepRecord
    found = select(step.id).where((step.accession_number == number) | (step.study_instance_uid == number))
    with database.session() as session:
        step_id = session.scalars(found.order_by(step.start_key.desc(), step.id.desc()).limit(1)).first()
    return None if step_id is None else f"{_PREFIX}{step_id}"


def appointment(database: Database, name: str, at: datetime) -> tuple[Subject, Facts] | None:
    """Return what is decided about, and what the order says; None when it is off or gone."""
    with database.session() as session:
        record = session.get(StepRecord, step_of(name))
    if record is None or record.status not in _TO_COME:
        return None
    return Subject(name, record.study_instance_uid), facts_of_order(record, at)
