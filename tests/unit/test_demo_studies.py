"""The demo's studies: complete, valid, plausible and the same every time."""

from __future__ import annotations

from collections.abc import Mapping
from datetime import date
from io import BytesIO
from pathlib import Path

import numpy as np
import pytest
from pydicom import dcmread
from pydicom.dataset import Dataset

from pacs.demo.__main__ import main
from pacs.demo.studies import demo_studies
from pacs.demo.syntaxes import encoded

TODAY = date(2025, 3, 9)

# What DICOM PS3.3 requires of these IODs: type 1 (present with a value) and type 2 (present).
_COMMON_1 = ["SOPClassUID", "SOPInstanceUID", "StudyInstanceUID", "SeriesInstanceUID", "Modality"]
_COMMON_2 = [
    "PatientName",
    "PatientID",
    "PatientBirthDate",
    "PatientSex",
    "StudyDate",
    "StudyTime",
    "ReferringPhysicianName",
    "StudyID",
    "AccessionNumber",
    "SeriesNumber",
    "Manufacturer",
    "InstanceNumber",
]
_PIXELS_1 = [
    "SamplesPerPixel",
    "PhotometricInterpretation",
    "Rows",
    "Columns",
    "BitsAllocated",
    "BitsStored",
    "HighBit",
    "PixelRepresentation",
    "PixelData",
    "ImageType",
]
_PLANE_1 = ["PixelSpacing", "ImageOrientationPatient", "ImagePositionPatient", "FrameOfReferenceUID", "PatientPosition"]
_REQUIRED: Mapping[str, tuple[list[str], list[str]]] = {
    "CT": (
        [*_PLANE_1, "RescaleIntercept", "RescaleSlope"],
        ["KVP", "AcquisitionNumber", "SliceThickness", "PositionReferenceIndicator", "ContrastBolusAgent"],
    ),
    "MR": (
        [*_PLANE_1, "ScanningSequence", "SequenceVariant"],
        ["ScanOptions", "MRAcquisitionType", "RepetitionTime", "EchoTime", "EchoTrainLength", "SliceThickness"],
    ),
    "CR": (["ImagerPixelSpacing", "PatientOrientation"], ["BodyPartExamined", "ViewPosition"]),
    "US": (["NumberOfFrames", "FrameTime", "FrameIncrementPointer", "PlanarConfiguration"], []),
}


@pytest.fixture(scope="module")
def demo() -> Mapping[str, list[Dataset]]:
    """Return all instances of the demo, written and read back, by study."""
    return {
        study.name: [dcmread(BytesIO(encoded(instance))) for instance in study.instances()]
        for study in demo_studies(TODAY)
    }


def test_demo_has_the_studies_and_counts_promised(demo: Mapping[str, list[Dataset]]) -> None:
    """There are 160 CT slices, two MR series of 40, two radiographs and one film."""
    assert {name: len(instances) for name, instances in demo.items()} == {"CT": 160, "MR": 80, "US": 1, "CR": 2}
    for name, instances in demo.items():
        assert {instance.Modality for instance in instances} == {name}
        assert len({instance.StudyInstanceUID for instance in instances}) == 1
        assert len({instance.SOPInstanceUID for instance in instances}) == len(instances)
    assert len({instance.SeriesInstanceUID for instance in demo["MR"]}) == 2


@pytest.mark.parametrize("name", ["CT", "MR", "CR", "US"])
def test_demo_instances_have_what_their_iod_requires(demo: Mapping[str, list[Dataset]], name: str) -> None:
    """Every type 1 attribute has a value and every type 2 attribute is present."""
    type_1, type_2 = _REQUIRED[name]
    for instance in demo[name]:
        empty = [key for key in (*_COMMON_1, *_PIXELS_1, *type_1) if key not in instance or instance[key].is_empty]
        absent = [keyword for keyword in (*_COMMON_2, *type_2) if keyword not in instance]
        assert not empty
        assert not absent


def test_demo_patients_are_obviously_fictitious(demo: Mapping[str, list[Dataset]]) -> None:
    """Every identifier says DEMO, every family name Ejemplo or Exemplo, and both character sets occur."""
    instances = [instance for study in demo.values() for instance in study]
    assert all(instance.PatientID.startswith("DEMO-") for instance in instances)
    assert all(instance.AccessionNumber.startswith("DEMO-") for instance in instances)
    assert {str(instance.PatientName) for instance in instances} == {
        "Muñoz Ejemplo^Íñigo",
        "Conceição Exemplo^João",
        "Gonçalves Exemplo^Inês",
    }
    assert {instance.SpecificCharacterSet for instance in instances} == {"ISO_IR 100", "ISO_IR 192"}


def test_demo_dates_follow_today_and_uids_do_not() -> None:
    """The newest study is of today; another day gives the same studies with other dates."""
    first, second = demo_studies(TODAY), demo_studies(date(2026, 1, 1))
    assert max(one.study.date for one in first) == TODAY
    assert max(one.study.date for one in second) == date(2026, 1, 1)
    assert [one.study.study_instance_uid for one in first] == [one.study.study_instance_uid for one in second]


def test_demo_is_the_same_every_time(demo: Mapping[str, list[Dataset]]) -> None:
    """Making a study again gives the same UIDs and the same pixels."""
    again = {study.name: study for study in demo_studies(TODAY)}
    for name in ("MR", "US"):
        for old, new in zip(demo[name], again[name].instances(), strict=True):
            assert old.SOPInstanceUID == new.SOPInstanceUID
            assert old.PixelData == new.PixelData


