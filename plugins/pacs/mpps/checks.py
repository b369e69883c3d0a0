"""What a report must hold (PS3.4 table F.7.2-1): refused is what would leave us not knowing what happened to whom.

Attributes that the table wants to be present but lets be empty (type 2) are not missed: many modalities leave some
out, and refusing their report would leave the step started for ever.
"""

from __future__ import annotations

from collections.abc import Iterable

from pydicom import Dataset
from pydicom.uid import UID

from pacs.mpps.faults import MppsFault, Status
from pacs.mpps.states import FINAL, PerformedStatus
from pacs.studies.dicom_values import day, time_of_day

_TO_CREATE = (
    "PerformedProcedureStepStatus",
    "ScheduledStepAttributesSequence",
    "PerformedProcedureStepID",
    "PerformedStationAETitle",
    "PerformedProcedureStepStartDate",
    "PerformedProcedureStepStartTime",
    "Modality",
)
_TO_END = ("PerformedProcedureStepEndDate", "PerformedProcedureStepEndTime")
_DATES = ("PerformedProcedureStepStartDate", "PerformedProcedureStepEndDate")
_TIMES = ("PerformedProcedureStepStartTime", "PerformedProcedureStepEndTime")
# "Not allowed" in an N-SET: who was examined, for which order, where and when it began.
FIXED = (
    "ScheduledStepAttributesSequence",
    "PatientName",
    "PatientID",
    "IssuerOfPatientID",
    "PatientBirthDate",
    "PatientSex",
    "ReferencedPatientSequence",
    "PerformedProcedureStepID",
    "PerformedStationAETitle",
    "PerformedStationName",
    "PerformedLocation",
    "PerformedProcedureStepStartDate",
    "PerformedProcedureStepStartTime",
    "Modality",
    "StudyID",
)


def require_uid(sop_instance_uid: str | None) -> str:
    """Return the SOP Instance UID that a report names. Raise MppsFault when it names none."""
    uid = UID(sop_instance_uid or "")
    if not uid or not uid.is_valid:
        raise MppsFault(Status.INVALID_INSTANCE, "The report has no valid SOP Instance UID.")
    return str(uid)


def check_created(step: Dataset) -> None:
    """Check the attributes of an N-CREATE. Raise MppsFault."""
    _require(step, _TO_CREATE)
    for item in step.ScheduledStepAttributesSequence:
        _require(item, ("StudyInstanceUID",))
        _require_valid_uid(item.StudyInstanceUID)
    if status_of(step) is not PerformedStatus.IN_PROGRESS:
        raise MppsFault(
            Status.INVALID_ATTRIBUTE_VALUE, f"A step begins as IN PROGRESS, not {step.PerformedProcedureStepStatus}."
        )
    _require_moments(step)


def check_changed(step: Dataset) -> None:
    """Check the attributes of a step as an N-SET leaves it. Raise MppsFault."""
    status = status_of(step)
    _require_moments(step)
    series = step.get("PerformedSeriesSequence") or []
    for item in series:
        _require(item, ("SeriesInstanceUID",))
        _require_valid_uid(item.SeriesInstanceUID)
    if status in FINAL:
        _require(step, _TO_END)
    if status is PerformedStatus.COMPLETED and not series:
        # One that is broken off may have none.
        raise MppsFault(Status.MISSING_ATTRIBUTE, "PerformedSeriesSequence is missing: what was completed?")


def status_of(step: Dataset) -> PerformedStatus:
    """Return the status that a step says it has. Raise MppsFault for what is none."""
    try:
        return PerformedStatus(step.PerformedProcedureStepStatus)
    except ValueError:
        known = ", ".join(PerformedStatus)
        raise MppsFault(Status.INVALID_ATTRIBUTE_VALUE, f"The status must be one of {known}.") from None


def differing(step: Dataset, modifications: Dataset) -> list[str]:
    """Return the keywords of what an N-SET would change though it may not."""
    return [
        keyword for keyword in FIXED if keyword in modifications and modifications.get(keyword) != step.get(keyword)
    ]


def _require(dataset: Dataset, keywords: Iterable[str]) -> None:
    for keyword in keywords:
        if keyword not in dataset:
            raise MppsFault(Status.MISSING_ATTRIBUTE, f"{keyword} is missing.")
        if not dataset[keyword].value:
            raise MppsFault(Status.MISSING_VALUE, f"{keyword} has no value.")


def _require_valid_uid(value: str) -> None:
    if not UID(str(value)).is_valid:
        raise MppsFault(Status.INVALID_ATTRIBUTE_VALUE, "Found a UID with letters or of more than 64 characters.")


def _require_moments(step: Dataset) -> None:
    for keywords, read in ((_DATES, day), (_TIMES, time_of_day)):
        for keyword in keywords:
            value = step.get(keyword)
            if value and read(value) is None:
                raise MppsFault(Status.INVALID_ATTRIBUTE_VALUE, f"{keyword} can't be read.")
