"""A month counted from our own tables."""

from __future__ import annotations

import re
from collections import Counter, defaultdict
from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass, field
from datetime import datetime, timedelta, tzinfo
from itertools import pairwise
from statistics import median

from sqlalchemy import func, select
from sqlalchemy.orm import Session

from pacs.hl7.models import Hl7Message
from pacs.hl7.states import Direction
from pacs.monitoring import incidents
from pacs.monitoring.arrivals import is_of_a_patient
from pacs.monitoring.models import DoseRecord, GoldenRunRecord
from pacs.monitoring.report.month import (
    Availability,
    DoseOfProtocol,
    Month,
    OfModality,
    Report,
    Spread,
    Storage,
    Turnaround,
)
from pacs.monitoring.settings import ReferenceLevel
from pacs.studies.models import StudyRecord
from pacs.worklist.models import StepRecord

_HOURS = 24
_YEAR_MONTHS = 12
_NINTH_TENTH = 0.9
# Reports come until long after the images.
_REPORTS_UNTIL = timedelta(days=60)
# What accompanies images and is no examination of its own.
_COMPANIONS = frozenset({"SR", "PR", "KO", "DOC", "SEG", "RTSTRUCT"})
# A run that is so many intervals late was not sent: the archive was not there.
_LATE_INTERVALS = 2.0
_CM2_OF_M2 = 10_000.0


@dataclass(frozen=True)
class _Study:
    """What of a study counts."""

    accession_number: str
    study_instance_uid: str
    modality: str
    received_at: datetime
    images: int
    size_bytes: int


@dataclass
class _Times:
    """Spans of one modality, in seconds."""

    to_images: list[float] = field(default_factory=list)
    to_report: list[float] = field(default_factory=list)
    in_all: list[float] = field(default_factory=list)


def count(session: Session, month: Month, zone: tzinfo, levels: Sequence[ReferenceLevel], now: datetime) -> Report:
    """Count a month; of one that is not over, the part until now."""
    begin, end = month.begin(zone), month.end(zone)
    studies = _studies(session, begin, end)
    ordered = _ordered(session, begin, end)
    return Report(
        month=month,
        made_at=now,
        modalities=_modalities(studies, ordered, zone),
        by_day=_by_day(studies, month, zone),
        studies_before=len(_studies(session, month.plus(-1).begin(zone), begin)),
        turnarounds=_turnarounds(studies, ordered, _reported(session, begin, end)),
        storage=_storage(session, month, zone),
        doses=_doses(session, begin, end, levels),
        availability=_availability(session, begin, min(end, now)),
        incidents=tuple(incidents.between(session, begin, end)),
    )


def modality_of(modalities_key: str) -> str:
    """Return what a study counts as, of all its modalities; "SR" and the like where it is nothing else."""
    listed = [one for one in modalities_key.strip("|").split("|") if one]
    images = [one for one in listed if one not in _COMPANIONS]
    return next(iter(images or listed), "?")


def spread(values: Sequence[float]) -> Spread | None:
    """Return the median and the ninth tenth (linear between the nearest two), None of nothing."""
    if not values:
        return None
    ordered = sorted(values)
    place = (len(ordered) - 1) * _NINTH_TENTH
    below = int(place)
    above = min(below + 1, len(ordered) - 1)
    return Spread(len(ordered), median(ordered), ordered[below] + (ordered[above] - ordered[below]) * (place - below))


def _studies(session: Session, begin: datetime, end: datetime) -> list[_Study]:
    statement = (
        select(
            StudyRecord.accession_number,
            StudyRecord.study_instance_uid,
            StudyRecord.modalities_key,
            StudyRecord.received_at,
            StudyRecord.instance_count,
            func.coalesce(StudyRecord.size_bytes, 0),
        )
        .where(StudyRecord.received_at >= begin, StudyRecord.received_at < end, is_of_a_patient())
        .order_by(StudyRecord.received_at)
    )
    return [_Study(row[0], row[1], modality_of(row[2]), *row[3:]) for row in session.execute(statement)]


