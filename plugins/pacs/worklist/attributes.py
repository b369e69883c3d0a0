"""Attributes of a worklist entry: how an order changes them, and what of them the table is searched by."""

from __future__ import annotations

from typing import Any

from pydicom import DataElement, Dataset
from pydicom.datadict import tag_for_keyword
from pydicom.multival import MultiValue

from pacs.studies.dicom_values import day, enclosed, newest_first_key, text, time_of_day
from pacs.studies.names import fold, search_key
from pacs.worklist.encoding import encoded

PATIENT_GROUP = 0x0010
STEP_SEQUENCE = "ScheduledProcedureStepSequence"
# Told by columns of the row, not by the data set, and how the data set itself is encoded.
_NOT_KEPT = frozenset(
    map(tag_for_keyword, ("ScheduledProcedureStepStatus", "RequestedProcedurePriority", "SpecificCharacterSet"))
)
_STEPS = tag_for_keyword(STEP_SEQUENCE)
_IDENTITY_OF_PATIENT = ("PatientID", "IssuerOfPatientID", "IssuerOfPatientIDQualifiersSequence")
_NAMES_PATIENT = frozenset({"PatientID", "IssuerOfPatientID"})
# What is true of one number of the patient alone, or lists those beside it.
_OF_THE_NUMBER = frozenset({"IssuerOfPatientIDQualifiersSequence", "TypeOfPatientID", "OtherPatientIDsSequence"})

# What changed, for the history: keyword -> [before, after]. The step's own attributes keep their keywords.
type Changes = dict[str, list[str]]


def first_of(news: Dataset) -> Dataset:
    """Return what a new entry keeps of what was said of it: what `merged` makes of it and an empty data set."""
    first, item = Dataset(), Dataset()
    for source, target in ((news, first), (news[STEP_SEQUENCE][0], item)):
        for element in source:
            if element.tag not in _NOT_KEPT and element.tag != _STEPS and not element.is_empty:
                target.add(element)
    setattr(first, STEP_SEQUENCE, [item])
    return first


def merged(before: Dataset, news: Dataset) -> tuple[Dataset, Changes]:
    """Return `before` with what `news` says, and what changed.

    An attribute absent in `news` stays, an empty one is deleted; the single step item is merged the same way, other
    sequences are replaced whole. Neither data set is changed.
    """
    after, changes = _overlaid(before, news, except_for=_STEPS)
    if items := news.get(STEP_SEQUENCE):
        former = before.get(STEP_SEQUENCE) or [Dataset()]
        item, item_changes = _overlaid(former[0], items[0])
        setattr(after, STEP_SEQUENCE, [item])
        changes |= item_changes
    return after, changes


def without_patient(news: Dataset) -> Dataset:
    """Return `news` without what it says of the patient (group 0010), for news that is older than what is known."""
    rest = Dataset()
    for element in news:
        if element.tag.group != PATIENT_GROUP:
            rest.add(element)
    return rest


def patient_of(dataset: Dataset) -> tuple[str, str]:
    """Return Patient ID and its issuer, "" for what is not there."""
    return text(dataset.get("PatientID")), text(dataset.get("IssuerOfPatientID"))


def are_same_patient(one: tuple[str, str], other: tuple[str, str]) -> bool:
    """Tell whether two Patient IDs with their issuers are of one patient; an issuer that one lacks says nothing."""
    return one[0] == other[0] and (not one[1] or not other[1] or one[1] == other[1])


def about_patient(changes: Dataset, known_as: tuple[str, str]) -> Dataset:
    """Return what `changes` say of a patient who keeps the number `known_as` (Patient ID and issuer).

    Where they name the patient by another number, what they say of that number does not belong to this one.
    """
    kept = _NAMES_PATIENT if patient_of(changes) == known_as else _NAMES_PATIENT | _OF_THE_NUMBER
    news = Dataset()
    for element in changes:
        if element.keyword not in kept:
            news.add(element)
    return news


