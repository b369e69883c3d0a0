"""What orders, MPPS and people do to the table. Every function works in the caller's transaction.

Rows are locked before they are read, so that what is read is what is overwritten.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from datetime import datetime
from typing import Any, cast

from pydicom import Dataset
from sqlalchemy import ColumnElement, Connection, Table, and_, bindparam, insert, or_, select
from sqlalchemy.dialects import postgresql, sqlite
from sqlalchemy.orm import Session

from pacs.errors import InvalidInput
from pacs.worklist.attributes import (
    Changes,
    about_patient,
    are_same_patient,
    columns_of,
    first_of,
    identifying,
    identity_of,
    merged,
    patient_of,
    priority_of,
    says_of_patient,
    without_patient,
)
from pacs.worklist.encoding import decoded
from pacs.worklist.models import IDENTITY, StepHistoryRecord, StepRecord
from pacs.worklist.rows import row_from, row_of
from pacs.worklist.statuses import BEGUN, StepStatus
from pacs.worklist.steps import ChangeKind, NewStep, PatientMismatch, StepChange, StepRow, StepSelector, Version

_NAMES_A_STEP = ("accession_number", "requested_procedure_id", "step_id")
# Made once, and without the object-relational part: an order is in a hurry.
_steps = cast("Table", StepRecord.__table__)
_NAMED = and_(*(_steps.c[name] == bindparam(name) for name in IDENTITY))
_IS_THERE = select(_steps.c.id).where(_NAMED)
_INSERT = {
    name: dialect.insert(_steps).on_conflict_do_nothing(index_elements=IDENTITY).returning(_steps.c.id)
    for name, dialect in (("sqlite", sqlite), ("postgresql", postgresql))
}
_INSERT_HISTORY = insert(cast("Table", StepHistoryRecord.__table__))


@dataclass(frozen=True)
class By:
    """Who changes something, when, and what else the history keeps of it."""

    actor: str
    at: datetime
    detail: Mapping[str, Any] = field(default_factory=dict)


def upsert(session: Session, steps: Sequence[NewStep], version: Version | None, by: By) -> list[StepChange]:
    """See `Worklist.upsert`."""
    changes = [_upsert(session, step, version, by) for step in steps]
    return [change for change in changes if change is not None]


def set_status(
    session: Session,
    which: StepSelector,
    status: StepStatus,
    version: Version | None,
    by: By,
) -> list[StepChange]:
    """See `Worklist.set_status`."""
    wanted = and_(*(getattr(StepRecord, name) == value for name, value in which.given().items()))
    changes = []
    for record in _locked(session, wanted):
        if version and version.is_older_than(_version_of(record)):
            continue
        _advance(record, version)
        if record.status != status:
            changes.append(_changed(session, record, {}, status, by))
    return changes


def note(session: Session, row: StepRow, by: By) -> None:
    """See `Worklist.note`."""
    _write_line(session, row, ChangeKind.STATUS, row.status, by)


def update_patient(
    session: Session,
    patient_ids: Sequence[tuple[str, str]],
    changes: Dataset,
    version: Version | None,
    by: By,
) -> list[StepChange]:
    """See `Worklist.update_patient`."""
    told = []
    for record in _of_patients(session, patient_ids):
        if version and version.is_older_than(_patient_version_of(record)):
            continue
        _advance_patient(record, version)
        news = about_patient(changes, (record.patient_id, record.issuer_of_patient_id))
        if change := _overlay(session, record, news, by):
            told.append(change)
    return told


def merge_patients(
    session: Session, prior_ids: Sequence[tuple[str, str]], surviving: Dataset, version: Version | None, by: By
) -> list[StepChange]:
    """See `Worklist.merge_patients`."""
    patient_id, issuer = patient_of(surviving)
    if not patient_id:
        raise InvalidInput("The patient to merge into has no Patient ID.")
    told = []
    for record in _of_patients(session, [prior for prior in prior_ids if tuple(prior) != (patient_id, issuer)]):
        record.former_patients = [*record.former_patients, [record.patient_id, record.issuer_of_patient_id]]
        is_news = not (version and version.is_older_than(_patient_version_of(record)))
        if is_news:
            _advance_patient(record, version)
        # What names the patient follows in any case; the rest may be known newer already.
        if change := _overlay(session, record, identifying(surviving, with_all=is_news), by):
            told.append(change)
    return told


def _upsert(session: Session, step: NewStep, version: Version | None, by: By) -> StepChange | None:
    identity = identity_of(step.dataset, step.step_item)
    if not any(identity[name] for name in _NAMES_A_STEP):
        raise InvalidInput(
            "Nothing names this step: no accession number, requested procedure ID or scheduled procedure step ID.",
            remedy="The order must carry at least one of them.",
        )
    connection = session.connection()
    is_there = connection.execute(_IS_THERE, identity).first() is not None
    # Another process may insert it in between.
    if not is_there and (row := _insert(connection, identity, step, version, by)):
        return _told(session, row, ChangeKind.NEW, before=None, by=by)
    named = and_(*(getattr(StepRecord, name) == value for name, value in identity.items()))
    return _update(session, _locked(session, named)[0], step, version, by)


def _insert(
    connection: Connection, identity: dict[str, str], step: NewStep, version: Version | None, by: By
) -> StepRow | None:
    """Insert a step; return None when it is there by now."""
    known = version or Version()
    columns = {
        **identity,
        **columns_of(first_of(step.dataset)),
        "status": step.status or StepStatus.SCHEDULED,
        "priority": step.priority or priority_of(step.dataset) or "",
        "former_patients": [],
        "sent_at": known.sent_at,
        "sequence": known.sequence,
        "sender": known.sender,
        "patient_sent_at": known.sent_at,
        "patient_sequence": known.sequence,
        "patient_sender": known.sender,
        "created_at": by.at,
        "changed_at": by.at,
    }
    row_id = connection.execute(_INSERT[connection.dialect.name], columns).scalar()
    return None if row_id is None else row_from({**columns, "id": row_id})


def _update(session: Session, record: StepRecord, step: NewStep, version: Version | None, by: By) -> StepChange | None:
    if version and version.is_older_than(_version_of(record)):
        return None
    news = step.dataset if _tells_patient(record, step.dataset, version) else without_patient(step.dataset)
    _advance(record, version)
    if says_of_patient(news):
        _advance_patient(record, version)
    status = _status_after(StepStatus(record.status), step.status)
    told_priority = step.priority or priority_of(step.dataset)
    return _overlay(session, record, news, by, status=status, priority=told_priority)


def _tells_patient(record: StepRecord, news: Dataset, version: Version | None) -> bool:
    """Tell whether `news` has the last word on the step's patient.

    Raises
    ------
    PatientMismatch : it names another one.
    """
    if "PatientID" in news and record.patient_id:
        named = patient_of(news)
        if list(named) in record.former_patients:
            return False
        known = (record.patient_id, record.issuer_of_patient_id)
        if not are_same_patient(named, known):
            raise PatientMismatch(
                f"Worklist step {record.id} has the accession number and step of this order, but another patient ID.",
                remedy="Two patients share a number, or the step was ordered for the wrong one: "
                "cancel it and order anew, or merge the patients.",
            )
    return not (version and version.is_older_than(_patient_version_of(record)))


def _status_after(before: StepStatus, told: StepStatus | None) -> StepStatus:
    if told is None or (told is StepStatus.SCHEDULED and before in BEGUN):
        return before
    return told


def _overlay(
    session: Session,
    record: StepRecord,
    news: Dataset,
    by: By,
    *,
    status: StepStatus | None = None,
    priority: str | None = None,
) -> StepChange | None:
    """Lay `news` over the entry; None where that changes nothing."""
    after, changes = merged(decoded(record.attributes), news)
    if priority is not None and priority != record.priority:
        changes["RequestedProcedurePriority"] = [record.priority, priority]
        record.priority = priority
    status = status or StepStatus(record.status)
    if not changes and status == record.status:
        return None
    for name, value in columns_of(after).items():
        setattr(record, name, value)
    return _changed(session, record, changes, status, by)


def _changed(session: Session, record: StepRecord, changes: Changes, status: StepStatus, by: By) -> StepChange:
    before = StepStatus(record.status)
    record.status, record.changed_at = status, by.at
    kind = ChangeKind.UPDATED if changes else ChangeKind.STATUS
    session.flush()
    return _told(session, row_of(record), kind, before=before, by=by, changes=changes)


def _told(
    session: Session,
    row: StepRow,
    kind: ChangeKind,
    *,
    before: StepStatus | None,
    by: By,
    changes: Changes | None = None,
) -> StepChange:
    """Write a line of the history and return the change."""
    detail = {**by.detail, **({"changes": changes} if changes else {})}
    _write_line(session, row, kind, before, By(by.actor, by.at, detail))
    return StepChange(row, before, row.status, kind, by.actor, by.at)


def _write_line(session: Session, row: StepRow, kind: ChangeKind, before: StepStatus | None, by: By) -> None:
    line = {
        "step_row_id": row.id,
        "at": by.at,
        "actor": by.actor,
        "kind": kind,
        "status_before": before,
        "status_after": row.status,
        "detail": dict(by.detail),
    }
    session.connection().execute(_INSERT_HISTORY, line)


def _locked(session: Session, wanted: ColumnElement[bool]) -> list[StepRecord]:
    # In one order, so that two transactions never wait for each other's rows.
    statement = select(StepRecord).where(wanted).order_by(StepRecord.id).with_for_update()
    return list(session.scalars(statement.execution_options(populate_existing=True)))


def _of_patients(session: Session, patient_ids: Sequence[tuple[str, str]]) -> list[StepRecord]:
    named = [
        and_(StepRecord.patient_id == patient_id, StepRecord.issuer_of_patient_id == issuer)
        for patient_id, issuer in patient_ids
        if patient_id
    ]
    return _locked(session, or_(*named)) if named else []


def _version_of(record: StepRecord) -> Version:
    return Version(record.sent_at, record.sequence, record.sender)


def _patient_version_of(record: StepRecord) -> Version:
    return Version(record.patient_sent_at, record.patient_sequence, record.patient_sender)


def _advance(record: StepRecord, version: Version | None) -> None:
    if version:
        record.sent_at, record.sequence, record.sender = version.sent_at, version.sequence, version.sender


def _advance_patient(record: StepRecord, version: Version | None) -> None:
    if version:
        record.patient_sent_at, record.patient_sequence = version.sent_at, version.sequence
        record.patient_sender = version.sender
