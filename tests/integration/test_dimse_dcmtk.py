"""DICOM as dcmtk's modality and workstation speak it: C-ECHO, C-STORE, C-FIND, C-MOVE, C-GET."""

from __future__ import annotations

from collections.abc import Iterator
from io import BytesIO
from pathlib import Path

import httpx
import pytest
from pydicom import Dataset, dcmread
from pydicom.uid import (
    JPEG2000,
    UID,
    DeflatedExplicitVRLittleEndian,
    ExplicitVRBigEndian,
    ExplicitVRLittleEndian,
    ImplicitVRLittleEndian,
    JPEG2000Lossless,
    JPEGBaseline8Bit,
    JPEGExtended12Bit,
    JPEGLossless,
    JPEGLosslessSV1,
    JPEGLSLossless,
    JPEGLSNearLossless,
    RLELossless,
)

from fixtures.dcmtk import ask, find, read_folder, storescp
from fixtures.running_pacs import RunningPacs
from fixtures.sample_images import image_in, studies_to_find
from fixtures.stations import data_set_of, register, store_all
from pacs.demo.syntaxes import write

WORKSTATION = "DCMTK_WS"
# What makes storescu propose a syntax alone. It has none for JPEG Lossless of any prediction: dcmsend takes the file's.
PROPOSALS: dict[UID, str | None] = {
    ImplicitVRLittleEndian: "-xi",
    ExplicitVRLittleEndian: "-xe",
    ExplicitVRBigEndian: "-xb",
    DeflatedExplicitVRLittleEndian: "-xd",
    JPEGBaseline8Bit: "-xy",
    JPEGExtended12Bit: "-xx",
    JPEGLossless: None,
    JPEGLosslessSV1: "-xs",
    JPEGLSLossless: "-xt",
    JPEGLSNearLossless: "-xu",
    JPEG2000Lossless: "-xv",
    JPEG2000: "-xw",
    RLELossless: "-xr",
}


@pytest.fixture(scope="module")
def workstation(pacs: RunningPacs, tmp_path_factory: pytest.TempPathFactory) -> Iterator[Path]:
    """Return the folder in which the registered workstation finds what is sent to it."""
    folder = tmp_path_factory.mktemp("workstation") / "received"
    with storescp(folder, WORKSTATION) as port:
        register(pacs, WORKSTATION, port)
        yield folder


@pytest.fixture(scope="module")
def patients(pacs: RunningPacs, workstation: Path) -> list[Dataset]:
    """Return the images of three patients that the archive holds, with a workstation that may search for them."""
    assert workstation.is_dir()
    instances = studies_to_find("DCMTK")
    assert store_all(pacs, instances) == [0x0000] * len(instances)
    return instances


def test_archive_answers_an_echo_from_anyone(pacs: RunningPacs) -> None:
    """A technician's DICOM ping works before the modality is registered."""
    done = ask("echoscu", pacs, calling="NEW_CT")
    assert (done.returncode, "Received Echo Response (Success)" in done.stdout) == (0, True), done.stdout


@pytest.mark.parametrize("syntax", PROPOSALS, ids=lambda syntax: syntax.name)
def test_image_comes_back_as_sent_when_its_syntax_alone_is_proposed(
    pacs: RunningPacs, tmp_path: Path, syntax: UID
) -> None:
    """The archive takes every transfer syntax that modalities send, keeps it, and gives every element back."""
    sent = image_in(syntax, f"SYNTAX-{syntax}")
    path, option = write(sent, tmp_path / "sent.dcm"), PROPOSALS[syntax]
    done = ask("storescu", pacs, option, "-R", path) if option else ask("dcmsend", pacs, "--decompress-never", path)
    assert done.returncode == 0, done.stdout
    instance = (
        f"/dicom-web/studies/{sent.StudyInstanceUID}/series/{sent.SeriesInstanceUID}/instances/{sent.SOPInstanceUID}"
    )
    kept = dcmread(BytesIO(as_kept(pacs, instance)))
    assert kept.file_meta.TransferSyntaxUID == syntax
    assert kept == dcmread(path)


def test_dcmsend_sends_a_folder_of_mixed_syntaxes(pacs: RunningPacs, tmp_path: Path) -> None:
    """One association with several contexts stores files of several kinds, and each is answered with success."""
    sent = [
        image_in(syntax, "DCMSEND")
        for syntax in (ImplicitVRLittleEndian, JPEGLosslessSV1, RLELossless, JPEG2000Lossless)
    ]
    files = [write(image, tmp_path / f"{number}.dcm") for number, image in enumerate(sent)]
    report = tmp_path / "report.txt"
    done = ask("dcmsend", pacs, "--decompress-never", "--create-report-file", str(report), *files)
    assert done.returncode == 0, done.stdout
    assert report.read_text().count("0x0000") == len(sent)


