"""The form of a worklist entry: what its fields hold, what is wrong with them, and the data set that they make."""

from __future__ import annotations

import re
import secrets
from collections.abc import Callable, Mapping
from dataclasses import dataclass, field
from datetime import date

from pydicom import Dataset
from pydicom.uid import generate_uid

from pacs.web.formatting import dicom_date, dicom_time
from pacs.web.language import N_
from pacs.web.modalities import is_ae_title
from pacs.worklist.steps import NewStep, StepRow

PRIORITIES = ("STAT", "HIGH", "ROUTINE", "MEDIUM", "LOW")
SEXES = ("F", "M", "O")
UTF_8 = "ISO_IR 192"
_LONG_TEXT = 10_240
_LENGTHS = {
    "family": 30,
    "given": 33,
    "patient_id": 64,
    "issuer": 64,
    "accession": 16,
    "description": 64,
    "physician": 64,
    "room": 16,
    "performer": 64,
    "alerts": 64,
    "allergies": 64,
}
_MODALITY = re.compile(r"[A-Z0-9_]{1,16}")
_NEEDED = ("family", "modality", "date", "time")
_NEEDED_WHEN_NEW = ("patient_id",)
# Of the whole entry and of its step, for what a field is one value of.
_OF_ENTRY = {
    "patient_id": "PatientID",
    "issuer": "IssuerOfPatientID",
    "sex": "PatientSex",
    "accession": "AccessionNumber",
    "comments": "RequestedProcedureComments",
    "alerts": "MedicalAlerts",
    "allergies": "Allergies",
}
_OF_STEP = {"modality": "Modality", "station": "ScheduledStationAETitle", "room": "ScheduledProcedureStepLocation"}
_NAMES = {"physician": "ReferringPhysicianName"}
_NAMES_OF_STEP = {"performer": "ScheduledPerformingPhysicianName"}
# Who the entry is for and which it is stays: others know it by these.
FIXED = ("patient_id", "issuer", "accession")
FIELDS = (
    *("family", "given", "birth_date", "sex", "description", "priority", "date", "time", "comments"),
    *_OF_ENTRY,
    *_OF_STEP,
    *_NAMES,
    *_NAMES_OF_STEP,
)


