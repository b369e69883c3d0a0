"""Gathers from the archive, the index and the worklist what rules ask for, and nothing beyond it.

Called in worker threads: it asks Orthanc's REST API.
"""

from __future__ import annotations

from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass, field
from datetime import date, datetime
from typing import Any

from pydicom import Dataset
from sqlalchemy import select
from sqlalchemy.orm import Session

from pacs.database import Database
from pacs.errors import NotFound
from pacs.mpps.matching import match
from pacs.mpps.progress import names_of
from pacs.ports import Archive, Json, ResourceLevel
from pacs.routing.rules.facts import Facts
from pacs.routing.rules.names import Own
from pacs.routing.rules.readings import DAYS_A_YEAR, age_days
from pacs.studies.dicom_values import day, parted, text
from pacs.studies.models import StudyRecord
from pacs.studies.reader import StudyReader
from pacs.worklist import attributes
from pacs.worklist.encoding import decoded
from pacs.worklist.models import StepRecord

_MOST_VALUES = 200
_LONGEST_VALUE = 1024
_MIB = 2**20
# What Orthanc keeps of patient, study and series: its own list (1.12) and ours (orthanc/config/30-dicom.json). All else
# is read from a file of each series.
_KEPT_BY_ORTHANC = frozenset(
    """PatientName PatientID PatientBirthDate PatientSex OtherPatientIDs StudyDate StudyTime StudyID StudyDescription
    AccessionNumber StudyInstanceUID RequestedProcedureDescription InstitutionName RequestingPhysician
    ReferringPhysicianName SeriesDate SeriesTime Modality Manufacturer StationName SeriesDescription BodyPartExamined
    SequenceName ProtocolName SeriesNumber CardiacNumberOfImages ImagesInAcquisition NumberOfTemporalPositions
    NumberOfSlices NumberOfTimeSlices SeriesInstanceUID ImageOrientationPatient SeriesType OperatorsName
    PerformedProcedureStepDescription AcquisitionDeviceProcessingDescription ContrastBolusAgent
    IssuerOfPatientID PatientAge PatientSize PatientWeight AdmissionID CurrentPatientLocation
    NameOfPhysiciansReadingStudy InstitutionalDepartmentName ManufacturerModelName DeviceSerialNumber Laterality
    PatientPosition FrameOfReferenceUID PerformedProcedureStepID SliceThickness ConvolutionKernel""".split()  # noqa: SIM905 (words read better)
)
_WAY_IN = frozenset({Own.SENDER_ADDRESS.value, Own.CALLED.value})
_ORDER = frozenset({Own.WORKLIST.value, Own.ORDER_PRIORITY.value, Own.ORDER_LOCATION.value, Own.ORDER_STATION.value})
_BODY_PART_FILE = "AnatomicRegionSequence.CodeMeaning"

type Content = dict[str, tuple[str, ...]]


@dataclass
class _Part:
    """Values of the study or of one series, as they are found."""

    values: dict[str, list[str]] = field(default_factory=dict)
    nested: dict[str, Any] = field(default_factory=dict)

    def add(self, name: str, value: object) -> None:
        found = text(value)[:_LONGEST_VALUE]
        kept = self.values.setdefault(name, [])
        if found and found not in kept and len(kept) < _MOST_VALUES:
            kept.append(found)

    def add_tags(self, tags: Mapping[str, Any], prefix: str = "") -> None:
        """Add what Orthanc calls simplified tags: texts by keyword, sequences as lists of the same."""
        for keyword, value in tags.items():
            if isinstance(value, list):
                self.add_sequence(f"{prefix}{keyword}", value)
            elif value is not None:
                for one in str(value).split("\\"):
                    self.add(f"{prefix}{keyword}", one)

    def add_sequence(self, name: str, items: Sequence[Any]) -> None:
        if "." not in name:
            self.nested.setdefault(name, []).extend(items)
        if items:
            self.add(name, str(len(items)))
        for item in items:
            if isinstance(item, Mapping):
                self.add_tags(item, f"{name}.")

    def merged(self, others: Iterable[_Part]) -> _Part:
        """Return this with the values of others added."""
        whole = _Part({name: list(values) for name, values in self.values.items()}, dict(self.nested))
        for other in others:
            for name, values in other.values.items():
                for value in values:
                    whole.add(name, value)
            for name, items in other.nested.items():
                whole.nested[name] = [*whole.nested.get(name, []), *items]
        return whole

    def facts(self, at: datetime, series: tuple[Facts, ...] = ()) -> Facts:
        return Facts({name: tuple(values) for name, values in self.values.items()}, at, series, self.nested)


