"""Whose instance it is, for the project: the pseudonym and the shift of dates, the same for all of a patient.

A patient is a number and who issued it. Two hospitals' patients with the same number are two; a name decides nothing.
"""

from __future__ import annotations

from dataclasses import dataclass

from pydicom.dataset import Dataset

from pacs.deidentify.charsets import Charset
from pacs.deidentify.errors import Refused
from pacs.deidentify.keys import Keys
from pacs.deidentify.project import Project
from pacs.deidentify.values import raw_bytes, text

_UNREAD = "\N{REPLACEMENT CHARACTER}"


@dataclass(frozen=True)
class Subject:
    """A patient as a project knows them."""

    pseudonym: str
    shift_days: int


def subject_of(dataset: Dataset, project: Project, keys: Keys) -> Subject:
    """Return the patient of an instance.

    Raises
    ------
    Refused : it has no PatientID, and the project does not say that each study is then a patient of its own.
    """
    identity = _identity(dataset, project)
    return Subject(project.pseudonym_prefix + keys.pseudonym(identity), keys.shift_days(identity, project.shift_days))


def _identity(dataset: Dataset, project: Project) -> tuple[str, ...]:
    patient_id = _exact(dataset, "PatientID")
    if patient_id:
        return ("id", _issuer(dataset) or project.issuer, patient_id)
    study_instance_uid = text(dataset, "StudyInstanceUID")
    if project.without_patient_id == "study" and study_instance_uid:
        return ("study", study_instance_uid)
    raise Refused(
        "The instance has no PatientID: it is not known whose it is.",
        remedy="Give the study its patient, or write `without_patient_id: study` for a project in which each study "
        "without one may be a patient of its own.",
    )


def _exact(dataset: Dataset, keyword: str) -> str:
    """Return a value; the bytes of one that its character set can't read, lest two of them look alike."""
    if keyword not in dataset:
        return ""
    element = dataset.get_item(keyword)
    found = Charset.of(dataset).text(element).strip(" \0")
    return raw_bytes(element).decode("latin-1").strip(" \0") + _UNREAD if _UNREAD in found else found


def _issuer(dataset: Dataset) -> str:
    issuer = _exact(dataset, "IssuerOfPatientID")
    if issuer:
        return issuer
    for item in dataset.get("IssuerOfPatientIDQualifiersSequence") or ():
        entity = text(item, "UniversalEntityID")
        if entity:
            return entity
    return ""
