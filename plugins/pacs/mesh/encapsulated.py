"""A model as DICOM, back in its study: Encapsulated STL, OBJ and MTL.

Sources: PS3.3 A.85.1 to A.85.3 (the IODs), C.24.1 and C.24.2 (Encapsulated Document), C.35.1 (Manufacturing 3D Model),
10.16 (Algorithm Identification); PS3.16 CID 7060, 7061, 7063, 7162; PS3.17 RRRR (groups of models).
"""

from __future__ import annotations

import uuid
from collections.abc import Callable, Iterable, Sequence
from dataclasses import dataclass
from datetime import UTC, datetime
from pathlib import Path

from pydicom import Dataset, FileDataset
from pydicom.dataset import FileMetaDataset
from pydicom.sequence import Sequence as DicomSequence
from pydicom.uid import (
    UID,
    EncapsulatedMTLStorage,
    EncapsulatedOBJStorage,
    EncapsulatedSTLStorage,
    ExplicitVRLittleEndian,
)

from pacs import __version__
from pacs.mesh.errors import MeshError
from pacs.mesh.recipe import Format
from pacs.mesh.report import ModelFile, Report

NOT_FOR_DIAGNOSIS = "Not for diagnosis"
# After all that was acquired, and the same for every model: a model's own series stands at the end of the list.
SERIES_NUMBER = 9300
_PATIENT = ("PatientName", "PatientID", "IssuerOfPatientID", "PatientBirthDate", "PatientSex")
_STUDY = (
    "StudyInstanceUID",
    "StudyDate",
    "StudyTime",
    "ReferringPhysicianName",
    "StudyID",
    "AccessionNumber",
    "StudyDescription",
)
# Type 2 of their modules: there, if empty.
_MAY_BE_EMPTY = frozenset({*_PATIENT, *_STUDY} - {"IssuerOfPatientID", "StudyDescription"})
_ACQUISITION = ("AcquisitionDateTime", "AcquisitionDate", "AcquisitionTime")
TEMPLATE_KEYWORDS = ["SpecificCharacterSet", *_PATIENT, *_STUDY, *_ACQUISITION, "PositionReferenceIndicator"]

_NAMESPACE = uuid.UUID("0b6f5a0a-5f3e-4f0b-9c53-3f1d3c5e7a11")
# By the end of the file's name: SOP class, MIME type (PS3.3 C.24.2.3).
_KINDS = {
    ".stl": (EncapsulatedSTLStorage, "model/stl"),
    ".obj": (EncapsulatedOBJStorage, "model/obj"),
    ".mtl": (EncapsulatedMTLStorage, "model/mtl"),
}
# CID 7061, by the modality of the source.
_TITLES = {"CT": ("85040-4", "LN", "CT 3D CAM model"), "MR": ("85041-2", "LN", "MR 3D CAM model")}
_OTHER_TITLE = ("129019", "DCM", "Mixed Modality 3D CAM model")
_MOST_TITLE, _MOST_PARAMETERS = 1024, 10240


@dataclass(frozen=True)
class _Document:
    """A file on its way: what it becomes, and its UID, which follows from the model and the name."""

    path: Path
    file: ModelFile
    sop_class_uid: UID
    mime_type: str
    sop_instance_uid: UID


def write(
    template: Dataset,
    report: Report,
    model: str,
    *,
    folder: Path,
    formats: Iterable[Format],
    place: Path,
    progress: Callable[[float], None] = lambda _fraction: None,
) -> list[Path]:
    """Write one DICOM file for each file of a model that has a SOP class.

    Parameters
    ----------
    template : an instance that the model was made of, with `TEMPLATE_KEYWORDS`: patient and study are taken from it.
    model : what names the model; the same model gives the same UIDs.
    folder : where the model's files are.
    formats : which of them; OBJ brings its MTL.
    place : where the DICOM files go.

    Raises
    ------
    MeshError : the model has no file of these formats.
    """
    documents = _documents(report, model, folder, frozenset(formats))
    if not documents:
        raise MeshError("Expected a model with STL or OBJ files, the only ones that DICOM has a place for; found none.")
    written = []
    for number, document in enumerate(documents, start=1):
        dataset = _dataset(template, report, model, document, documents)
        dataset.InstanceNumber = number
        path = place / f"{number:03}.dcm"
        dataset.save_as(path, enforce_file_format=True)
        written.append(path)
        progress(number / len(documents))
    return written


