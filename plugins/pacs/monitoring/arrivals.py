"""When which station sent studies, out of the study index, kept in memory: half a year is some thousands of moments."""

from __future__ import annotations

from bisect import bisect_left, insort
from collections import Counter, defaultdict
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from datetime import date, datetime, timedelta, tzinfo

from sqlalchemy import ColumnElement, exists, func, not_, or_, select
from sqlalchemy.orm import Session

from pacs.hl7.rehearse.fiction import PLAYS
from pacs.monitoring.silence import WEEKS
from pacs.studies.models import StudyRecord
from pacs.worklist.models import StepRecord

_HISTORY = timedelta(weeks=WEEKS + 1)
# What is deleted or merged in the archive is noticed after this at the latest.
_READ_ANEW_AFTER = timedelta(hours=1)
# Clocks of two processes may differ; what came is read with this overlap.
_OVERLAP = timedelta(seconds=30)
_GROWTH_DAYS = 28
_LEAST_GROWTH_DAYS = 1.0
CHART_DAYS = 14


def is_of_a_patient() -> ColumnElement[bool]:
    """Return the condition that a study is neither the golden signal's nor a rehearsal's."""
    return not_(or_(*(StudyRecord.patient_id.startswith(play.prefix) for play in PLAYS)))


@dataclass(frozen=True)
class Day:
    """What came on a day of the hospital's calendar."""

    day: date
    studies: int
    size_bytes: int


@dataclass(frozen=True)
class Recent:
    """What a station sent in the last 24 hours.

    Attributes
    ----------
    without_order : studies that no entry of the worklist knows, by accession number or Study Instance UID.
    last_image_at : of all its studies of these hours.
    """

    studies: int
    without_order: int
    last_image_at: datetime


class Arrivals:
    """The moments at which each station's studies began to come. Used by one thread."""

    def __init__(self) -> None:
        self._by_station: dict[str, list[datetime]] = {}
        self._read_at: datetime | None = None
        self._seen: set[int] = set()

    def update(self, session: Session, now: datetime) -> None:
        """Read what is new, or everything anew once in a while."""
        if self._read_at is None or now - self._read_at > _READ_ANEW_AFTER:
            self._by_station, self._seen, self._read_at = defaultdict(list), set(), now
            since = now - _HISTORY
        else:
            since = max((moments[-1] for moments in self._by_station.values()), default=now - _HISTORY) - _OVERLAP
        statement = (
            select(StudyRecord.id, StudyRecord.remote_aet, StudyRecord.received_at)
            .where(StudyRecord.received_at >= since, StudyRecord.remote_aet != "", is_of_a_patient())
            .order_by(StudyRecord.received_at)
        )
        for row_id, station, received_at in session.execute(statement):
            if row_id not in self._seen:
                self._seen.add(row_id)
                # Rarely one comes to be known after a later one.
                insort(self._by_station[station], received_at)

    def stations(self) -> Mapping[str, Sequence[datetime]]:
        """Return the moments by station, in order."""
        return self._by_station

    def last(self, station: str) -> datetime | None:
        """Return when the station's newest study began to come."""
        moments = self._by_station.get(station)
        return moments[-1] if moments else None

    def daily(self, station: str, today: date, zone: tzinfo) -> tuple[int, ...]:
        """Return how many studies began to come on each of the last days, today last."""
        first = today - timedelta(days=CHART_DAYS - 1)
        moments = self._by_station.get(station, [])
        begin = bisect_left(moments, datetime(first.year, first.month, first.day, tzinfo=zone))
        days = Counter(moment.astimezone(zone).date() for moment in moments[begin:])
        return tuple(days[first + timedelta(days=number)] for number in range(CHART_DAYS))


def recent(session: Session, now: datetime) -> dict[str, Recent]:
    """Return what each station sent in the last 24 hours."""
    matched = _has_order()
    statement = (
        select(
            StudyRecord.remote_aet,
            func.count(),
            func.count().filter(not_(matched)),
            func.max(StudyRecord.last_update_at),
        )
        .where(StudyRecord.received_at >= now - timedelta(days=1), StudyRecord.remote_aet != "", is_of_a_patient())
        .group_by(StudyRecord.remote_aet)
    )
    return {station: Recent(studies, without, last) for station, studies, without, last in session.execute(statement)}


def has_order(session: Session, orthanc_study_id: str) -> bool | None:
    """Tell whether the worklist has an entry for a study; None for one that is no patient's or not there."""
    statement = select(_has_order()).where(StudyRecord.orthanc_study_id == orthanc_study_id, is_of_a_patient())
    return session.scalars(statement).first()


def growth_bytes_per_day(session: Session, now: datetime) -> float | None:
    """Return how much came a day in the last four weeks; None before a day's history or without growth."""
    first = session.scalar(select(func.min(StudyRecord.received_at)))
    if first is None:
        return None
    days = min((now - first) / timedelta(days=1), _GROWTH_DAYS)
    if days < _LEAST_GROWTH_DAYS:
        return None
    since = now - timedelta(days=_GROWTH_DAYS)
    grown = session.scalar(select(func.sum(StudyRecord.size_bytes)).where(StudyRecord.received_at >= since))
    return float(grown) / days if grown else None


def days(session: Session, today: date, zone: tzinfo) -> tuple[Day, ...]:
    """Return what came on each of the last days, today last."""
    first = today - timedelta(days=CHART_DAYS - 1)
    since = datetime(first.year, first.month, first.day, tzinfo=zone)
    statement = select(StudyRecord.received_at, StudyRecord.size_bytes).where(
        StudyRecord.received_at >= since, is_of_a_patient()
    )
    studies: Counter[date] = Counter()
    sizes: Counter[date] = Counter()
    for received_at, size_bytes in session.execute(statement):
        day = received_at.astimezone(zone).date()
        studies[day] += 1
        sizes[day] += size_bytes or 0
    listed = (first + timedelta(days=number) for number in range(CHART_DAYS))
    return tuple(Day(day, studies[day], sizes[day]) for day in listed)


def _has_order() -> ColumnElement[bool]:
    by_number = (StepRecord.accession_number == StudyRecord.accession_number) & (StudyRecord.accession_number != "")
    by_uid = (StepRecord.study_instance_uid == StudyRecord.study_instance_uid) & (StudyRecord.study_instance_uid != "")
    # Two questions, each of an index of its own.
    return or_(exists().where(by_number), exists().where(by_uid))
