"""Which studies and series wait for Orthanc to call them stable, and those for which it will never do so.

Orthanc keeps the list of what is not stable in memory: whatever it had received and not called stable when it
stopped is stable at once after the start, and no StableSeries or StableStudy is ever told of it.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from datetime import datetime

from sqlalchemy import delete, select
from sqlalchemy.dialects import postgresql, sqlite
from sqlalchemy.orm import Session

from pacs.ports import ChangeKind, Json, ResourceLevel
from pacs.studies.changes import FeedChange, Touched
from pacs.studies.models import UnsettledRecord
from pacs.studies.reader import StudyReader
from pacs.studies.records import last_update

STABLE_KINDS = {ResourceLevel.SERIES: ChangeKind.STABLE_SERIES, ResourceLevel.STUDY: ChangeKind.STABLE_STUDY}
_ROWS_AT_ONCE = 200


@dataclass(frozen=True)
class Unsettled:
    """A study or series that got instances at `touched_at` and was not called stable since."""

    orthanc_id: str
    level: ResourceLevel
    orthanc_study_id: str
    touched_at: datetime


def record(session: Session, changes: Sequence[FeedChange], touched: Touched) -> None:
    """Note what new instances unsettle and stable events settle, in the order in which it happened."""
    marks: dict[str, Unsettled | None] = {}
    for change in changes:
        if change.kind in STABLE_KINDS.values():
            marks[change.resource_id] = None
        elif change.kind is ChangeKind.NEW_INSTANCE:
            marks |= {mark.orthanc_id: mark for mark in _unsettled_by(change, touched)}
    settled = [orthanc_id for orthanc_id, mark in marks.items() if mark is None]
    _delete(session, settled)
    _upsert(session, [mark for mark in marks.values() if mark is not None])


def overdue(session: Session, before: datetime) -> list[Unsettled]:
    """Return what was touched before a moment, the longest ago first, at most some hundreds."""
    statement = select(UnsettledRecord).where(UnsettledRecord.touched_at < before)
    rows = session.scalars(statement.order_by(UnsettledRecord.touched_at).limit(_ROWS_AT_ONCE))
    return [Unsettled(row.orthanc_id, ResourceLevel(row.level), row.orthanc_study_id, row.touched_at) for row in rows]


def forgotten(reader: StudyReader, waiting: Sequence[Unsettled], before: datetime) -> tuple[list[Unsettled], list[str]]:
    """Return which of `waiting` Orthanc has forgotten to call stable, series first, and identifiers of those deleted.

    Parameters
    ----------
    before : what is stable and was last updated earlier would have been told of by now.
    """
    studies = reader.studies({one.orthanc_study_id for one in waiting})
    resources: dict[str, Json] = {study["ID"]: study for study in studies}
    if any(one.level is ResourceLevel.SERIES for one in waiting):
        resources |= {series["ID"]: series for of_study in reader.series(studies).values() for series in of_study}
    gone = [one.orthanc_id for one in waiting if one.orthanc_id not in resources]
    lost = [one for one in waiting if one.orthanc_id in resources and _is_over(resources[one.orthanc_id], before)]
    return sorted(lost, key=lambda one: one.level is ResourceLevel.STUDY), gone


def still(session: Session, candidates: Sequence[Unsettled]) -> list[Unsettled]:
    """Return those of `candidates` that nothing has happened to since."""
    ids = [one.orthanc_id for one in candidates]
    rows = session.execute(
        select(UnsettledRecord.orthanc_id, UnsettledRecord.touched_at).where(UnsettledRecord.orthanc_id.in_(ids))
    )
    touched_at = {row.orthanc_id: row.touched_at for row in rows}
    return [one for one in candidates if touched_at.get(one.orthanc_id) == one.touched_at]


def drop(session: Session, orthanc_ids: Sequence[str]) -> None:
    """Wait no longer for these: they are deleted."""
    _delete(session, orthanc_ids)


def told(one: Unsettled) -> FeedChange:
    """Return the event that Orthanc did not tell."""
    return FeedChange(STABLE_KINDS[one.level], one.level, one.orthanc_id, one.touched_at, None)


def _is_over(resource: Json, before: datetime) -> bool:
    updated_at = last_update(resource)
    return bool(resource.get("IsStable")) and (updated_at is None or updated_at < before)


def _unsettled_by(change: FeedChange, touched: Touched) -> list[Unsettled]:
    """Return the marks that a new instance makes; none when it was deleted meanwhile."""
    series_id = touched.series_of_instance.get(change.resource_id)
    study_id = touched.study_of_series.get(series_id or "")
    if series_id is None or study_id is None:
        return []
    return [
        Unsettled(series_id, ResourceLevel.SERIES, study_id, change.at),
        Unsettled(study_id, ResourceLevel.STUDY, study_id, change.at),
    ]


def _upsert(session: Session, marks: Sequence[Unsettled]) -> None:
    if not marks:
        return
    insert = sqlite.insert if session.get_bind().dialect.name == "sqlite" else postgresql.insert
    statement = insert(UnsettledRecord)
    session.execute(
        statement.on_conflict_do_update(
            index_elements=["orthanc_id"], set_={"touched_at": statement.excluded.touched_at}
        ),
        [vars(mark) | {"level": mark.level.value} for mark in marks],
    )


def _delete(session: Session, orthanc_ids: Sequence[str]) -> None:
    for start in range(0, len(orthanc_ids), _ROWS_AT_ONCE):
        some = orthanc_ids[start : start + _ROWS_AT_ONCE]
        session.execute(delete(UnsettledRecord).where(UnsettledRecord.orthanc_id.in_(some)))