def _documents(report: Report, model: str, folder: Path, formats: frozenset[Format]) -> list[_Document]:
    found = []
    for file in report.files:
        kind = _KINDS.get(Path(file.name).suffix)
        if file.format in formats and kind is not None:
            found.append(_Document(folder / file.name, file, *kind, _uid(model, file.name)))
    return found


def _dataset(
    template: Dataset, report: Report, model: str, document: _Document, documents: Sequence[_Document]
) -> FileDataset:
    meta = FileMetaDataset()
    meta.MediaStorageSOPClassUID = document.sop_class_uid
    meta.MediaStorageSOPInstanceUID = document.sop_instance_uid
    meta.TransferSyntaxUID = ExplicitVRLittleEndian
    dataset = FileDataset("", {}, file_meta=meta, preamble=b"\0" * 128)
    dataset.SpecificCharacterSet = "ISO_IR 192"
    dataset.SOPClassUID, dataset.SOPInstanceUID = document.sop_class_uid, document.sop_instance_uid
    _take_over(dataset, template)
    _describe_series(dataset, report, model)
    _describe_equipment(dataset, report)
    if document.sop_class_uid != EncapsulatedMTLStorage:
        _describe_frame_of_reference(dataset, template, report)
    _describe_document(dataset, template, report, document)
    _describe_model(dataset, report, model)
    _refer(dataset, report, document, documents)
    return dataset


def _take_over(dataset: Dataset, template: Dataset) -> None:
    """Patient and study as the images have them."""
    for keyword in (*_PATIENT, *_STUDY):
        value = template.get(keyword)
        if value or keyword in _MAY_BE_EMPTY:
            setattr(dataset, keyword, str(value) if value else "")


def _describe_series(dataset: Dataset, report: Report, model: str) -> None:
    dataset.Modality = "M3D"
    dataset.SeriesInstanceUID = _series_uid(model)
    dataset.SeriesNumber = SERIES_NUMBER
    dataset.SeriesDescription = f"3D: {_names(report)}"[:64]


def _describe_equipment(dataset: Dataset, report: Report) -> None:
    dataset.Manufacturer, dataset.ManufacturerModelName = "PACS Cloud", "3D export"
    dataset.DeviceSerialNumber = "0"
    versions = (f"{name} {version}"[:64] for name, version in report.versions.items())
    dataset.SoftwareVersions = [__version__, *versions]


def _describe_frame_of_reference(dataset: Dataset, template: Dataset, report: Report) -> None:
    dataset.FrameOfReferenceUID = report.frame_of_reference_uid or _uid(report.series_instance_uid, "frame")
    dataset.PositionReferenceIndicator = str(template.get("PositionReferenceIndicator") or "")


def _describe_document(dataset: Dataset, template: Dataset, report: Report, document: _Document) -> None:
    now = datetime.now(UTC).astimezone()
    dataset.ContentDate = dataset.InstanceCreationDate = f"{now:%Y%m%d}"
    dataset.ContentTime = dataset.InstanceCreationTime = f"{now:%H%M%S}"
    dataset.AcquisitionDateTime = _acquired(template)
    dataset.BurnedInAnnotation = "NO"
    dataset.SourceInstanceSequence = DicomSequence(
        [
            _reference(one.sop_class_uid, one.sop_instance_uid, purpose=("121324", "DCM", "Source image"))
            for one in report.sources
        ]
    )
    title = f"3D model of {_names(report)}. {NOT_FOR_DIAGNOSIS}. Coordinates {report.coordinates}, in millimeters."
    dataset.DocumentTitle = title[:_MOST_TITLE]
    dataset.ConceptNameCodeSequence = DicomSequence([_code(*_TITLES.get(report.modality, _OTHER_TITLE))])
    dataset.MIMETypeOfEncapsulatedDocument = document.mime_type
    content = document.path.read_bytes()
    dataset.EncapsulatedDocumentLength = len(content)
    dataset.EncapsulatedDocument = content + b"\0" * (len(content) % 2)


