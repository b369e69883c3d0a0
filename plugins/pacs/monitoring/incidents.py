"""What was wrong, from when to when: kept for the page and for the monthly report."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from datetime import datetime, timedelta

from sqlalchemy import delete, or_, select
from sqlalchemy.orm import Session

from pacs.monitoring.models import IncidentRecord

KEEP_DAYS = 400


@dataclass(frozen=True)
class Fact:
    """Something that is wrong now; see `IncidentRecord`."""

    source: str
    name: str
    subject: str
    severity: str
    sentences: Mapping[str, str]


@dataclass(frozen=True)
class Incident(Fact):
    """Something that was wrong for a while; `ended_at` None: it lasts."""

    began_at: datetime
    ended_at: datetime | None

    def seconds(self, until: datetime) -> float:
        """How long it lasted, or has lasted by `until`."""
        return ((self.ended_at or until) - self.began_at).total_seconds()


def follow(session: Session, source: str, facts: Sequence[Fact], now: datetime) -> None:
    """Write down that of a source these and no others are wrong now: what is new begins, what is gone ends."""
    statement = select(IncidentRecord).where(IncidentRecord.source == source, IncidentRecord.ended_at.is_(None))
    lasting = {(record.name, record.subject): record for record in session.scalars(statement)}
    wrong = {(fact.name, fact.subject): fact for fact in facts}
    for key in lasting.keys() - wrong.keys():
        lasting[key].ended_at = now
    for key in wrong.keys() - lasting.keys():
        fact = wrong[key]
        session.add(
            IncidentRecord(
                source=source,
                name=fact.name,
                subject=fact.subject,
                severity=fact.severity,
                sentences=dict(fact.sentences),
                began_at=now,
                ended_at=None,
            )
        )
    session.execute(delete(IncidentRecord).where(IncidentRecord.ended_at < now - timedelta(days=KEEP_DAYS)))


def between(session: Session, since: datetime, until: datetime) -> list[Incident]:
    """Return what was wrong in a time, oldest first."""
    is_in_time = (IncidentRecord.began_at < until) & or_(
        IncidentRecord.ended_at.is_(None), IncidentRecord.ended_at > since
    )
    statement = select(IncidentRecord).where(is_in_time).order_by(IncidentRecord.began_at, IncidentRecord.id)
    return [_read(record) for record in session.scalars(statement)]


def lasting(session: Session) -> list[Incident]:
    """Return what is wrong now, oldest first."""
    statement = select(IncidentRecord).where(IncidentRecord.ended_at.is_(None)).order_by(IncidentRecord.began_at)
    return [_read(record) for record in session.scalars(statement)]


def _read(record: IncidentRecord) -> Incident:
    return Incident(
        record.source,
        record.name,
        record.subject,
        record.severity,
        record.sentences,
        record.began_at,
        record.ended_at,
    )