@dataclass(frozen=True)
class Gathered:
    """What is known of a study."""

    study_instance_uid: str
    facts: Facts
    is_stable: bool
    series: Mapping[str, Facts]


class Gatherer:
    """Safe to use from any thread. Raises ArchiveError and DatabaseError when these can't answer."""

    def __init__(self, database: Database, archive: Archive) -> None:
        self._database = database
        self._archive = archive
        self._reader = StudyReader(archive)

    def gather(self, orthanc_study_ids: Sequence[str], names: frozenset[str], at: datetime) -> dict[str, Gathered]:
        """Return what is known of studies, by Orthanc's identifier; those that are not there are left out.

        Parameters
        ----------
        names : that are asked for.
        at : the moment of the evaluation, in the hospital's time zone.
        """
        studies = self._reader.studies(orthanc_study_ids)
        series = self._reader.series(studies) if studies else {}
        with self._database.session() as session:
            own = {study["ID"]: self._from_index(session, study["ID"], names) for study in studies}
        return {
            study["ID"]: self._gathered(study, series.get(study["ID"], []), own[study["ID"]], names, at)
            for study in studies
        }

    def study_of_series(self, orthanc_series_id: str) -> str | None:
        """Return the study of a series, None when it is gone."""
        study = self._reader.study_of(ResourceLevel.SERIES, orthanc_series_id)
        return None if study is None else str(study["ID"])

    def instance(self, orthanc_instance_id: str, names: frozenset[str], at: datetime) -> tuple[str, Gathered] | None:
        """Return the study of an instance with that instance's attributes alone; None when it is gone."""
        try:
            study = self._archive.get_json(f"/instances/{orthanc_instance_id}/study")
            part = self._file(orthanc_instance_id, names)
        except NotFound:
            return None
        whole = _study_part(study).merged([part])
        with self._database.session() as session:
            whole = whole.merged([self._from_index(session, study["ID"], names)])
        _add_derived(whole)
        facts = whole.facts(at)
        return study["ID"], Gathered(
            text(study["MainDicomTags"].get("StudyInstanceUID")), facts, is_stable=False, series={}
        )

    def _gathered(
        self, study: Json, all_series: Sequence[Json], own: _Part, names: frozenset[str], at: datetime
    ) -> Gathered:
        of_study = _study_part(study).merged([own])
        parts = {one["ID"]: self._series_part(one, names) for one in all_series}
        whole = of_study.merged(parts.values())
        if Own.SIZE_MIB in names and Own.SIZE_MIB not in whole.values:
            whole.add(Own.SIZE_MIB, (self._reader.size_bytes(study["ID"]) or 0) / _MIB)
        counts = {Own.SERIES: len(all_series), Own.INSTANCES: sum(map(_instance_count, all_series))}
        for name, count in counts.items():
            whole.values[name] = [str(count)]
        _add_derived(whole)
        single = {series_id: self._single(whole, of_study, part, at) for series_id, part in parts.items()}
        uid = text(study["MainDicomTags"].get("StudyInstanceUID"))
        facts = whole.facts(at, tuple(single.values()))
        return Gathered(uid, facts, is_stable=bool(study.get("IsStable", True)), series=single)

    def _single(self, whole: _Part, of_study: _Part, part: _Part, at: datetime) -> Facts:
        """Return the facts of one series: the study's, and its own instead of those of all series."""
        merged = of_study.merged([part])
        for name in (Own.SERIES, Own.INSTANCES, Own.SIZE_MIB):
            if name in whole.values:
                merged.values.setdefault(name, whole.values[name])
        _add_derived(merged)
        return merged.facts(at)

    def _series_part(self, series: Json, names: frozenset[str]) -> _Part:
        part = _Part()
        part.add_tags(series.get("MainDicomTags", {}))
        part.add(Own.SENDER, series.get("Metadata", {}).get("RemoteAET"))
        if names & _WAY_IN or not _kept(names):
            try:
                first = self._archive.get_json(f"/series/{series['ID']}")["Instances"][0]
                part = part.merged([self._file(first, names)])
            except (NotFound, IndexError):
                return part
        return part

    def _file(self, orthanc_instance_id: str, names: frozenset[str]) -> _Part:
        """Read attributes from an instance's file, and how it came, as far as that is asked for."""
        part = _Part()
        if not _kept(names):
            part.add_tags(self._archive.get_json(f"/instances/{orthanc_instance_id}/simplified-tags"))
        if names & (_WAY_IN | {Own.SENDER.value}):
            metadata = self._archive.get_json(f"/instances/{orthanc_instance_id}/metadata?expand")
            for name, key in ((Own.SENDER, "RemoteAET"), (Own.SENDER_ADDRESS, "RemoteIP"), (Own.CALLED, "CalledAET")):
                part.add(name, metadata.get(key))
        return part

    def _from_index(self, session: Session, orthanc_study_id: str, names: frozenset[str]) -> _Part:
        part = _Part()
        record = session.scalars(
            select(StudyRecord).where(StudyRecord.orthanc_study_id == orthanc_study_id)
        ).one_or_none()
        if record is None:
            return part
        if record.size_bytes is not None:
            part.add(Own.SIZE_MIB, record.size_bytes / _MIB)
        if names & _ORDER:
            _add_order(part, session, record)
        return part


