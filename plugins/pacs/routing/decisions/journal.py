"""`DecisionJournal`: what was decided for each study, kept for people who ask why."""

from __future__ import annotations

import threading
from collections.abc import Sequence
from dataclasses import dataclass
from datetime import datetime, timedelta

from sqlalchemy import delete, select
from sqlalchemy.orm import Session

from pacs.database import Database
from pacs.routing.decisions.models import DecisionRecord
from pacs.routing.rules.ruleset import Subject, Verdict
from pacs.routing.rules.triggers import Event
from pacs.work.queue import Clock, utc_now

_FORGET_EVERY_SECONDS = 3600.0


@dataclass(frozen=True)
class Occasion:
    """Why the rules are asked.

    Attributes
    ----------
    detail : the schedule's words, the label; "" else.
    actor : who has it done by hand, "" else.
    """

    event: Event
    detail: str = ""
    actor: str = ""


@dataclass(frozen=True)
class Decision:
    """A decision as pages show it. Attributes as in `models.DecisionRecord`."""

    id: int
    at: datetime
    orthanc_study_id: str
    study_instance_uid: str
    orthanc_series_id: str | None
    event: Event
    detail: str
    version: int
    actor: str
    rules: Sequence[str]
    stopped_by: str
    targets: Sequence[str]
    tasks: Sequence[str]


class DecisionJournal:
    """The decisions. Safe to use from any thread."""

    def __init__(self, database: Database, *, clock: Clock = utc_now) -> None:
        self._database = database
        self._clock = clock

    def note(self, session: Session, subject: Subject, occasion: Occasion, version: int, verdict: Verdict) -> None:
        """Note a decision in the transaction that puts it into effect."""
        session.add(
            DecisionRecord(
                at=self._clock(),
                orthanc_study_id=subject.orthanc_study_id,
                study_instance_uid=subject.study_instance_uid,
                orthanc_series_id=subject.orthanc_series_id,
                event=occasion.event.value,
                detail=occasion.detail,
                version=version,
                actor=occasion.actor,
                rules=list(verdict.names),
                stopped_by=verdict.stopped_by,
                targets=list(verdict.targets),
                tasks=list(verdict.task_words),
            )
        )

    def about(self, orthanc_study_id: str, most: int = 100) -> list[Decision]:
        """Return what was decided for a study, newest first."""
        statement = select(DecisionRecord).where(DecisionRecord.orthanc_study_id == orthanc_study_id)
        return self._read(statement.order_by(DecisionRecord.id.desc()).limit(most))

    def latest(self, most: int = 50) -> list[Decision]:
        """Return the newest decisions of all studies."""
        return self._read(select(DecisionRecord).order_by(DecisionRecord.id.desc()).limit(most))

    def run(self, stop: threading.Event, *, keep_days: float) -> None:
        """Forget what is older, once an hour, until `stop` is set. A supervised thread."""
        while not stop.wait(_FORGET_EVERY_SECONDS):
            self.forget(keep_days)

    def forget(self, older_than_days: float) -> int:
        """Delete decisions older than this; return how many."""
        before = self._clock() - timedelta(days=older_than_days)
        with self._database.session(write=True) as session:
            return session.execute(delete(DecisionRecord).where(DecisionRecord.at < before)).rowcount  # type: ignore[attr-defined,no-any-return]  # of a CursorResult

    def _read(self, statement: object) -> list[Decision]:
        with self._database.session() as session:
            return [_decision(row) for row in session.scalars(statement)]  # type: ignore[call-overload]  # a select


def _decision(row: DecisionRecord) -> Decision:
    values = {name: getattr(row, name) for name in Decision.__dataclass_fields__}
    return Decision(**values | {"event": Event(row.event)})