@pytest.mark.parametrize(
    ("keys", "found"),
    [
        (["PatientName=MU*"], ["DCMTK-1", "DCMTK-2"]),
        (["PatientName=mun?z^ana"], ["DCMTK-2"]),
        (["PatientName=MUÑOZ^ÍÑIGO"], ["DCMTK-1"]),
        (["PatientName=MUÑ*"], ["DCMTK-1"]),
        (["PatientName=*INÊS"], ["DCMTK-3"]),
        (["PatientName=MUNOZ*"], []),
        (["StudyDate=20240105"], ["DCMTK-1"]),
        (["StudyDate=20240101-20240228"], ["DCMTK-1", "DCMTK-2"]),
        (["StudyDate=20240210-"], ["DCMTK-2", "DCMTK-3"]),
        (["StudyDate=-20240104"], []),
        (["AccessionNumber=DCMTK-A3"], ["DCMTK-3"]),
        (["ModalitiesInStudy=SR"], ["DCMTK-3"]),
        (["ModalitiesInStudy=MR\\CT"], ["DCMTK-1", "DCMTK-2"]),
        (["StudyDescription=*niño*"], ["DCMTK-2"]),
        ([], ["DCMTK-1", "DCMTK-2", "DCMTK-3"]),
    ],
    ids=str,
)
@pytest.mark.usefixtures("patients")
def test_study_search_matches_as_dicom_says(
    pacs: RunningPacs, tmp_path: Path, keys: list[str], found: list[str]
) -> None:
    """Wildcards, ranges, lists and accents select the studies that PS3.4 C.2.2.2 says, and no other."""
    given = {key.split("=")[0] for key in keys}
    asked = [key for key in ("PatientID=DCMTK-*", "PatientName", "StudyInstanceUID") if key.split("=")[0] not in given]
    answers = find(
        pacs,
        tmp_path / "answers",
        ["SpecificCharacterSet=ISO_IR 192", "QueryRetrieveLevel=STUDY", *asked, *keys],
        calling=WORKSTATION,
    )
    assert sorted(answer.PatientID for answer in answers) == found


@pytest.mark.usefixtures("patients")
def test_search_understands_latin_1(pacs: RunningPacs, tmp_path: Path) -> None:
    """A workstation that asks in Latin-1 finds the accented name, and can read the name that it is answered with."""
    question = Dataset()
    question.SpecificCharacterSet, question.QueryRetrieveLevel = "ISO_IR 100", "STUDY"
    question.PatientName, question.PatientID = "MUÑOZ*", "DCMTK-*"
    query = tmp_path / "query.dcm"
    question.save_as(query, implicit_vr=True, little_endian=True)
    folder = tmp_path / "answers"
    folder.mkdir()
    done = ask("findscu", pacs, "-S", "-X", "-od", str(folder), query, calling=WORKSTATION)
    assert [(each.PatientID, str(each.PatientName)) for each in read_folder(folder)] == [("DCMTK-1", "MUÑOZ^ÍÑIGO")], (
        done.stdout
    )


@pytest.mark.parametrize(
    ("keys", "expected"),
    [
        (["QueryRetrieveLevel=PATIENT", "PatientID=DCMTK-*", "PatientName=MU*"], 2),
        (["QueryRetrieveLevel=STUDY", "PatientID=DCMTK-*"], 3),
        (["QueryRetrieveLevel=SERIES", "StudyInstanceUID={study}", "Modality"], 2),
        (["QueryRetrieveLevel=SERIES", "StudyInstanceUID={study}", "Modality=SR"], 1),
        (["QueryRetrieveLevel=IMAGE", "StudyInstanceUID={study}", "SeriesInstanceUID={series}", "SOPInstanceUID"], 2),
        (["QueryRetrieveLevel=IMAGE", "StudyInstanceUID={study}", "SeriesInstanceUID={series}", "InstanceNumber=2"], 1),
    ],
    ids=str,
)
def test_search_answers_at_each_level(
    pacs: RunningPacs, patients: list[Dataset], tmp_path: Path, keys: list[str], expected: int
) -> None:
    """Patients, studies, series and images are told one by one, each with the level it was asked at."""
    ultrasound = patients[4]
    uids = {"study": ultrasound.StudyInstanceUID, "series": ultrasound.SeriesInstanceUID}
    filled = [key.format(**uids) for key in keys]
    answers = find(pacs, tmp_path / "answers", filled, calling=WORKSTATION)
    assert [f"QueryRetrieveLevel={answer.QueryRetrieveLevel}" for answer in answers] == [keys[0]] * expected


def test_search_counts_what_a_study_holds(pacs: RunningPacs, patients: list[Dataset], tmp_path: Path) -> None:
    """A workstation's list shows modalities and numbers of series and images without asking further."""
    counted = ["ModalitiesInStudy", "NumberOfStudyRelatedSeries", "NumberOfStudyRelatedInstances"]
    keys = ["QueryRetrieveLevel=STUDY", f"StudyInstanceUID={patients[4].StudyInstanceUID}", *counted]
    (answer,) = find(pacs, tmp_path / "answers", keys, calling=WORKSTATION)
    assert sorted(answer.ModalitiesInStudy) == ["SR", "US"]
    assert (answer.NumberOfStudyRelatedSeries, answer.NumberOfStudyRelatedInstances) == (2, 3)


