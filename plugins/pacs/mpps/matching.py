"""Which steps of the worklist a modality or an image is about. When in doubt, none: nobody may guess a patient."""

from __future__ import annotations

import logging
from collections.abc import Sequence
from dataclasses import dataclass

from sqlalchemy import ColumnElement, select
from sqlalchemy.orm import Session

from pacs.worklist.models import StepRecord
from pacs.worklist.statuses import StepStatus

_log = logging.getLogger(__name__)


@dataclass(frozen=True)
class StepNames:
    """What names a step from the modality's side. "" for what is not told, as the issuer often is."""

    study_instance_uid: str = ""
    accession_number: str = ""
    requested_procedure_id: str = ""
    step_id: str = ""
    patient_id: str = ""
    issuer_of_patient_id: str = ""


@dataclass(frozen=True)
class MatchedStep:
    """A step of the worklist: its row, and what has to be known to move it on."""

    row_id: int
    status: StepStatus
    modality: str


@dataclass(frozen=True)
class Match:
    """The steps that were meant.

    Attributes
    ----------
    is_contradicted : the order that is named is another patient's, or nobody can tell whose of two: somebody made a
        mistake, a person has to see which.
    """

    steps: Sequence[MatchedStep]
    is_contradicted: bool


def match(session: Session, names: StepNames) -> Match:
    """Return the steps that `names` is about: by Study Instance UID, else by accession number.

    What else is told (procedure, step) must agree, and so must the patient: a study that went out under one patient
    and comes back under another is nobody's progress.
    """
    found = _select(session, StepRecord.study_instance_uid == names.study_instance_uid, names)
    if not found and names.accession_number:
        found = _select(session, StepRecord.accession_number == names.accession_number, names)
    agreeing = [record for record in found if _is_of_patient(record, names)]
    if len(agreeing) < len(found):
        _log.warning("study %s is of another patient than the order that it names", names.study_instance_uid)
    if _are_of_two_patients(agreeing, names):
        _log.warning("study %s names orders of two patients", names.study_instance_uid)
        agreeing = []
    steps = [MatchedStep(record.id, StepStatus(record.status), record.modality) for record in agreeing]
    return Match(steps, is_contradicted=bool(found) and not agreeing)


def _select(session: Session, condition: ColumnElement[bool], names: StepNames) -> Sequence[StepRecord]:
    statement = select(StepRecord).where(condition).order_by(StepRecord.id)
    if names.step_id:
        statement = statement.where(StepRecord.step_id == names.step_id)
    if names.requested_procedure_id:
        statement = statement.where(StepRecord.requested_procedure_id.in_(["", names.requested_procedure_id]))
    return session.scalars(statement).all()


def _is_of_patient(record: StepRecord, names: StepNames) -> bool:
    if not names.patient_id or not record.patient_id:
        return True
    # Merged meanwhile: the modality still has the order as it was asked for.
    known = [(record.patient_id, record.issuer_of_patient_id), *map(tuple, record.former_patients)]
    return any(_is_same(names, patient_id, issuer) for patient_id, issuer in known)


def _are_of_two_patients(records: Sequence[StepRecord], names: StepNames) -> bool:
    """Tell whether nobody can say whose of two is meant: the patient, or who gave the number, is not told."""
    issuers = {record.issuer_of_patient_id for record in records} - {""}
    numbers = set() if names.patient_id else {record.patient_id for record in records} - {""}
    return len(issuers) > 1 or len(numbers) > 1


def _is_same(names: StepNames, patient_id: str, issuer: str) -> bool:
    """Compare numbers with who gave them: where both sides say it, one number of two issuers is two patients."""
    are_issued = names.issuer_of_patient_id and issuer
    return names.patient_id == patient_id and (not are_issued or names.issuer_of_patient_id == issuer)