def says_of_patient(news: Dataset) -> bool:
    """Tell whether `news` has attributes of the patient (group 0010)."""
    return any(tag.group == PATIENT_GROUP for tag in news.keys())  # noqa: SIM118 (a data set is iterated by elements)


def identifying(surviving: Dataset, *, with_all: bool) -> Dataset:
    """Return what makes an entry the surviving patient's: the identity alone, or all that is said of the patient."""
    news = Dataset()
    for element in surviving:
        if with_all or element.keyword in _IDENTITY_OF_PATIENT:
            news.add(element)
    for keyword in _IDENTITY_OF_PATIENT:
        # An issuer that the surviving patient does not have must not stay from the prior one.
        if keyword not in news:
            setattr(news, keyword, None)
    return news


def priority_of(dataset: Dataset) -> str | None:
    """Return Requested Procedure Priority as the order has it, None where it says nothing."""
    return text(dataset.RequestedProcedurePriority) if "RequestedProcedurePriority" in dataset else None


def identity_of(dataset: Dataset, item: Dataset) -> dict[str, str]:
    """Return the columns that name the step."""
    issuer = (dataset.get("IssuerOfAccessionNumberSequence") or [Dataset()])[0]
    return {
        "issuer_of_accession_number": text(issuer.get("LocalNamespaceEntityID") or issuer.get("UniversalEntityID")),
        "accession_number": text(dataset.get("AccessionNumber")),
        "requested_procedure_id": text(dataset.get("RequestedProcedureID")),
        "step_id": text(item.get("ScheduledProcedureStepID")),
    }


def columns_of(dataset: Dataset) -> dict[str, Any]:
    """Return what the row keeps of an entry, made by `first_of` or `merged`: itself, and what searches narrow by."""
    item = dataset.ScheduledProcedureStepSequence[0]
    start_date = day(item.get("ScheduledProcedureStepStartDate"))
    patient_id, issuer_of_patient_id = patient_of(dataset)
    name = text(dataset.get("PatientName"))
    return {
        "start_key": newest_first_key(start_date, time_of_day(item.get("ScheduledProcedureStepStartTime"))),
        "modality": text(item.get("Modality")),
        "stations_key": enclosed(fold(station) for station in values(item, "ScheduledStationAETitle")),
        "location": text(item.get("ScheduledProcedureStepLocation")),
        "study_instance_uid": text(dataset.get("StudyInstanceUID")),
        "placer_order_number": text(dataset.get("PlacerOrderNumberImagingServiceRequest")),
        "filler_order_number": text(dataset.get("FillerOrderNumberImagingServiceRequest")),
        "patient_id": patient_id,
        "issuer_of_patient_id": issuer_of_patient_id,
        "folded_name": fold(name),
        "words_key": search_key(name, patient_id, text(dataset.get("AccessionNumber"))),
        "attributes": encoded(dataset),
    }


def values(dataset: Dataset, keyword: str) -> list[str]:
    """Return the values of an attribute as text, none for an empty one."""
    value = dataset.get(keyword)
    many = value if isinstance(value, MultiValue | list | tuple) else [value]
    return [text(one) for one in many if one not in (None, "")]


def _overlaid(before: Dataset, news: Dataset, except_for: int | None = None) -> tuple[Dataset, Changes]:
    after, changes = Dataset(), {}
    for element in before:
        after.add(element)
    for element in news:
        if element.tag in _NOT_KEPT or element.tag == except_for:
            continue
        former = before.get(element.tag)
        if element.is_empty:
            if former is not None:
                del after[element.tag]
        else:
            after.add(element)
        if _shown(former) != _shown(element):
            changes[element.keyword or str(element.tag)] = [_shown(former), _shown(element)]
    return after, changes


def _shown(element: DataElement | None) -> str:
    """Return a value as the history shows it."""
    if element is None or element.is_empty:
        return ""
    if element.VR == "SQ":
        return " / ".join("; ".join(f"{each.name}: {_shown(each)}" for each in item) for item in element.value)
    many = element.value if isinstance(element.value, MultiValue) else [element.value]
    return "\\".join(str(value) for value in many)