def _ordered(session: Session, begin: datetime, end: datetime) -> dict[str, datetime]:
    """Return when each study's order came, by Study Instance UID."""
    found: dict[str, datetime] = {}
    for condition in (
        (StepRecord.accession_number == StudyRecord.accession_number) & (StudyRecord.accession_number != ""),
        StepRecord.study_instance_uid == StudyRecord.study_instance_uid,
    ):
        statement = (
            select(StudyRecord.study_instance_uid, func.min(StepRecord.created_at))
            .join(StepRecord, condition)
            .where(StudyRecord.received_at >= begin, StudyRecord.received_at < end, is_of_a_patient())
            .group_by(StudyRecord.study_instance_uid)
        )
        for uid, created_at in session.execute(statement):
            found[uid] = min(found.get(uid, created_at), created_at)
    return found


def _reported(session: Session, begin: datetime, end: datetime) -> dict[str, datetime]:
    """Return when the first report of each accession number came."""
    statement = (
        select(Hl7Message.accession_numbers, Hl7Message.received_at)
        .where(
            Hl7Message.direction == Direction.IN.value,
            Hl7Message.message_type == "ORU",
            Hl7Message.received_at >= begin,
            Hl7Message.received_at < end + _REPORTS_UNTIL,
        )
        .order_by(Hl7Message.received_at)
    )
    found: dict[str, datetime] = {}
    for numbers, received_at in session.execute(statement):
        for number in numbers.split():
            found.setdefault(number, received_at)
    return found


def _modalities(studies: Sequence[_Study], ordered: Mapping[str, datetime], zone: tzinfo) -> tuple[OfModality, ...]:
    by_modality: dict[str, list[_Study]] = defaultdict(list)
    for study in studies:
        by_modality[study.modality].append(study)
    counted = [_of_modality(name, some, ordered, zone) for name, some in by_modality.items()]
    return tuple(sorted(counted, key=lambda one: (-one.studies, one.modality)))


def _of_modality(name: str, studies: Sequence[_Study], ordered: Mapping[str, datetime], zone: tzinfo) -> OfModality:
    hours = Counter(study.received_at.astimezone(zone).hour for study in studies)
    return OfModality(
        name,
        len(studies),
        sum(study.images for study in studies),
        sum(study.size_bytes for study in studies),
        tuple(hours[hour] for hour in range(_HOURS)),
        sum(study.study_instance_uid not in ordered for study in studies),
    )


def _by_day(studies: Sequence[_Study], month: Month, zone: tzinfo) -> tuple[int, ...]:
    days = Counter(study.received_at.astimezone(zone).day for study in studies)
    return tuple(days[number] for number in range(1, month.days + 1))


def _turnarounds(
    studies: Sequence[_Study], ordered: Mapping[str, datetime], reported: Mapping[str, datetime]
) -> tuple[Turnaround, ...]:
    times: dict[str, _Times] = defaultdict(_Times)
    for study in studies:
        order_at, report_at = ordered.get(study.study_instance_uid), reported.get(study.accession_number)
        _add(times[study.modality].to_images, order_at, study.received_at)
        _add(times[study.modality].to_report, study.received_at, report_at)
        _add(times[study.modality].in_all, order_at, report_at)
    spreads = (
        Turnaround(name, spread(one.to_images), spread(one.to_report), spread(one.in_all))
        for name, one in sorted(times.items())
    )
    return tuple(one for one in spreads if one.to_images or one.to_report)


def _add(spans: list[float], begin: datetime | None, end: datetime | None) -> None:
    """Note a span; one that runs backwards (an order entered later) says nothing."""
    if begin is not None and end is not None and end >= begin:
        spans.append((end - begin).total_seconds())


