"""What Orthanc tells of a study and its series, as values of a row of the index."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from datetime import UTC, datetime
from typing import Any

from pacs.ports import Json
from pacs.studies.dicom_values import day, enclosed, moment, newest_first_key, text, time_of_day
from pacs.studies.names import fold, search_key

type RowValues = dict[str, Any]

# PostgreSQL refuses index entries of more than 2700 bytes, and one index holds all keys. Real values are far shorter.
_LONGEST_KEY_BYTES = 300
_LONGEST_NAME_KEY_BYTES = 700
_EPOCH = datetime.fromtimestamp(0, UTC)
_EMPTY: Mapping[str, str] = {}


def row_values(study: Json, series: Sequence[Json]) -> RowValues:
    """Return the columns that a study's own JSON and that of its series fill; size and reception are told elsewhere.

    Parameters
    ----------
    study : as Orthanc expands it, with Metadata or LastUpdate.
    series : of this study, with MainDicomTags, Metadata and the requested tag NumberOfSeriesRelatedInstances.
    """
    tags, patient = study.get("MainDicomTags", _EMPTY), study.get("PatientMainDicomTags", _EMPTY)
    values: RowValues = {
        "orthanc_study_id": study["ID"],
        "study_instance_uid": text(tags.get("StudyInstanceUID")),
        **_patient_values(patient),
        "accession_number": text(tags.get("AccessionNumber")),
        "study_date": day(tags.get("StudyDate")),
        "study_time": time_of_day(tags.get("StudyTime")),
        "description": text(tags.get("StudyDescription")),
        "referring_physician": text(tags.get("ReferringPhysicianName")),
        "institution": text(tags.get("InstitutionName")),
        **_series_values(series),
        "series_count": len(study.get("Series", series)),
        "last_update_at": last_update(study) or _EPOCH,
        "is_stable": bool(study.get("IsStable", True)),
    }
    return values | _keys(values)


def last_update(resource: Json) -> datetime | None:
    """Return when Orthanc last added instances to a resource or deleted some, None when it does not tell."""
    return moment(resource.get("LastUpdate") or resource.get("Metadata", _EMPTY).get("LastUpdate"))


def _patient_values(patient: Mapping[str, str]) -> RowValues:
    return {
        "patient_name": text(patient.get("PatientName")),
        "patient_id": text(patient.get("PatientID")),
        "issuer_of_patient_id": text(patient.get("IssuerOfPatientID")),
        "patient_birth_date": day(patient.get("PatientBirthDate")),
        "patient_sex": text(patient.get("PatientSex")),
    }


def _series_values(series: Sequence[Json]) -> RowValues:
    tags = [one.get("MainDicomTags", _EMPTY) for one in series]
    return {
        "instance_count": sum(_instance_count(one) for one in series),
        "modalities_key": enclosed(text(one.get("Modality")).upper() for one in tags),
        "body_parts_key": enclosed(text(one.get("BodyPartExamined")).upper() for one in tags),
        "station_name": next(filter(None, (text(one.get("StationName")) for one in tags)), ""),
        "remote_aet": next(filter(None, (text(one.get("Metadata", _EMPTY).get("RemoteAET")) for one in series)), ""),
    }


def _instance_count(series: Json) -> int:
    return int(series.get("RequestedTags", _EMPTY).get("NumberOfSeriesRelatedInstances") or 0)


def _keys(values: RowValues) -> RowValues:
    """Return the columns that searches compare."""
    patient_id, accession = values["patient_id"], values["accession_number"]
    return {
        "name_key": _cut(search_key(values["patient_name"]), _LONGEST_NAME_KEY_BYTES),
        "identifiers_key": _cut(search_key(patient_id, accession)),
        "description_key": _cut(search_key(values["description"]), _LONGEST_NAME_KEY_BYTES),
        "modalities_key": _cut(values["modalities_key"]),
        "patient_id_key": _cut(fold(patient_id)),
        "accession_number_key": _cut(fold(accession)),
        "newest_first_key": newest_first_key(values["study_date"], values["study_time"]),
    }


def _cut(key: str, longest_bytes: int = _LONGEST_KEY_BYTES) -> str:
    return key if len(key) <= longest_bytes // 4 else key.encode()[:longest_bytes].decode(errors="ignore")