def test_demo_ct_is_an_even_stack(demo: Mapping[str, list[Dataset]]) -> None:
    """The CT's slices are parallel, 3 mm apart, of one frame of reference, and their times ascend."""
    images = demo["CT"]
    positions = np.array([image.ImagePositionPatient for image in images], float)
    assert np.diff(positions, axis=0) == pytest.approx(np.tile((0, 0, 3), (159, 1)))
    assert len({image.FrameOfReferenceUID for image in images}) == 1
    times = [str(image.ContentTime) for image in images]
    assert times == sorted(times)


def test_demo_ct_shows_a_patient(demo: Mapping[str, list[Dataset]]) -> None:
    """In Hounsfield units there is air, lung, fat, soft tissue, contrast medium and bone, each in a fair share."""
    volume = np.stack([image.pixel_array for image in demo["CT"][::8]]).astype(int) - 1024
    shares = {
        low: float(((volume >= low) & (volume < high)).mean())
        for low, high in ((-1024, -950), (-950, -700), (-150, -50), (0, 130), (280, 420), (500, 1200))
    }
    assert shares[-1024] > 0.4
    assert min(shares[-950], shares[-150], shares[0]) > 0.04
    assert min(shares[280], shares[500]) > 0.002


def test_demo_mr_series_share_their_geometry_and_differ_in_contrast(demo: Mapping[str, list[Dataset]]) -> None:
    """Fluid is dark in T1 and bright in T2; both series lie in the same oblique places."""
    t1, t2 = demo["MR"][:40], demo["MR"][40:]
    for one, other in zip(t1, t2, strict=True):
        assert one.ImagePositionPatient == other.ImagePositionPatient
        assert one.FrameOfReferenceUID == other.FrameOfReferenceUID
    assert t1[0].ImageOrientationPatient[4] == pytest.approx(np.cos(np.radians(8)), abs=1e-5)
    row, column = np.array(t1[0].ImageOrientationPatient, float).reshape(2, 3)
    # The middle of a lateral ventricle, in the scan's own frame, at slice 25 (z = 22).
    at = round((22 + 121.53) / 0.9375), round((15 + 119.53) / 0.9375)
    white = round((-10 + 121.53) / 0.9375), round((35 + 119.53) / 0.9375)
    assert t1[25].pixel_array[at] < 0.5 * t1[25].pixel_array[white]
    assert t2[25].pixel_array[at] > 2 * t2[25].pixel_array[white]
    assert np.dot(row, column) == pytest.approx(0, abs=1e-6)


def test_demo_radiographs_look_alike_in_both_monochromes(demo: Mapping[str, list[Dataset]]) -> None:
    """The spine is shown brighter than the lungs: by high values in MONOCHROME2, by low ones in MONOCHROME1."""
    front, side = demo["CR"]
    assert (front.PhotometricInterpretation, side.PhotometricInterpretation) == ("MONOCHROME1", "MONOCHROME2")
    pixels = front.pixel_array
    spine, lung = pixels[600:1000, 870:890].mean(), pixels[600:800, 350:500].mean()
    assert spine < lung - 800
    assert max(front.pixel_array.max(), side.pixel_array.max()) <= 4095
    # The heart is on the patient's left, which is on the right of a postero-anterior view.
    assert pixels[900, 1100:1200].mean() < pixels[900, 560:660].mean() - 300


def test_demo_ultrasound_is_a_moving_calibrated_film(demo: Mapping[str, list[Dataset]]) -> None:
    """The loop has 48 color frames that differ, its beat repeats, and its region tells centimeters."""
    (loop,) = demo["US"]
    assert loop.file_meta.TransferSyntaxUID.name == "JPEG Baseline (Process 1)"
    frames = loop.pixel_array.astype(int)
    assert frames.shape == (48, 480, 640, 3)
    assert np.abs(frames[0] - frames[8]).mean() > 2
    (region,) = loop.SequenceOfUltrasoundRegions
    assert region.PhysicalDeltaX == pytest.approx(1 / 25)
    assert 0 <= region.RegionLocationMinX0 < region.RegionLocationMaxX1 < loop.Columns
    assert 0 <= region.RegionLocationMinY0 < region.RegionLocationMaxY1 < loop.Rows
    assert loop.LossyImageCompression == "01"


def test_demo_stays_small(demo: Mapping[str, list[Dataset]]) -> None:
    """All pixels together take less than 120 MB."""
    assert sum(len(instance.PixelData) for study in demo.values() for instance in study) < 120e6


def test_command_writes_the_study_asked_for(tmp_path: Path) -> None:
    """`--only US` writes that study alone, as files that can be read."""
    assert main(["--output", str(tmp_path), "--only", "US", "--today", "2025-03-09"]) == 0
    (file,) = tmp_path.rglob("*.dcm")
    assert file.relative_to(tmp_path) == Path("US/01/0001.dcm")
    assert dcmread(file).StudyDate == "20250306"


def test_command_refuses_an_unknown_study(capsys: pytest.CaptureFixture[str], tmp_path: Path) -> None:
    """A study that is not in the demo is refused with the ones that are."""
    with pytest.raises(SystemExit):
        main(["--output", str(tmp_path), "--only", "PET"])
    assert "CT, MR, US, CR" in capsys.readouterr().err
