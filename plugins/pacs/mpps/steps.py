"""`PerformedSteps`: reports of modalities made durable, and the worklist moved on with them."""

from __future__ import annotations

import logging
from collections.abc import Callable, Sequence
from datetime import UTC, datetime

from pydicom import Dataset
from sqlalchemy import select
from sqlalchemy.exc import IntegrityError
from sqlalchemy.orm import Session

from pacs.database import Database
from pacs.mpps import checks
from pacs.mpps.faults import NO_LONGER_UPDATED, MppsFault, Status
from pacs.mpps.matching import StepNames, match
from pacs.mpps.models import PerformedReferenceRecord, PerformedStepRecord
from pacs.mpps.reports import Report
from pacs.mpps.states import FINAL, PerformedStatus, scheduled_status
from pacs.worklist.encoding import decoded, encoded
from pacs.worklist.statuses import StepStatus
from pacs.worklist.steps import StepSelector
from pacs.worklist.worklist import Worklist

_log = logging.getLogger(__name__)

# "Incorrect worklist entry selected" (PS3.16 CID 9300): this patient was not examined, the step is still to be done.
_WRONG_ENTRY = ("110514", "DCM")

type ReportListener = Callable[[Session, Report], None]


class PerformedSteps:
    """The performed procedure steps that modalities reported. Safe to use from any thread and several processes.

    What is reported, what it makes of the worklist, and what listeners write are one transaction, committed when a
    method returns.
    """

    def __init__(self, database: Database, worklist: Worklist) -> None:
        self._database = database
        self._worklist = worklist
        self._listeners: list[ReportListener] = []

    def subscribe(self, listener: ReportListener) -> None:
        """Have `listener(session, report)` called with each report that is taken, in the transaction that writes it."""
        self._listeners.append(listener)

    def create(self, report: Report) -> None:
        """Take the N-CREATE of a step (PS3.4 F.7.2.1).

        Raises
        ------
        MppsFault : it can't be taken; nothing was written.
        DatabaseError : likewise; the modality may try again.
        """
        checks.check_created(report.dataset)
        try:
            with self._database.session(write=True) as session:
                if _find(session, report.sop_instance_uid) is not None:
                    raise _duplicate(report)
                record = _new_record(report)
                session.add(record)
                session.flush()
                session.add_all(_references(record))
                self._follow(session, record, report)
        except IntegrityError:
            # Reported to another process at this very moment.
            raise _duplicate(report) from None

    def change(self, report: Report) -> list[str]:
        """Take an N-SET of a step (PS3.4 F.7.2.2).

        Returns
        -------
        Keywords that the report would change though it may not: they stay as they are.

        Raises
        ------
        MppsFault : there is no such step, it has ended, or the report can't be taken; nothing was written.
        DatabaseError : nothing was written; the modality may try again.
        """
        with self._database.session(write=True) as session:
            record = _find(session, report.sop_instance_uid)
            if record is None:
                raise MppsFault(Status.NO_SUCH_INSTANCE, "No such step was created here.")
            if PerformedStatus(record.status) in FINAL:
                raise MppsFault(
                    Status.PROCESSING_FAILURE,
                    "The step has ended and may no longer be updated.",
                    error_id=NO_LONGER_UPDATED,
                )
            step, modifications = decoded(record.attributes), report.dataset
            modifications.decode()
            refused = checks.differing(step, modifications)
            _merge(step, modifications)
            checks.check_changed(step)
            record.status, record.attributes = checks.status_of(step).value, encoded(step)
            record.changed_at = datetime.now(UTC)
            self._follow(session, record, report)
        return refused

    def get(self, sop_instance_uid: str) -> Dataset:
        """Return all that was reported of a step. Raise MppsFault when there is no such step."""
        with self._database.session() as session:
            record = _find(session, sop_instance_uid)
        if record is None:
            raise MppsFault(Status.NO_SUCH_INSTANCE, "No such step was created here.")
        return decoded(record.attributes)

    def _follow(self, session: Session, record: PerformedStepRecord, report: Report) -> None:
        """Write what follows from a report."""
        session.flush()
        step = decoded(record.attributes)
        for row_id in _steps_of(session, record, step):
            self._worklist.set_status(
                session,
                StepSelector(row_id=row_id),
                _status_of(session, row_id, without=record.id if _is_mistaken(step) else None),
                actor=f"mpps:{report.calling_ae_title}",
                detail={"performed_step": report.sop_instance_uid},
            )
        for listener in self._listeners:
            listener(session, report)


def _duplicate(report: Report) -> MppsFault:
    _log.info("performed step %s was created before", report.sop_instance_uid)
    return MppsFault(Status.DUPLICATE_INSTANCE, "A step with this SOP Instance UID was created before.")


