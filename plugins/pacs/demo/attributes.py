"""Patients, studies and series of fiction, and the attributes that every instance of them carries."""

from __future__ import annotations

from dataclasses import dataclass, field
from datetime import date, time
from enum import StrEnum

from pydicom.dataset import Dataset, FileMetaDataset
from pydicom.uid import PYDICOM_IMPLEMENTATION_UID, UID, ExplicitVRLittleEndian

from pacs.demo.uids import uid_for

IMPLEMENTATION_VERSION_NAME = "PACS_CLOUD_DEMO"


class CharacterSet(StrEnum):
    """Values of SpecificCharacterSet that the generator writes (DICOM PS3.3 C.12.1.1.2)."""

    ASCII = ""
    LATIN_1 = "ISO_IR 100"
    UTF_8 = "ISO_IR 192"


class Sex(StrEnum):
    """Values of PatientSex."""

    FEMALE = "F"
    MALE = "M"
    OTHER = "O"


@dataclass(frozen=True)
class Patient:
    """A patient who never lived.

    Attributes
    ----------
    name : as DICOM writes it, `Family^Given`; it must fit `character_set`.
    """

    patient_id: str = "DEMO-0000"
    name: str = "Ejemplo^Paciente"
    birth_date: date = date(1970, 1, 1)
    sex: Sex = Sex.OTHER
    character_set: CharacterSet = CharacterSet.LATIN_1


@dataclass(frozen=True)
class Study:
    """A study of `patient`.

    Attributes
    ----------
    key : the name that its UID is derived from; two studies need two keys.
    """

    patient: Patient = field(default_factory=Patient)
    key: str = "study"
    date: date = date(2025, 1, 15)
    time: time = time(9, 30)
    description: str = "Estudio de ejemplo"
    accession_number: str = "DEMO-A0000"
    study_id: str = "1"
    referring_physician: str = "Médico Ejemplo^Remitente"
    institution_name: str = "Hospital de Demostración"

    @property
    def study_instance_uid(self) -> UID:
        """The study's UID, derived from its key."""
        return uid_for("study", self.key)

    def age(self) -> str:
        """Return the patient's age at the study as DICOM writes it (AS), for example `054Y`."""
        born = self.patient.birth_date
        had_birthday = (self.date.month, self.date.day) >= (born.month, born.day)
        return f"{self.date.year - born.year - (not had_birthday):03d}Y"


@dataclass(frozen=True)
class Series:
    """A series of `study`; its number tells it from the study's others."""

    study: Study
    modality: str
    number: int = 1
    description: str = ""
    body_part: str = ""
    protocol_name: str = ""
    model_name: str = "Fantasma digital"
    station_name: str = "DEMO01"
    # Series of one frame of reference can be overlaid; by default all of a study share one.
    frame_of_reference: str = "patient"

    @property
    def series_instance_uid(self) -> UID:
        """The series' UID, derived from the study's key and its own number."""
        return uid_for("series", self.study.key, self.number)

    @property
    def frame_of_reference_uid(self) -> UID:
        """The UID of the frame of reference, the same for all series of the study that name the same one."""
        return uid_for("frame of reference", self.study.key, self.frame_of_reference)

    def sop_instance_uid(self, instance_number: int) -> UID:
        """Return the UID of an instance of this series."""
        return uid_for("instance", self.study.key, self.number, instance_number)


def new_instance(series: Series, sop_class_uid: UID, instance_number: int) -> Dataset:
    """Start an instance: patient, study, series, equipment and SOP common modules (DICOM PS3.3 C.7, C.12)."""
    dataset = Dataset()
    dataset.file_meta = _file_meta(sop_class_uid, series.sop_instance_uid(instance_number))
    if series.study.patient.character_set:
        dataset.SpecificCharacterSet = series.study.patient.character_set.value
    dataset.SOPClassUID = sop_class_uid
    dataset.SOPInstanceUID = series.sop_instance_uid(instance_number)
    dataset.InstanceNumber = instance_number
    _add_patient(dataset, series.study)
    _add_study(dataset, series.study)
    _add_series(dataset, series)
    return dataset


def _file_meta(sop_class_uid: UID, sop_instance_uid: UID) -> FileMetaDataset:
    meta = FileMetaDataset()
    meta.MediaStorageSOPClassUID = sop_class_uid
    meta.MediaStorageSOPInstanceUID = sop_instance_uid
    meta.TransferSyntaxUID = ExplicitVRLittleEndian
    meta.ImplementationClassUID = PYDICOM_IMPLEMENTATION_UID
    meta.ImplementationVersionName = IMPLEMENTATION_VERSION_NAME
    return meta


def _add_patient(dataset: Dataset, study: Study) -> None:
    patient = study.patient
    dataset.PatientName = patient.name
    dataset.PatientID = patient.patient_id
    dataset.PatientBirthDate = dicom_date(patient.birth_date)
    dataset.PatientSex = patient.sex.value
    dataset.PatientAge = study.age()
    dataset.PatientComments = "Paciente ficticio: datos generados, no proceden de ninguna persona"


def _add_study(dataset: Dataset, study: Study) -> None:
    dataset.StudyInstanceUID = study.study_instance_uid
    dataset.StudyDate = dicom_date(study.date)
    dataset.StudyTime = dicom_time(study.time)
    dataset.ReferringPhysicianName = study.referring_physician
    dataset.StudyID = study.study_id
    dataset.AccessionNumber = study.accession_number
    dataset.StudyDescription = study.description


def _add_series(dataset: Dataset, series: Series) -> None:
    dataset.Modality = series.modality
    dataset.SeriesInstanceUID = series.series_instance_uid
    dataset.SeriesNumber = series.number
    dataset.SeriesDescription = series.description
    dataset.SeriesDate = dicom_date(series.study.date)
    dataset.SeriesTime = dicom_time(series.study.time)
    if series.body_part:
        dataset.BodyPartExamined = series.body_part
    if series.protocol_name:
        dataset.ProtocolName = series.protocol_name
    dataset.Manufacturer = "PACS Cloud"
    dataset.ManufacturerModelName = series.model_name
    dataset.DeviceSerialNumber = "DEMO"
    dataset.SoftwareVersions = "1"
    dataset.StationName = series.station_name
    dataset.InstitutionName = series.study.institution_name


def dicom_date(day: date) -> str:
    """Return `day` as a DA value."""
    return day.strftime("%Y%m%d")


def dicom_time(moment: time) -> str:
    """Return `moment` as a TM value."""
    return moment.strftime("%H%M%S")