def facts_of_order(record: StepRecord, at: datetime) -> Facts:
    """Return what a step of the worklist says, as of a study that is not there yet."""
    part, dataset = _Part(), decoded(record.attributes)
    part.add_tags(_simplified(dataset))
    for item in dataset.get("ScheduledProcedureStepSequence") or ():
        part.add_tags(_simplified(item))
    part.add(Own.WORKLIST, "yes")
    _add_step(part, record)
    if (years := _age_years(part, "ScheduledProcedureStepStartDate")) is not None:
        part.add(Own.AGE_YEARS, f"{years:.2f}")
    return part.facts(at)


def _simplified(dataset: Dataset) -> dict[str, Any]:
    """Return a data set as Orthanc's simplified tags."""
    return {
        element.keyword: [_simplified(item) for item in element.value]
        if element.VR == "SQ"
        else "\\".join(attributes.values(dataset, element.keyword))
        for element in dataset
        if element.keyword
    }


def _study_part(study: Json) -> _Part:
    part = _Part()
    part.add_tags(study.get("PatientMainDicomTags", {}))
    part.add_tags(study.get("MainDicomTags", {}))
    for label in study.get("Labels", []):
        part.add(Own.LABELS, label)
    return part


def _kept(names: frozenset[str]) -> bool:
    """Tell whether Orthanc keeps everything that is asked for itself."""
    return all(name in _KEPT_BY_ORTHANC or name in Own for name in names)


def _instance_count(series: Json) -> int:
    return int(series.get("RequestedTags", {}).get("NumberOfSeriesRelatedInstances") or 0)


def _add_order(part: _Part, session: Session, record: StudyRecord) -> None:
    """Add what the worklist says of a study: nothing when the order is another patient's."""
    ids = [step.row_id for step in match(session, names_of(record)).steps]
    part.add(Own.WORKLIST, "yes" if ids else "no")
    for step in session.scalars(select(StepRecord).where(StepRecord.id.in_(ids))) if ids else ():
        _add_step(part, step)


def _add_step(part: _Part, step: StepRecord) -> None:
    part.add(Own.ORDER_PRIORITY, step.priority)
    part.add(Own.ORDER_LOCATION, step.location)
    for station in parted(step.stations_key):
        part.add(Own.ORDER_STATION, station)


def _add_derived(part: _Part) -> None:
    """Add what follows from attributes."""
    for name in ("BodyPartExamined", _BODY_PART_FILE):
        for value in part.values.get(name, []):
            part.add(Own.BODY_PART, value)
    if (years := _age_years(part)) is not None:
        part.values[Own.AGE_YEARS] = [f"{years:.2f}"]


def _age_years(part: _Part, date_name: str = "StudyDate") -> float | None:
    """Return the age on the day of the study or appointment, by PatientAge or the birth date."""
    told = next(filter(None, map(age_days, part.values.get("PatientAge", []))), None)
    if told is not None:
        return told / DAYS_A_YEAR
    born, studied = _first_day(part, "PatientBirthDate"), _first_day(part, date_name)
    return (studied - born).days / DAYS_A_YEAR if born and studied and studied >= born else None


def _first_day(part: _Part, name: str) -> date | None:
    return next(filter(None, map(day, part.values.get(name, []))), None)
