"""What other systems are told of, and all that is known about it: plain values, no HL7 in them."""

from __future__ import annotations

from dataclasses import dataclass, replace
from datetime import datetime

from pydicom import Dataset

from pacs.hl7.outbound.kinds import EventKind
from pacs.studies.models import StudyRecord
from pacs.worklist.statuses import StepStatus
from pacs.worklist.steps import StepRow

OF_STATUS = {
    StepStatus.SCHEDULED: EventKind.SCHEDULED,
    StepStatus.ARRIVED: EventKind.ARRIVED,
    StepStatus.STARTED: EventKind.STARTED,
    StepStatus.COMPLETED: EventKind.COMPLETED,
    StepStatus.DISCONTINUED: EventKind.DISCONTINUED,
    StepStatus.CANCELED: EventKind.CANCELED,
}
RESULTS = frozenset({EventKind.STUDY_AVAILABLE, EventKind.REPORT_STORED})


@dataclass(frozen=True)
class Code:
    """A coded concept: value, meaning, coding scheme. "" for what is not known."""

    value: str = ""
    meaning: str = ""
    scheme: str = ""

    def __bool__(self) -> bool:
        return bool(self.value or self.meaning)


@dataclass(frozen=True, kw_only=True)
class Event:
    """Something that happened to an order or a study. "" for what is not known.

    Attributes
    ----------
    at : when it happened (aware).
    patient_name, referring_physician : as DICOM has them (VR PN).
    patient_birth_date : YYYYMMDD.
    step_status : of the step of the worklist, None for a study without an order.
    is_verified : of a report, whether its author signed it.
    scheduled_start : YYYYMMDDHHMMSS as the worklist has it, local time.
    """

    kind: EventKind
    at: datetime
    patient_id: str
    issuer_of_patient_id: str
    patient_name: str
    patient_birth_date: str = ""
    patient_sex: str = ""
    admission_id: str = ""
    referring_physician: str = ""
    placer_order_number: str = ""
    filler_order_number: str = ""
    accession_number: str = ""
    requested_procedure_id: str = ""
    step_id: str = ""
    study_instance_uid: str = ""
    modality: str = ""
    procedure: Code = Code()
    scheduled_start: str = ""
    step_status: StepStatus | None = None
    is_verified: bool = False

    @property
    def patient_key(self) -> str:
        """What messages about the same patient have in common, whatever its length."""
        return f"{self.issuer_of_patient_id}|{self.patient_id}"


def of_step(kind: EventKind, step: StepRow, at: datetime) -> Event:
    """Describe an event by the order that it is about."""
    order = step.dataset
    return Event(
        kind=kind,
        at=at,
        patient_id=step.patient_id,
        issuer_of_patient_id=step.issuer_of_patient_id,
        patient_name=step.patient_name,
        patient_birth_date=_text(order, "PatientBirthDate"),
        patient_sex=_text(order, "PatientSex"),
        admission_id=_text(order, "AdmissionID"),
        referring_physician=_text(order, "ReferringPhysicianName"),
        placer_order_number=step.placer_order_number,
        filler_order_number=step.filler_order_number,
        accession_number=step.accession_number,
        requested_procedure_id=step.requested_procedure_id,
        step_id=step.step_id,
        study_instance_uid=step.study_instance_uid,
        modality=step.modality,
        procedure=_procedure(order, step.description),
        scheduled_start=step.start_key,
        step_status=step.status,
    )


def of_study(kind: EventKind, study: StudyRecord, at: datetime) -> Event:
    """Describe an event by a study that has no order here."""
    return Event(
        kind=kind,
        at=at,
        patient_id=study.patient_id,
        issuer_of_patient_id=study.issuer_of_patient_id,
        patient_name=study.patient_name,
        patient_birth_date=f"{study.patient_birth_date:%Y%m%d}" if study.patient_birth_date else "",
        patient_sex=study.patient_sex,
        referring_physician=study.referring_physician,
        accession_number=study.accession_number,
        study_instance_uid=study.study_instance_uid,
        modality=_first_modality(study),
        procedure=Code(meaning=study.description),
    )


def of_ordered_study(kind: EventKind, step: StepRow, study: StudyRecord, at: datetime) -> Event:
    """Describe an event by the order, with the study as it was stored."""
    return replace(
        of_step(kind, step, at),
        study_instance_uid=study.study_instance_uid,
        accession_number=step.accession_number or study.accession_number,
    )


def _procedure(order: Dataset, description: str) -> Code:
    codes = order.get("RequestedProcedureCodeSequence") or []
    meaning = _text(order, "RequestedProcedureDescription") or description
    if not codes:
        return Code(meaning=meaning)
    return Code(
        _text(codes[0], "CodeValue"),
        _text(codes[0], "CodeMeaning") or meaning,
        _text(codes[0], "CodingSchemeDesignator"),
    )


def _first_modality(study: StudyRecord) -> str:
    # Structured reports and the like accompany images; a study of these alone is of that kind.
    listed = [modality for modality in study.modalities_key.strip("|").split("|") if modality]
    images = [modality for modality in listed if modality not in ("SR", "DOC", "KO", "PR")]
    return next(iter(images or listed), "")


def _text(dataset: Dataset, keyword: str) -> str:
    return str(dataset.get(keyword) or "").strip()