def test_study_is_moved_to_the_registered_workstation(
    pacs: RunningPacs, patients: list[Dataset], workstation: Path
) -> None:
    """C-MOVE delivers every image of the study, byte for byte."""
    study = patients[0].StudyInstanceUID
    done = ask(
        "movescu",
        pacs,
        "-S",
        "-aem",
        WORKSTATION,
        "-k",
        "QueryRetrieveLevel=STUDY",
        "-k",
        f"StudyInstanceUID={study}",
        calling=WORKSTATION,
    )
    assert "Received Final Move Response (Success)" in done.stdout, done.stdout
    arrived = {path: dcmread(path) for path in workstation.iterdir()}
    of_study = {each.SOPInstanceUID: path for path, each in arrived.items() if each.StudyInstanceUID == study}
    assert set(of_study) == {each.SOPInstanceUID for each in patients[:3]}
    for sop_instance_uid, path in of_study.items():
        assert data_set_of(path.read_bytes()) == kept_data_set(pacs, sop_instance_uid)


@pytest.mark.parametrize(
    ("syntax", "option"),
    [(JPEGLosslessSV1, "+xs"), (RLELossless, "+xr"), (JPEG2000Lossless, "+xv"), (ImplicitVRLittleEndian, "+xi")],
)
@pytest.mark.usefixtures("workstation")
def test_study_is_fetched_in_its_own_syntax(pacs: RunningPacs, tmp_path: Path, syntax: UID, option: str) -> None:
    """C-GET gives a workstation that takes the image's transfer syntax the same bytes."""
    image = image_in(syntax, f"GET-{syntax}")
    assert store_all(pacs, [image]) == [0x0000]
    folder = tmp_path / "fetched"
    folder.mkdir()
    keys = ["-k", "QueryRetrieveLevel=STUDY", "-k", f"StudyInstanceUID={image.StudyInstanceUID}"]
    done = ask("getscu", pacs, "-S", option, "+B", "-od", str(folder), *keys, calling=WORKSTATION)
    assert "Received C-GET Response (Success)" in done.stdout, done.stdout
    (path,) = folder.iterdir()
    assert data_set_of(path.read_bytes()) == kept_data_set(pacs, image.SOPInstanceUID)


@pytest.mark.usefixtures("workstation")
def test_compressed_image_is_decompressed_for_a_workstation_that_takes_no_other(
    pacs: RunningPacs, tmp_path: Path
) -> None:
    """C-GET by a workstation that knows uncompressed images alone gets the same pixels."""
    image = image_in(JPEGLosslessSV1, "GET-PLAIN")
    assert store_all(pacs, [image]) == [0x0000]
    folder = tmp_path / "fetched"
    folder.mkdir()
    keys = ["-k", "QueryRetrieveLevel=STUDY", "-k", f"StudyInstanceUID={image.StudyInstanceUID}"]
    done = ask("getscu", pacs, "-S", "+xe", "-od", str(folder), *keys, calling=WORKSTATION)
    (fetched,) = read_folder(folder)
    assert fetched.file_meta.TransferSyntaxUID == ExplicitVRLittleEndian, done.stdout
    assert (fetched.pixel_array == image.pixel_array).all()


def test_real_series_is_stored_and_moved_unchanged(pacs: RunningPacs, workstation: Path, real_dicom: Path) -> None:
    """A scanner's own files, private elements and all, arrive at the workstation as they left the scanner."""
    files = sorted((real_dicom / "ct_head_ge_vartilt28").glob("*"))[:8]
    done = ask("dcmsend", pacs, "--decompress-never", *files)
    assert done.returncode == 0, done.stdout
    sent = {each.SOPInstanceUID: each for each in map(dcmread, files)}
    study = next(iter(sent.values())).StudyInstanceUID
    done = ask(
        "movescu",
        pacs,
        "-S",
        "-aem",
        WORKSTATION,
        "-k",
        "QueryRetrieveLevel=STUDY",
        "-k",
        f"StudyInstanceUID={study}",
        calling=WORKSTATION,
    )
    assert "Received Final Move Response (Success)" in done.stdout, done.stdout
    arrived = {each.SOPInstanceUID: each for each in read_folder(workstation)}
    for sop_instance_uid, original in sent.items():
        assert arrived[sop_instance_uid] == original


def kept_data_set(pacs: RunningPacs, sop_instance_uid: str) -> bytes:
    """Return the data set that the archive keeps, as it was encoded."""
    (orthanc_id,) = pacs.archive.post_json(
        "/tools/find", {"Level": "Instance", "Query": {"SOPInstanceUID": sop_instance_uid}}
    )
    return data_set_of(pacs.archive.get_bytes(f"/instances/{orthanc_id}/file"))


def as_kept(pacs: RunningPacs, instance: str) -> bytes:
    """Fetch an instance by WADO-RS in the transfer syntax that it is kept in: the only part of a multipart body."""
    accept = 'multipart/related; type="application/dicom"; transfer-syntax=*'
    multipart = httpx.get(f"{pacs.url}{instance}", headers={"Accept": accept}).raise_for_status().content
    boundary, rest = multipart.split(b"\r\n", 1)
    content = rest.split(b"\r\n\r\n", 1)[1]
    return content[: content.rindex(b"\r\n" + boundary)]