@dataclass(frozen=True)
class StepForm:
    """Values by field, as entered; dates and times as HTML has them (2026-03-10, 10:15)."""

    values: Mapping[str, str] = field(default_factory=dict)

    def __getitem__(self, name: str) -> str:
        return self.values.get(name, "")

    @classmethod
    def read(cls, entered: Mapping[str, str]) -> StepForm:
        """Read what a form sent."""
        values = {name: entered.get(name, "").strip() for name in FIELDS}
        return cls(values | {"modality": values["modality"].upper(), "comments": _lines(values["comments"])})

    @classmethod
    def empty(cls, day: date, modality: str = "", room: str = "") -> StepForm:
        """Return a form with nothing but where one was on the list."""
        return cls({"date": day.isoformat(), "modality": modality, "room": room, "priority": "ROUTINE"})

    @classmethod
    def of(cls, step: StepRow) -> StepForm:
        """Return the form of an entry that is there."""
        entry, item = step.dataset, step.step_item
        family, given, *_ = [*str(entry.get("PatientName", "")).split("=")[0].split("^"), "", ""]
        birth, start = dicom_date(str(entry.get("PatientBirthDate", ""))), dicom_date(step.start_key[:8])
        begins = dicom_time(step.start_key[8:])
        values = {
            "family": family,
            "given": given,
            "birth_date": birth.isoformat() if birth else "",
            "description": step.description,
            "priority": step.priority,
            "date": start.isoformat() if start else "",
            "time": f"{begins:%H:%M}" if begins else "",
        }
        values |= {name: _text(entry, keyword) for name, keyword in _OF_ENTRY.items()}
        values |= {name: _text(item, keyword) for name, keyword in _OF_STEP.items()}
        values |= {name: _entered_name(entry, keyword) for name, keyword in _NAMES.items()}
        values |= {name: _entered_name(item, keyword) for name, keyword in _NAMES_OF_STEP.items()}
        return cls({name: _lines(value) for name, value in values.items()})

    def faults(self, today: date, *, is_new: bool) -> dict[str, str]:
        """Return what is wrong, by field."""
        needed = (*_NEEDED, *(_NEEDED_WHEN_NEW if is_new else ()))
        faults = {name: N_("This is needed.") for name in needed if not self[name]}
        for name, longest in _LENGTHS.items():
            if len(self[name]) > longest:
                faults[name] = N_("This is longer than DICOM has room for.")
            elif "\\" in self[name] or not self[name].isprintable():
                faults[name] = N_("No backslash and no control characters, please.")
        if len(self["comments"]) > _LONG_TEXT:
            faults["comments"] = N_("This is longer than DICOM has room for.")
        return self._odd_values(today) | faults

    def new_step(self) -> NewStep:
        """Return a new entry. Without an accession number it gets one of ours."""
        accession = self["accession"] or f"M{secrets.token_hex(6).upper()}"
        dataset = self._dataset({name: self[name] for name in FIELDS})
        dataset.AccessionNumber = dataset.RequestedProcedureID = accession
        dataset.StudyInstanceUID = generate_uid(prefix=None)
        dataset.ScheduledProcedureStepSequence[0].ScheduledProcedureStepID = accession
        return NewStep(dataset, priority=self["priority"])

    def changed_step(self, step: StepRow) -> NewStep | None:
        """Return what was changed of an entry; None for nothing. What the form does not show stays as it is."""
        before = StepForm.of(step)
        changed = {name: self[name] for name in FIELDS if name not in FIXED and self[name] != before[name]}
        if not changed:
            return None
        for names in (("family", "given"), ("date", "time")):
            if not changed.keys().isdisjoint(names):
                changed |= {name: self[name] for name in names}
        dataset = self._dataset(changed, was=step.dataset)
        _name_entry(dataset, step)
        return NewStep(dataset, status=None, priority=changed.get("priority", ""))

    # -- parts ---------------------------------------------------------------------------------------------------------

    def _odd_values(self, today: date) -> dict[str, str]:
        faults = {}
        birth = dicom_date(self["birth_date"])
        if self["birth_date"] and (birth is None or birth > today):
            faults["birth_date"] = N_("A day that has been.")
        if dicom_date(self["date"]) is None:
            faults["date"] = N_("A day of the calendar.")
        if dicom_time(self["time"]) is None:
            faults["time"] = N_("Hours and minutes, for example 10:15.")
        if not _MODALITY.fullmatch(self["modality"]):
            faults["modality"] = N_("DICOM's short word, for example CT, MR or US.")
        if self["station"] and not all(map(is_ae_title, self["station"].split(", "))):
            faults["station"] = N_("1 to 16 characters, without accents, backslash or control characters.")
        if self["sex"] not in ("", *SEXES) or self["priority"] not in ("", *PRIORITIES):
            faults["sex" if self["sex"] not in ("", *SEXES) else "priority"] = N_("Choose one of the list.")
        for name in ("family", "given", "physician", "performer"):
            if any(sign in self[name] for sign in "^="):
                faults[name] = N_("Without the signs ^ and =, please.")
        return faults

    def _dataset(self, given: Mapping[str, str], was: Dataset | None = None) -> Dataset:
        """Return a data set of the fields in `given`; an empty one deletes the attribute."""
        entry, item = Dataset(), Dataset()
        entry.SpecificCharacterSet = UTF_8
        _put(entry, _OF_ENTRY, given, str)
        _put(entry, _NAMES, given, _dicom_name)
        _put(item, _OF_STEP, given, str)
        _put(item, {"station": "ScheduledStationAETitle"}, given, lambda entered: entered.split(", "))
        _put(item, _NAMES_OF_STEP, given, _dicom_name)
        if "family" in given:
            entry.PatientName = _with_parts(was, given["family"], given["given"])
        if "birth_date" in given:
            entry.PatientBirthDate = given["birth_date"].replace("-", "")
        if "description" in given:
            entry.RequestedProcedureDescription = item.ScheduledProcedureStepDescription = given["description"]
        if "date" in given:
            item.ScheduledProcedureStepStartDate = given["date"].replace("-", "")
            item.ScheduledProcedureStepStartTime = given["time"].replace(":", "").ljust(6, "0")
        entry.ScheduledProcedureStepSequence = [item]
        return entry


def _put(
    dataset: Dataset, keywords: Mapping[str, str], given: Mapping[str, str], value: Callable[[str], str | list[str]]
) -> None:
    for name, keyword in keywords.items():
        if name in given:
            setattr(dataset, keyword, value(given[name]))


def _name_entry(dataset: Dataset, step: StepRow) -> None:
    """Say which entry is meant, and whose it is."""
    known = step.dataset
    for keyword in ("AccessionNumber", "IssuerOfAccessionNumberSequence", "RequestedProcedureID"):
        if keyword in known:
            dataset.add(known[keyword])
    for keyword in ("PatientID", "IssuerOfPatientID"):
        if keyword in known:
            dataset.add(known[keyword])
    if step.step_id:
        dataset.ScheduledProcedureStepSequence[0].ScheduledProcedureStepID = step.step_id


def _with_parts(was: Dataset | None, family: str, given: str) -> str:
    """Return a name with these two parts; the others (middle name, another script) stay."""
    alphabetic, *other_groups = str(was.get("PatientName", "") if was else "").split("=")
    parts = alphabetic.split("^")
    return "=".join(["^".join([family, given, *parts[2:]]).rstrip("^"), *other_groups])


def _entered_name(dataset: Dataset, keyword: str) -> str:
    """Return a person's name as one writes it into a field: FAMILY, Given."""
    parts = str(dataset.get(keyword) or "").split("=")[0].split("^")
    return ", ".join(filter(None, parts[:2]))


def _dicom_name(entered: str) -> str:
    family, _, given = (part.strip() for part in entered.partition(","))
    return f"{family}^{given}".rstrip("^")


def _text(dataset: Dataset, keyword: str) -> str:
    value = dataset.get(keyword)
    return ", ".join(map(str, value)) if isinstance(value, list | tuple) else str(value or "")


def _lines(text: str) -> str:
    """Return a text with the line ends that DICOM has for texts, and HTML forms send."""
    return "\r\n".join(text.splitlines())
