"""One study as its page shows it, read from Orthanc."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from datetime import datetime
from typing import Any
from urllib.parse import quote

from pacs.errors import NotFound
from pacs.ports import Archive
from pacs.web.jobs import orthanc_moment

_NO_NUMBER = 2**31


@dataclass(frozen=True)
class SeriesDetails:
    """One series.

    Attributes
    ----------
    number : SeriesNumber, None where it is absent.
    """

    orthanc_series_id: str
    series_instance_uid: str
    number: int | None
    modality: str
    description: str
    body_part: str
    protocol: str
    date: str
    time: str
    station: str
    instances: int


@dataclass(frozen=True)
class StudyDetails:
    """One study, values as DICOM has them.

    Attributes
    ----------
    twins : Orthanc's identifiers of other studies with the same StudyInstanceUID, under other patients.
    """

    orthanc_study_id: str
    study_instance_uid: str
    patient_name: str
    patient_id: str
    birth_date: str
    sex: str
    date: str
    time: str
    description: str
    accession_number: str
    study_id: str
    referring_physician: str
    institution: str
    size_bytes: int
    updated: datetime | None
    series: tuple[SeriesDetails, ...]
    twins: tuple[str, ...] = ()

    @property
    def modalities(self) -> list[str]:
        """Modalities of the series, each once."""
        return sorted({one.modality for one in self.series if one.modality})

    @property
    def instances(self) -> int:
        """Instances of all series."""
        return sum(one.instances for one in self.series)

    @property
    def file_stem(self) -> str:
        """A file name that tells the study apart without naming the patient, such as CT_2024-05-02_0c658beb."""
        day = self.date if len(self.date) == len("YYYYMMDD") and self.date.isdigit() else ""
        day = f"{day[:4]}-{day[4:6]}-{day[6:]}" if day else ""
        modalities = "-".join(one for one in self.modalities if one.isalnum())
        return "_".join(filter(None, (modalities or "study", day, self.orthanc_study_id[:8])))


def find_orthanc_study_ids(archive: Archive, study_instance_uid: str) -> list[str]:
    """Return Orthanc's identifiers of a study; several when patients with different IDs share the UID."""
    found = archive.post_bytes("/tools/lookup", study_instance_uid.encode())
    return sorted(entry["ID"] for entry in found if entry["Type"] == "Study")


def load_study(archive: Archive, study_instance_uid: str, orthanc_study_id: str = "") -> StudyDetails:
    """Read a study.

    Parameters
    ----------
    orthanc_study_id : which one, when several patients share the UID.

    Raises
    ------
    NotFound : the archive has no such study.
    """
    ids = find_orthanc_study_ids(archive, study_instance_uid)
    if not ids or (orthanc_study_id and orthanc_study_id not in ids):
        message = f"Expected a study {study_instance_uid} in the archive, found none."
        raise NotFound(message, remedy="Search for the patient; the study may have been removed or corrected.")
    chosen = orthanc_study_id or ids[0]
    study = archive.get_json(f"/studies/{chosen}")
    series = tuple(sorted(map(_series, archive.get_json(f"/studies/{chosen}/series?expand")), key=_order))
    size_bytes = int(archive.get_json(f"/studies/{chosen}/statistics").get("DiskSize", 0))
    return _study(study, series, size_bytes, tuple(one for one in ids if one != chosen))


def _study(
    entry: Mapping[str, Any], series: tuple[SeriesDetails, ...], size_bytes: int, twins: tuple[str, ...]
) -> StudyDetails:
    tags, patient = entry["MainDicomTags"], entry["PatientMainDicomTags"]
    return StudyDetails(
        orthanc_study_id=entry["ID"],
        study_instance_uid=tags.get("StudyInstanceUID", ""),
        patient_name=patient.get("PatientName", ""),
        patient_id=patient.get("PatientID", ""),
        birth_date=patient.get("PatientBirthDate", ""),
        sex=patient.get("PatientSex", ""),
        date=tags.get("StudyDate", ""),
        time=tags.get("StudyTime", ""),
        description=tags.get("StudyDescription") or tags.get("RequestedProcedureDescription", ""),
        accession_number=tags.get("AccessionNumber", ""),
        study_id=tags.get("StudyID", ""),
        referring_physician=tags.get("ReferringPhysicianName", ""),
        institution=tags.get("InstitutionName", ""),
        size_bytes=size_bytes,
        updated=orthanc_moment(entry.get("LastUpdate")),
        series=series,
        twins=twins,
    )


def _series(entry: Mapping[str, Any]) -> SeriesDetails:
    tags = entry["MainDicomTags"]
    number = tags.get("SeriesNumber", "").strip()
    return SeriesDetails(
        orthanc_series_id=entry["ID"],
        series_instance_uid=tags.get("SeriesInstanceUID", ""),
        number=int(number) if number.lstrip("-").isdigit() else None,
        modality=tags.get("Modality", ""),
        description=tags.get("SeriesDescription", ""),
        body_part=tags.get("BodyPartExamined", ""),
        protocol=tags.get("ProtocolName", ""),
        date=tags.get("SeriesDate", ""),
        time=tags.get("SeriesTime", ""),
        station=tags.get("StationName", ""),
        instances=len(entry.get("Instances", [])),
    )


def _order(series: SeriesDetails) -> tuple[int, str, str]:
    return (_NO_NUMBER if series.number is None else series.number, series.time, series.orthanc_series_id)


def weasis_link(dicom_web_url: str, study_instance_uid: str) -> str:
    """Return the address that opens a study in Weasis.

    Weasis' command `$dicom:rs` takes the root of the DICOMweb services and a query, all of it percent-encoded after
    the scheme (https://weasis.org/en/getting-started/weasis-protocol/).
    """
    command = f'$dicom:rs --url "{dicom_web_url}" -r "studyUID={study_instance_uid}"'
    return f"weasis://{quote(command, safe='')}"