def _describe_model(dataset: Dataset, report: Report, model: str) -> None:
    dataset.MeasurementUnitsCodeSequence = DicomSequence([_code("mm", "UCUM", "mm")])
    dataset.ModelModification = dataset.ModelMirroring = "NO"
    dataset.ContentDescription = NOT_FOR_DIAGNOSIS
    dataset.ModelGroupUID = _uid(model, "group")
    algorithm = Dataset()
    algorithm.AlgorithmFamilyCodeSequence = DicomSequence([_code("123103", "DCM", "Edge Detection")])
    algorithm.AlgorithmName = "Isosurface"
    algorithm.AlgorithmVersion = report.versions.get("vtk", __version__)
    algorithm.AlgorithmParameters = report.recipe.model_dump_json()[:_MOST_PARAMETERS]
    algorithm.AlgorithmSource = "PACS Cloud"
    dataset.DerivationAlgorithmSequence = DicomSequence([algorithm])


def _refer(dataset: Dataset, report: Report, document: _Document, documents: Sequence[_Document]) -> None:
    """Say what else belongs to it: the sources, and of an OBJ the materials that it names."""
    series = Dataset()
    series.SeriesInstanceUID = report.series_instance_uid
    series.ReferencedInstanceSequence = DicomSequence(
        [_reference(one.sop_class_uid, one.sop_instance_uid) for one in report.sources]
    )
    dataset.ReferencedSeriesSequence = DicomSequence([series])
    materials = [one for one in documents if one.sop_class_uid == EncapsulatedMTLStorage]
    if document.sop_class_uid != EncapsulatedOBJStorage or not materials:
        return
    items = [_reference(one.sop_class_uid, one.sop_instance_uid) for one in materials]
    own = Dataset()
    own.SeriesInstanceUID = dataset.SeriesInstanceUID
    own.ReferencedInstanceSequence = DicomSequence(
        [_reference(one.sop_class_uid, one.sop_instance_uid) for one in materials]
    )
    dataset.ReferencedSeriesSequence.append(own)
    for item, one in zip(items, materials, strict=True):
        item.RelativeURIReferenceWithinEncapsulatedDocument = one.file.name
    dataset.ReferencedInstanceSequence = DicomSequence(items)


def _reference(sop_class_uid: str, sop_instance_uid: str, *, purpose: tuple[str, str, str] | None = None) -> Dataset:
    item = Dataset()
    item.ReferencedSOPClassUID, item.ReferencedSOPInstanceUID = sop_class_uid, sop_instance_uid
    if purpose is not None:
        item.PurposeOfReferenceCodeSequence = DicomSequence([_code(*purpose)])
    return item


def _code(value: str, scheme: str, meaning: str) -> Dataset:
    item = Dataset()
    item.CodeValue, item.CodingSchemeDesignator, item.CodeMeaning = value, scheme, meaning
    return item


def _acquired(template: Dataset) -> str:
    day, moment = template.get("AcquisitionDate"), template.get("AcquisitionTime")
    return str(template.get("AcquisitionDateTime") or (f"{day}{moment or ''}" if day else ""))


def _names(report: Report) -> str:
    return ", ".join(part.name for part in report.parts)


def _series_uid(model: str) -> UID:
    return _uid(model, "series")


def _uid(*names: str) -> UID:
    """Derive a UID: the same names give the same one (a version 5 UUID under the root 2.25, PS3.5 B.2)."""
    return UID(f"2.25.{uuid.uuid5(_NAMESPACE, '/'.join(names)).int}")
