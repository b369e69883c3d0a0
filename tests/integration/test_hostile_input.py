"""What nests, claims or asks without measure is refused, and Orthanc goes on; other harm is in test_bad_input."""

from __future__ import annotations

import io
import zipfile
from collections.abc import Iterator
from pathlib import Path

import httpx
import pytest
from pydicom import Dataset
from pydicom.uid import ExplicitVRLittleEndian

from fixtures.fictitious_studies import as_file, dicom_image
from fixtures.running_pacs import RunningPacs
from fixtures.sample_images import image_in
from fixtures.stations import store_all

MEBIBYTE = 1024 * 1024
SUCCESS, CANNOT_UNDERSTAND = 0x0000, 0xC000
SEQUENCE = b"\x08\x00\x40\x11SQ\x00\x00\xff\xff\xff\xff\xfe\xff\x00\xe0\xff\xff\xff\xff"
SEQUENCE_END = b"\xfe\xff\x0d\xe0\x00\x00\x00\x00\xfe\xff\xdd\xe0\x00\x00\x00\x00"


@pytest.fixture
def web(pacs: RunningPacs) -> Iterator[httpx.Client]:
    """Return a client; afterwards the same Orthanc must be there, and no gigabyte larger than before."""
    pid, before = pacs.orthanc_pid(), _resident_bytes(pacs)
    with httpx.Client(base_url=pacs.url, timeout=120) as client:
        yield client
        assert client.get("/system").status_code == 200
    assert pacs.orthanc_pid() == pid
    assert _peak_bytes(pacs) < before + 1024 * MEBIBYTE


@pytest.mark.parametrize("depth", [100, 400, 1000, 100_000])
@pytest.mark.parametrize("path", ["/tools/find", "/tools/create-dicom", "/instances/x/modify"])
def test_nested_json_is_refused_however_deep(web: httpx.Client, path: str, depth: int) -> None:
    """Four hundred brackets were enough to overflow the stack of one of Orthanc's HTTP threads."""
    assert web.post(path, content=b"[" * depth + b"]" * depth).status_code in range(400, 600)


@pytest.mark.parametrize("depth", [60, 2000, 100_000])
def test_nested_sequences_are_refused_however_deep(web: httpx.Client, depth: int) -> None:
    """A file with sequences in sequences is refused before anything follows it down."""
    answer = web.post("/instances", content=_nested(depth))
    assert answer.status_code == 422
    assert "nested" in answer.text


def test_c_store_is_refused_when_an_image_would_choke_its_readers(pacs: RunningPacs) -> None:
    """A sender by DICOM is told "cannot understand", nothing is kept, and its next image is judged anew."""
    deep, huge, whole = (dicom_image(PatientID="HOSTILE-STORE") for _ in range(3))
    huge.NumberOfFrames = "2000000000"
    inside = Dataset()
    for _ in range(60):
        outside = Dataset()
        outside.ReferencedImageSequence = [inside]
        inside = outside
    deep.ReferencedImageSequence = [inside]
    assert store_all(pacs, [deep, whole, huge]) == [CANNOT_UNDERSTAND, SUCCESS, CANNOT_UNDERSTAND]
    (study,) = pacs.archive.post_json("/tools/find", {"Level": "Study", "Query": {"PatientID": "HOSTILE-STORE"}})
    (instance,) = pacs.archive.get_json(f"/studies/{study}/instances")
    assert instance["MainDicomTags"]["SOPInstanceUID"] == whole.SOPInstanceUID


def test_file_is_refused_when_it_claims_more_than_it_has(web: httpx.Client) -> None:
    """An element of four gigabytes in a file of a kilobyte is not given its four gigabytes."""
    whole = as_file(dicom_image())
    place = whole.index(b"\xe0\x7f\x10\x00OW\x00\x00") + 8
    assert web.post("/instances", content=whole[:place] + b"\xf0\xff\xff\xff" + bytes(100)).status_code == 422


def test_zip_tells_the_outcome_of_each_file_when_some_are_bad(web: httpx.Client) -> None:
    """The images of a mixed ZIP file are stored, and the answer names each file that was not."""
    image = dicom_image(PatientID="ZIP-1")
    packed = io.BytesIO()
    with zipfile.ZipFile(packed, "w") as archive:
        archive.writestr("image.dcm", as_file(image))
        archive.writestr("notes.txt", "no DICOM")
        archive.writestr("inner.zip", _zip_bomb())
    outcomes = {each["Name"]: each["Status"] for each in web.post("/instances", content=packed.getvalue()).json()}
    assert outcomes == {"image.dcm": "Success", "notes.txt": "Failure", "inner.zip": "Refused"}


def test_rendering_is_refused_when_it_is_to_be_giant(web: httpx.Client) -> None:
    """Nobody gets Orthanc to draw an image of ten thousand million pixels."""
    image = image_in(ExplicitVRLittleEndian, "HOSTILE-GIANT")
    assert web.post("/instances", content=as_file(image)).status_code == 200
    path = (
        f"/dicom-web/studies/{image.StudyInstanceUID}/series/{image.SeriesInstanceUID}/instances/{image.SOPInstanceUID}"
    )
    answer = web.get(f"{path}/rendered?viewport=100000,100000", headers={"Accept": "image/jpeg"})
    assert answer.status_code in range(400, 600)


def _nested(depth: int) -> bytes:
    """Return a DICOM file with `depth` sequences in one another."""
    whole = as_file(dicom_image())
    place = whole.index(b"\x10\x00\x10\x00PN")
    return whole[:place] + SEQUENCE * depth + SEQUENCE_END * depth + whole[place:]


def _zip_bomb() -> bytes:
    packed = io.BytesIO()
    with zipfile.ZipFile(packed, "w", zipfile.ZIP_DEFLATED) as archive:
        archive.writestr("0.dcm", bytes(MEBIBYTE))
    return packed.getvalue()


def _resident_bytes(pacs: RunningPacs) -> int:
    return _status(pacs, "VmRSS")


def _peak_bytes(pacs: RunningPacs) -> int:
    return _status(pacs, "VmHWM")


def _status(pacs: RunningPacs, name: str) -> int:
    lines = Path(f"/proc/{pacs.orthanc_pid()}/status").read_text(encoding="ascii").splitlines()
    return next(int(line.split()[1]) * 1024 for line in lines if line.startswith(f"{name}:"))