def _storage(session: Session, month: Month, zone: tzinfo) -> Storage:
    by_month = {}
    for one in (month.plus(-back) for back in reversed(range(_YEAR_MONTHS))):
        is_in = (StudyRecord.received_at >= one.begin(zone)) & (StudyRecord.received_at < one.end(zone))
        by_month[one] = int(session.scalar(select(func.sum(StudyRecord.size_bytes)).where(is_in)) or 0)
    until = StudyRecord.received_at < month.end(zone)
    total = session.scalar(select(func.sum(StudyRecord.size_bytes)).where(until))
    return Storage(by_month[month], int(total or 0), by_month)


def _doses(
    session: Session, begin: datetime, end: datetime, levels: Sequence[ReferenceLevel]
) -> tuple[DoseOfProtocol, ...]:
    statement = select(DoseRecord).where(DoseRecord.received_at >= begin, DoseRecord.received_at < end)
    by_protocol: dict[tuple[str, str], list[DoseRecord]] = defaultdict(list)
    for record in session.scalars(statement):
        by_protocol[record.modality, record.protocol].append(record)
    counted = [_of_protocol(*key, records, levels) for key, records in by_protocol.items()]
    return tuple(sorted(counted, key=lambda one: (one.modality, -one.examinations, one.protocol)))


def _of_protocol(
    modality: str, protocol: str, records: Sequence[DoseRecord], levels: Sequence[ReferenceLevel]
) -> DoseOfProtocol:
    by_study: dict[str, list[DoseRecord]] = defaultdict(list)
    for record in records:
        by_study[record.orthanc_study_id].append(record)
    area = _median(_sum(one.dose_area_gy_m2 for one in some) for some in by_study.values())
    return DoseOfProtocol(
        modality,
        protocol,
        len(by_study),
        _median(max(_known(one.ctdi_vol_mgy for one in some), default=None) for some in by_study.values()),
        _median(_sum(one.dlp_mgy_cm for one in some) for some in by_study.values()),
        area * _CM2_OF_M2 if area is not None else None,
        _median(one.glandular_dose_mgy for one in records),
        next((level for level in levels if _is_for(level, modality, protocol)), None),
    )


def _is_for(level: ReferenceLevel, modality: str, protocol: str) -> bool:
    return level.modality == modality and re.search(level.protocol, protocol, re.IGNORECASE) is not None


def _known(values: Iterable[float | None]) -> list[float]:
    return [value for value in values if value is not None]


def _sum(values: Iterable[float | None]) -> float | None:
    known = _known(values)
    return sum(known) if known else None


def _median(values: Iterable[float | None]) -> float | None:
    known = _known(values)
    return median(known) if known else None


def _availability(session: Session, begin: datetime, end: datetime) -> Availability | None:
    """Return what the golden signal found, None when it was never sent in this time."""
    columns = (GoldenRunRecord.began_at, GoldenRunRecord.failed_step, GoldenRunRecord.interval_seconds)
    order = GoldenRunRecord.began_at
    within = session.execute(select(*columns).where(order >= begin, order < end).order_by(order)).all()
    before = session.execute(select(*columns).where(order < begin).order_by(order.desc()).limit(1)).all()
    after = session.execute(select(*columns).where(order >= end).order_by(order).limit(1)).all()
    if not within:
        return None
    runs = [*before, *within, *after]
    measured = down = 0.0
    for (began_at, failed_step, interval), (next_at, _, _) in pairwise(runs):
        late_at = began_at + timedelta(seconds=interval * _LATE_INTERVALS)
        measured += _overlap(began_at, next_at, begin, end)
        # After a failure everything is down until the next run; else from when a run did not come.
        down += _overlap(began_at if failed_step else min(late_at, next_at), next_at, begin, end)
    if not after:
        began_at, failed_step, interval = runs[-1]
        last = _overlap(began_at, began_at + timedelta(seconds=interval), begin, end)
        measured, down = measured + last, down + (last if failed_step else 0.0)
    return Availability(measured, down, len(within), sum(bool(run.failed_step) for run in within))


def _overlap(begin: datetime, end: datetime, first: datetime, last: datetime) -> float:
    """Return the seconds that a span has in common with the time from first to last."""
    return max((min(end, last) - max(begin, first)).total_seconds(), 0.0)
