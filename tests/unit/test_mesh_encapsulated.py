"""Models as DICOM: whole by the standard, traceable to their images, the same each time."""

from __future__ import annotations

import hashlib
from pathlib import Path

import pydicom
import pytest
from pydicom import Dataset
from pydicom.uid import EncapsulatedMTLStorage, EncapsulatedOBJStorage, EncapsulatedSTLStorage

from fixtures.encapsulated_iods import faults_of
from fixtures.model_reports import report_of
from pacs.mesh import encapsulated
from pacs.mesh.errors import MeshError
from pacs.mesh.recipe import Format
from pacs.mesh.report import ModelFile

MODEL = "series/model"
CONTENT = {"model.stl": b"solid with an odd length", "model.obj": b"mtllib model.mtl\n", "model.mtl": b"newmtl bone\n"}
FORMATS = {"stl": Format.STL, "obj": Format.OBJ, "mtl": Format.OBJ}


@pytest.fixture
def folder(tmp_path: Path) -> Path:
    """Return a folder with the files of a model."""
    for name, content in CONTENT.items():
        (tmp_path / name).write_bytes(content)
    return tmp_path


def files() -> tuple[ModelFile, ...]:
    """Return the files as a report lists them."""
    return tuple(
        ModelFile(
            name=name,
            format=FORMATS[name.rpartition(".")[2]],
            media_type="model/x",
            size_bytes=len(content),
            sha256=hashlib.sha256(content).hexdigest(),
        )
        for name, content in CONTENT.items()
    )


def template(**attributes: object) -> Dataset:
    """Return what an image says of patient and study; in Latin-1, as many modalities write."""
    image = Dataset()
    image.SpecificCharacterSet = "ISO_IR 100"
    usual = {
        "PatientName": "Ñandú^Íñigo",
        "PatientID": "7",
        "PatientBirthDate": "19800101",
        "PatientSex": "M",
        "StudyInstanceUID": "1.2.3",
        "StudyDate": "20260301",
        "AcquisitionDate": "20260301",
        "AcquisitionTime": "101500",
    }
    for keyword, value in (usual | attributes).items():
        setattr(image, keyword, value)
    return image


def written(folder: Path, formats: list[Format], image: Dataset | None = None) -> list[Dataset]:
    """Encapsulate and read back."""
    place = folder / "dicom"
    place.mkdir(exist_ok=True)
    report = report_of(files=files())
    paths = encapsulated.write(image or template(), report, MODEL, folder=folder, formats=formats, place=place)
    return [pydicom.dcmread(path) for path in paths]


def test_each_kind_is_valid_by_dicom_validator(folder: Path) -> None:
    """Every required attribute is there, nothing else, each value of its VR."""
    datasets = written(folder, [Format.STL, Format.OBJ])
    kinds = {dataset.SOPClassUID for dataset in datasets}
    assert kinds == {EncapsulatedSTLStorage, EncapsulatedOBJStorage, EncapsulatedMTLStorage}
    assert [faults_of(dataset) for dataset in datasets] == [[], [], []]


@pytest.mark.parametrize("keyword", ["MeasurementUnitsCodeSequence", "FrameOfReferenceUID", "DeviceSerialNumber"])
def test_validator_misses_what_is_taken_away(folder: Path, keyword: str) -> None:
    """The check above does find a file that is not whole."""
    [dataset] = written(folder, [Format.STL])
    delattr(dataset, keyword)
    assert len(faults_of(dataset)) == 1


def test_files_come_back_byte_for_byte(folder: Path) -> None:
    """Cut to its length, the document is the file that went in; its type is told."""
    for dataset in written(folder, [Format.STL, Format.OBJ]):
        content = dataset.EncapsulatedDocument[: dataset.EncapsulatedDocumentLength]
        kind = dataset.MIMETypeOfEncapsulatedDocument.removeprefix("model/")
        assert content == CONTENT[f"model.{kind}"]
        assert len(dataset.EncapsulatedDocument) % 2 == 0


def test_patient_study_and_sources_are_those_of_the_images(folder: Path) -> None:
    """The model belongs to the same patient and study and names each image it was made from."""
    [dataset] = written(folder, [Format.STL])
    assert (str(dataset.PatientName), dataset.PatientID, dataset.StudyInstanceUID) == ("Ñandú^Íñigo", "7", "1.2.3")
    assert (dataset.Modality, dataset.FrameOfReferenceUID) == ("M3D", "1.2.3.9")
    sources = [item.ReferencedSOPInstanceUID for item in dataset.SourceInstanceSequence]
    assert sources == ["1.2.3.4.1", "1.2.3.4.2"]
    assert dataset.ReferencedSeriesSequence[0].SeriesInstanceUID == "1.2.3.4"
    assert dataset.MeasurementUnitsCodeSequence[0].CodeValue == "mm"
    assert dataset.ContentDescription == "Not for diagnosis"
    assert '"preset":"bone"' in dataset.DerivationAlgorithmSequence[0].AlgorithmParameters


def test_obj_leads_to_its_materials(folder: Path) -> None:
    """Who reads the OBJ finds the MTL that it names, by instance and by the name in the file."""
    obj, mtl = written(folder, [Format.OBJ])
    [item] = obj.ReferencedInstanceSequence
    assert item.ReferencedSOPInstanceUID == mtl.SOPInstanceUID
    assert item.RelativeURIReferenceWithinEncapsulatedDocument == "model.mtl"
    assert obj.ModelGroupUID == mtl.ModelGroupUID


def test_same_model_gives_the_same_instances(folder: Path) -> None:
    """Saved twice it is one series with the same instances, which an archive keeps once."""
    first, again = written(folder, [Format.STL])[0], written(folder, [Format.STL])[0]
    assert (first.SOPInstanceUID, first.SeriesInstanceUID) == (again.SOPInstanceUID, again.SeriesInstanceUID)


def test_images_that_say_little_do(folder: Path) -> None:
    """Type 2 attributes are there, if empty; a frame of reference is made where the images name none."""
    image = Dataset()
    image.StudyInstanceUID = "1.2.3"
    [dataset] = written(folder, [Format.STL], image)
    assert dataset.PatientName == ""
    assert faults_of(dataset) == []


def test_formats_without_a_place_in_dicom_are_refused(folder: Path) -> None:
    """PLY, GLB and 3MF have no SOP class."""
    with pytest.raises(MeshError, match="STL or OBJ"):
        written(folder, [Format.GLB])