def _find(session: Session, sop_instance_uid: str) -> PerformedStepRecord | None:
    """Return the row of a step, locked where this transaction writes."""
    statement = select(PerformedStepRecord).where(PerformedStepRecord.sop_instance_uid == sop_instance_uid)
    return session.scalars(statement.with_for_update()).one_or_none()


def _new_record(report: Report) -> PerformedStepRecord:
    step, now = report.dataset, datetime.now(UTC)
    step.decode()
    return PerformedStepRecord(
        sop_instance_uid=report.sop_instance_uid,
        status=checks.status_of(step).value,
        calling_ae_title=report.calling_ae_title[:16],
        station_ae_title=str(step.PerformedStationAETitle)[:16],
        modality=str(step.Modality)[:16],
        patient_id=str(step.get("PatientID") or ""),
        attributes=encoded(step),
        created_at=now,
        changed_at=now,
    )


def _references(record: PerformedStepRecord) -> list[PerformedReferenceRecord]:
    items: Sequence[Dataset] = decoded(record.attributes).ScheduledStepAttributesSequence
    return [
        PerformedReferenceRecord(
            performed_step_id=record.id,
            study_instance_uid=str(item.StudyInstanceUID),
            accession_number=_text(item, "AccessionNumber"),
            requested_procedure_id=_text(item, "RequestedProcedureID"),
            step_id=_text(item, "ScheduledProcedureStepID"),
        )
        for item in items
    ]


def _steps_of(session: Session, record: PerformedStepRecord, step: Dataset) -> list[int]:
    """Return the steps of the worklist that a performed step is about; those that came later are found now."""
    references = session.scalars(
        select(PerformedReferenceRecord).where(PerformedReferenceRecord.performed_step_id == record.id)
    ).all()
    for reference in references:
        if reference.worklist_step_id is None and (found := match(session, _names(reference, step)).steps):
            _point(session, reference, [one.row_id for one in found])
    session.flush()
    rows = session.scalars(
        select(PerformedReferenceRecord.worklist_step_id)
        .where(
            PerformedReferenceRecord.performed_step_id == record.id,
            PerformedReferenceRecord.worklist_step_id.is_not(None),
        )
        .distinct()
    )
    return [row_id for row_id in rows if row_id is not None]


def _point(session: Session, reference: PerformedReferenceRecord, row_ids: Sequence[int]) -> None:
    """Note the steps that a reference means: one that names no step of a procedure means all of them."""
    reference.worklist_step_id = row_ids[0]
    session.add_all(
        PerformedReferenceRecord(
            performed_step_id=reference.performed_step_id,
            worklist_step_id=row_id,
            study_instance_uid=reference.study_instance_uid,
            accession_number=reference.accession_number,
            requested_procedure_id=reference.requested_procedure_id,
            step_id=reference.step_id,
        )
        for row_id in row_ids[1:]
    )


def _names(reference: PerformedReferenceRecord, step: Dataset) -> StepNames:
    return StepNames(
        study_instance_uid=reference.study_instance_uid,
        accession_number=reference.accession_number,
        requested_procedure_id=reference.requested_procedure_id,
        step_id=reference.step_id,
        patient_id=_text(step, "PatientID"),
        issuer_of_patient_id=_text(step, "IssuerOfPatientID"),
    )


def _status_of(session: Session, row_id: int, *, without: int | None) -> StepStatus:
    """Return what the steps that were performed make of a scheduled one; `without` was begun by mistake."""
    statement = (
        select(PerformedStepRecord.status)
        .join(PerformedReferenceRecord, PerformedReferenceRecord.performed_step_id == PerformedStepRecord.id)
        .where(PerformedReferenceRecord.worklist_step_id == row_id)
    )
    if without is not None:
        statement = statement.where(PerformedStepRecord.id != without)
    performed = {PerformedStatus(status) for status in session.scalars(statement)}
    return scheduled_status(performed) if performed else StepStatus.SCHEDULED


def _is_mistaken(step: Dataset) -> bool:
    reasons = step.get("PerformedProcedureStepDiscontinuationReasonCodeSequence") or []
    return any((reason.get("CodeValue"), reason.get("CodingSchemeDesignator")) == _WRONG_ENTRY for reason in reasons)


def _merge(step: Dataset, modifications: Dataset) -> None:
    """Lay what an N-SET says over what is known; what it may not change stays."""
    for element in modifications:
        if element.keyword not in (*checks.FIXED, "SpecificCharacterSet"):
            step[element.tag] = element


def _text(dataset: Dataset, keyword: str) -> str:
    return str(dataset.get(keyword) or "").strip()
