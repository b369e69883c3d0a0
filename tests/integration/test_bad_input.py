"""A nasty world: broken files, strangers, bombs, careless searches, mistakes at the start.

Each is told clearly; nothing that was there before is lost; the archive goes on.
"""

from __future__ import annotations

import json
import os
import socket
import subprocess
import sys
import threading
import time
from collections.abc import Callable, Iterator, Mapping
from contextlib import contextmanager
from copy import deepcopy
from http import HTTPStatus
from io import BytesIO
from pathlib import Path

import httpx
import pytest
from pydicom import Dataset, dcmread, dcmwrite
from pydicom.uid import UID, generate_uid
from pynetdicom import _config, build_context
from pynetdicom.sop_class import (
    PatientRootQueryRetrieveInformationModelFind,
    StudyRootQueryRetrieveInformationModelFind,
    StudyRootQueryRetrieveInformationModelGet,
    StudyRootQueryRetrieveInformationModelMove,
    Verification,
)

from fixtures import bombs
from fixtures.broken_files import broken_files
from fixtures.dcmtk import ask
from fixtures.running_pacs import RunningPacs, running
from fixtures.sample_images import stack_of
from fixtures.stations import associated, data_set_of, find, register, storage_context, store_all
from fixtures.study_lists import wait_until_listed
from pacs.demo.syntaxes import encoded, write
from pacs.embedded.options import free_loopback_port

BROKEN = broken_files()
SUCCESS = 0x0000
MEBIBYTE = 1024**2
# How much a refusal may cost: the request itself a few times over, and what Python needs to look at it.
REFUSAL_BYTES = 256 * MEBIBYTE
WORKSTATION = "BAD_WS"
FEW_STUDIES, FEW_INSTANCES = 5, 8
MISTAKES = {
    "Hl7": {"Port": 70000, "Prt": 2575},
    "Database": {"Url": "mysql://localhost/pacs"},
    "Web": {"Language": "fr", "PageSize": "many"},
}


@pytest.fixture(scope="module")
def before(pacs: RunningPacs) -> list[Dataset]:
    """Return images that were there before anything nasty happened; a workstation is registered too."""
    register(pacs, WORKSTATION, free_loopback_port())
    images = stack_of(3, PatientID="BEFORE", PatientName="ANTES^Nada se pierde")
    assert store_all(pacs, images) == [SUCCESS] * len(images)
    return images


@pytest.fixture
def unharmed(pacs: RunningPacs, before: list[Dataset]) -> Iterator[None]:
    """Check after the test that the archive answers on every way and that all is there, no more and no less."""
    instances, orthanc_pid = set(pacs.archive.get_json("/instances")), pacs.orthanc_pid()
    yield
    assert pacs.alive()
    assert pacs.orthanc_pid() == orthanc_pid
    assert set(pacs.archive.get_json("/instances")) == instances
    for image in before:
        assert data_set_of(file_of(pacs, image)) == data_set_of(encoded(image))
    assert echo(pacs) == SUCCESS


# --- broken files ---


@pytest.mark.parametrize("kind", BROKEN)
@pytest.mark.usefixtures("unharmed")
def test_upload_of_a_broken_file_is_refused(pacs: RunningPacs, kind: str) -> None:
    """POST /instances says that it can't be read: a fault of the file, not of the server."""
    answer = httpx.post(f"{pacs.url}/instances", content=BROKEN[kind])
    assert answer.status_code in {HTTPStatus.BAD_REQUEST, HTTPStatus.UNPROCESSABLE_ENTITY}
    assert told(answer)


@pytest.mark.parametrize("kind", BROKEN)
@pytest.mark.usefixtures("unharmed")
def test_stow_of_a_broken_file_is_refused(pacs: RunningPacs, kind: str) -> None:
    """STOW-RS names no instance as stored and is no success."""
    kind_of_body = 'multipart/related; type="application/dicom"; boundary=B'
    body = b"--B\r\nContent-Type: application/dicom\r\n\r\n" + BROKEN[kind] + b"\r\n--B--\r\n"
    headers = {"Content-Type": kind_of_body, "Accept": "application/dicom+json"}
    answer = httpx.post(f"{pacs.url}/dicom-web/studies", content=body, headers=headers)
    assert answer.status_code in {HTTPStatus.BAD_REQUEST, HTTPStatus.CONFLICT, HTTPStatus.UNPROCESSABLE_ENTITY}
    assert "Value" not in answer.json().get("00081199", {})


@pytest.mark.usefixtures("unharmed")
def test_modality_that_sends_broken_images_is_never_told_success(pacs: RunningPacs, tmp_path: Path) -> None:
    """C-STORE of data sets that end too early or are none: a failure or no answer, and others are served meanwhile."""
    (image,) = stack_of(1, PatientID="BROKEN")
    whole = data_set_of(encoded(image))
    claims_too_much = whole.index(b"\x10\x00\x20\x00LO")
    data_sets = {
        "empty": b"",
        "noise": bytes(range(256)) * 4,
        "text": b"This is no data set.",
        "cut in an element": whole[: len(whole) // 4],
        "cut in the pixels": whole[:-500],
        "a length beyond the end": whole[: claims_too_much + 6] + b"\x00\xff" + whole[claims_too_much + 8 :],
        "without a study": without(image, "StudyInstanceUID"),
        "without a SOP instance": without(image, "SOPInstanceUID"),
        "of another instance": data_set_of(encoded(with_uid(image, generate_uid()))),
    }
    answers = send_at_once(pacs, image, data_sets, tmp_path, while_waiting=lambda: echo(pacs))
    assert all(status is None or 0xA000 <= status <= 0xCFFF for status in answers.values()), answers


@pytest.mark.xfail(strict=True, reason="Orthanc 1.12.7 stores a file without preamble as it is and can't show it then")
def test_file_without_preamble_is_refused_or_served_whole(pacs: RunningPacs) -> None:
    """Some programs upload a data set with its meta information alone: it is refused, or comes back as a DICOM file."""
    (image,) = stack_of(1, PatientID="NO-PREAMBLE")
    bare = BytesIO()
    dcmwrite(bare, image)
    answer = httpx.post(f"{pacs.url}/instances", content=bare.getvalue())
    if answer.status_code == HTTPStatus.OK:
        assert (dcmread(BytesIO(file_of(pacs, image))).pixel_array == image.pixel_array).all()
        instance = f"studies/{image.StudyInstanceUID}/series/{image.SeriesInstanceUID}/instances/{image.SOPInstanceUID}"
        assert httpx.get(f"{pacs.url}/dicom-web/{instance}/frames/1").status_code == HTTPStatus.OK


# --- strangers ---


@pytest.mark.usefixtures("unharmed")
def test_station_that_calls_another_archive_is_rejected_with_the_reason(pacs: RunningPacs, tmp_path: Path) -> None:
    """A modality set up for the neighbor's title learns that the called title is wrong, before it sends anything."""
    path = write(stack_of(1, PatientID="STRANGER")[0], tmp_path / "image.dcm")
    for done in (ask("storescu", pacs, path, called="NEIGHBOR"), ask("echoscu", pacs, called="NEIGHBOR")):
        assert done.returncode != 0
        assert "Called AE" in done.stdout


def test_unknown_modality_may_store_and_echo(pacs: RunningPacs) -> None:
    """A modality that was replaced overnight delivers its images though nobody registered it."""
    assert echo(pacs, calling="NEVER_SEEN") == SUCCESS
    assert store_all(pacs, stack_of(1, PatientID="OVERNIGHT"), calling="NEVER_SEEN") == [SUCCESS]


@pytest.mark.usefixtures("unharmed")
@pytest.mark.parametrize("calling", ["NEVER_SEEN", "ELSEWHERE"])
@pytest.mark.parametrize(
    ("service", "model"),
    [
        ("Find", PatientRootQueryRetrieveInformationModelFind),
        ("Find", StudyRootQueryRetrieveInformationModelFind),
        ("Move", StudyRootQueryRetrieveInformationModelMove),
        ("Get", StudyRootQueryRetrieveInformationModelGet),
    ],
)
def test_stranger_reads_nothing(pacs: RunningPacs, before: list[Dataset], service: str, model: UID, calling: str) -> None:
    """C-FIND, C-MOVE and C-GET of an unregistered title, or from another address than its own, get not one answer; the log says why."""
    register(pacs, "ELSEWHERE", 104, host="192.0.2.1")
    keys = study_keys(before[0])
    with associated(pacs, [build_context(model)], calling=calling) as association:
        ask_by = {"Find": association.send_c_find, "Get": association.send_c_get}
        if service == "Move":
            answers = list(association.send_c_move(keys, WORKSTATION, model))
        else:
            answers = list(ask_by[service](keys, model))
    assert [(status.get("Status"), identifier) for status, identifier in answers] == [(None, None)]
    line = f'Rejected {service} request from remote DICOM modality with AET "{calling}"'
    assert line in pacs.log()


@pytest.mark.usefixtures("unharmed")
def test_move_to_an_unknown_destination_fails(pacs: RunningPacs, before: list[Dataset]) -> None:
    """The workstation learns that the move failed, at once, and the log names the destination."""
    model = StudyRootQueryRetrieveInformationModelMove
    with associated(pacs, [build_context(model)], calling=WORKSTATION) as association:
        ((status, _),) = list(association.send_c_move(study_keys(before[0]), "NOWHERE", model))
    assert 0xA000 <= status.Status <= 0xCFFF
    assert "NOWHERE" in pacs.log()


@pytest.mark.usefixtures("unharmed")
def test_move_to_a_station_that_is_switched_off_fails(pacs: RunningPacs, before: list[Dataset]) -> None:
    """Nobody listens at the registered address: every image is counted as failed."""
    model = StudyRootQueryRetrieveInformationModelMove
    with associated(pacs, [build_context(model)], calling=WORKSTATION) as association:
        *_, (status, _) = association.send_c_move(study_keys(before[0]), WORKSTATION, model)
    assert status.Status != SUCCESS


@pytest.mark.parametrize("words", [b"GET / HTTP/1.1\r\nHost: pacs\r\n\r\n", b"\x01\x00\xff\xff\xff\xff" + bytes(64), b"\x16\x03\x01\x02\x00\x01" + bytes(511)])
@pytest.mark.usefixtures("unharmed")
def test_what_is_no_dicom_is_hung_up_on(pacs: RunningPacs, words: bytes) -> None:
    """A browser, an association of four gigabytes or a TLS client at the DICOM port keeps nobody else waiting."""
    with socket.create_connection(("127.0.0.1", pacs.dicom_port)) as stranger:
        stranger.sendall(words)
        assert echo(pacs) == SUCCESS


@pytest.mark.xfail(strict=True, reason="Orthanc 1.12.7 reads each new association to its end before it accepts the next")
def test_connection_that_says_nothing_keeps_nobody_waiting(pacs: RunningPacs) -> None:
    """A port scanner or a hung modality that connects and is silent does not stop the others."""
    with socket.create_connection(("127.0.0.1", pacs.dicom_port)):
        time.sleep(0.5)
        done = ask("echoscu", pacs, "-ta", "3", "-td", "3", "-to", "3")
    assert done.returncode == 0, done.stdout


# --- bombs ---


@pytest.mark.parametrize(
    ("make", "headers"),
    [
        (bombs.one_huge_member, {}),
        (bombs.many_large_members, {}),
        (bombs.gzip_body, {"Content-Encoding": "gzip"}),
        (bombs.deflated_image, {}),
    ],
    ids=["ZIP of one file", "ZIP of many files", "gzip", "deflated image"],
)
@pytest.mark.usefixtures("unharmed")
def test_bomb_is_refused_in_bounded_memory(pacs: RunningPacs, make: Callable[[], bytes], headers: Mapping[str, str]) -> None:
    """Ten megabytes that unpack to gigabytes are a refusal with words, and the memory for them is never taken."""
    body = make()
    with memory_peak(pacs.orthanc_pid()) as grown_bytes:
        answer = httpx.post(f"{pacs.url}/instances", content=body, headers=headers, timeout=60)
    assert HTTPStatus.BAD_REQUEST <= answer.status_code < HTTPStatus.INTERNAL_SERVER_ERROR
    assert told(answer)
    assert grown_bytes() < REFUSAL_BYTES


# --- careless searches ---


@pytest.fixture(scope="module")
def limited(tmp_path_factory: pytest.TempPathFactory) -> Iterator[RunningPacs]:
    """Run an archive with limits so low that a handful of studies shows them, and with seven studies of two images."""
    directory = tmp_path_factory.mktemp("limited")
    limits = {"LimitFindResults": FEW_STUDIES, "LimitFindInstances": FEW_INSTANCES, "DicomScpTimeout": 2}
    (directory / "settings.json").write_text(json.dumps(limits))
    with running(directory) as started:
        for number in range(7):
            assert store_all(started, stack_of(2, PatientID=f"LIMIT-{number}")) == [SUCCESS, SUCCESS]
        yield started


@pytest.mark.parametrize(
    ("level", "most"), [("Patient", FEW_STUDIES), ("Study", FEW_STUDIES), ("Series", FEW_STUDIES), ("Instance", FEW_INSTANCES)]
)
@pytest.mark.parametrize("limit", [{}, {"Limit": 0}, {"Limit": 1000}])
def test_search_by_rest_for_everything_is_cut(limited: RunningPacs, level: str, most: int, limit: dict[str, int]) -> None:
    """POST /tools/find never answers with more than LimitFindResults and LimitFindInstances, whatever it is asked for."""
    assert len(limited.archive.post_json("/tools/find", {"Level": level, "Query": {}, **limit})) == most


def test_search_that_is_cut_goes_on_where_it_stopped(limited: RunningPacs) -> None:
    """Whoever needs everything gets it page by page, each once."""
    pages = [limited.archive.post_json("/tools/find", {"Level": "Study", "Query": {}, "Since": since}) for since in (0, FEW_STUDIES)]
    assert len({study for page in pages for study in page}) == 7


def test_dicomweb_search_with_a_limit_is_cut(limited: RunningPacs) -> None:
    """A QIDO-RS page is no larger than the archive's own limit."""
    for folder, most in (("studies", FEW_STUDIES), ("series", FEW_STUDIES), ("instances", FEW_INSTANCES)):
        assert len(httpx.get(f"{limited.url}/dicom-web/{folder}?limit=1000").json()) == most


@pytest.mark.xfail(strict=True, reason="orthanc-dicomweb 1.20 asks for everything when no limit is given")
@pytest.mark.parametrize(("folder", "most"), [("studies", FEW_STUDIES), ("series", FEW_STUDIES), ("instances", FEW_INSTANCES)])
def test_dicomweb_search_for_everything_is_cut(limited: RunningPacs, folder: str, most: int) -> None:
    """A QIDO-RS search without a limit can't make the archive build all of itself in memory."""
    assert len(httpx.get(f"{limited.url}/dicom-web/{folder}").json()) <= most


@pytest.mark.parametrize(
    ("level", "keyword"), [("PATIENT", "PatientID"), ("STUDY", "StudyInstanceUID"), ("SERIES", "SeriesInstanceUID"), ("IMAGE", "SOPInstanceUID")]
)
def test_dicom_search_for_everything_is_refused(limited: RunningPacs, level: str, keyword: str) -> None:
    """A C-FIND that matches more than the limit fails, rather than showing a part as the whole; narrowed down it is answered."""
    register(limited, WORKSTATION, free_loopback_port())
    model = PatientRootQueryRetrieveInformationModelFind
    keys = Dataset()
    keys.QueryRetrieveLevel, keys.PatientID = level, "LIMIT-*"
    if keyword not in keys:
        setattr(keys, keyword, "")
    with associated(limited, [build_context(model)], calling=WORKSTATION) as association:
        answers, status = find(association, keys, model)
        assert (answers, status is not None and 0xA000 <= status <= 0xCFFF) == ([], True)
        keys.PatientID = "LIMIT-3"
        answers, status = find(association, keys, model)
    assert (len(answers), status) == (2 if level == "IMAGE" else 1, SUCCESS)
    assert f"C-FIND of {WORKSTATION} refused" in limited.log()


def test_our_own_list_is_whole_in_spite_of_the_limits(limited: RunningPacs) -> None:
    """The list of studies reads the archive page by page: a low limit loses no study and no image."""
    studies = limited.archive.get_json("/studies?expand")
    wait_until_listed(limited, {study["MainDicomTags"]["StudyInstanceUID"]: 2 for study in studies})


def test_modality_that_falls_silent_in_the_middle_is_let_go(limited: RunningPacs, tmp_path: Path) -> None:
    """After DicomScpTimeout without a word the association ends: dead modalities don't use up the archive's threads."""
    (image,) = stack_of(1, PatientID="SILENT")
    started = time.monotonic()
    send_at_once(limited, image, {"cut": data_set_of(encoded(image))[:-500]}, tmp_path, timeout_seconds=20)
    assert time.monotonic() - started < 10


# --- mistakes at the start ---


def test_settings_with_mistakes_are_refused_with_all_of_them(tmp_path: Path) -> None:
    """Five mistakes in settings.json are five lines, each with its place, and what was stored is left alone."""
    kept = kept_file(tmp_path)
    (tmp_path / "settings.json").write_text(json.dumps({"Pacs": MISTAKES}))
    words = refusal(tmp_path)
    places = ["Pacs.Hl7.Port:", "Pacs.Hl7.Prt:", "Pacs.Database.Url:", "Pacs.Web.Language:", "Pacs.Web.PageSize:"]
    lines = words.splitlines()
    assert len(lines) == 1 + len(places)
    assert all(any(place in line for line in lines) for place in places), words
    assert "5 mistake" in lines[0]
    assert 'did you mean "Port"?' in words
    assert kept.read_bytes() == b"precious"


def test_settings_that_are_no_json_are_refused_with_the_line(tmp_path: Path) -> None:
    """A missing comma is told with its line."""
    (tmp_path / "settings.json").write_text('{\n  "Name": "PACS"\n  "DicomAet": "PACS"\n}\n')
    words = refusal(tmp_path)
    assert "settings.json, line 3" in words
    assert len(words.splitlines()) == 1


@pytest.mark.parametrize("variable", ["PACS_HTTP_PORT", "PACS_DICOM_PORT"])
@pytest.mark.usefixtures("unharmed")
def test_port_in_use_is_told_with_what_to_do(pacs: RunningPacs, tmp_path: Path, variable: str) -> None:
    """A second archive on the same port ends with one line; the first one does not notice."""
    port = pacs.http_port if variable == "PACS_HTTP_PORT" else pacs.dicom_port
    words = refusal(tmp_path, **{variable: str(port)})
    assert words == f"error: Port {port} is in use. End what uses it, or choose another with {variable}=PORT."


@pytest.mark.usefixtures("unharmed")
def test_second_archive_on_the_same_data_is_refused(pacs: RunningPacs) -> None:
    """Two archives on one directory would ruin its index: the second one ends with one line."""
    words = refusal(pacs.data_directory)
    assert "Another archive is running on" in words
    assert "PACS_DATA_DIR" in words
    assert len(words.splitlines()) == 1


@pytest.mark.parametrize("fault", ["no right", "a file in its place", "read-only file system"])
def test_directory_that_can_not_be_written_is_told_with_what_to_do(tmp_path: Path, fault: str) -> None:
    """A data directory that can't be used is named in one line."""
    words = refusal(unusable_directory(tmp_path, fault))
    assert "can't be written" in words
    assert "PACS_DATA_DIR=DIRECTORY" in words
    assert len(words.splitlines()) == 1


# --- what the tests do ---


def refusal(data_directory: Path, **environment: str) -> str:
    """Start the archive, which must refuse with exit code 1, and return its words."""
    ports = {name: str(free_loopback_port()) for name in ("PACS_HTTP_PORT", "PACS_DICOM_PORT", "PACS_HL7_PORT")}
    done = subprocess.run(
        [sys.executable, "-m", "pacs.embedded"],
        # Closed at once: should it start after all, it ends by itself, with another exit code.
        stdin=subprocess.DEVNULL,
        stdout=subprocess.PIPE,
        stderr=subprocess.STDOUT,
        text=True,
        env={**os.environ, "PACS_DATA_DIR": str(data_directory), "PACS_DEMO": "0", **ports, **environment},
        timeout=60,
        check=False,
    )
    assert done.returncode == 1, done.stdout
    assert "Traceback" not in done.stdout
    return done.stdout.strip()


def unusable_directory(folder: Path, fault: str) -> Path:
    """Return a directory that can't be written, for a reason."""
    target = folder / "data"
    if fault == "no right":
        if os.geteuid() == 0:
            pytest.skip("root may write everywhere")
        target.mkdir(mode=0o500)
    elif fault == "read-only file system":
        return Path("/opt/pacs/data")
    else:
        target.write_bytes(b"")
    return target


def kept_file(data_directory: Path) -> Path:
    """Put a file where the images are kept."""
    path = data_directory / "orthanc" / "00" / "image"
    path.parent.mkdir(parents=True)
    path.write_bytes(b"precious")
    return path


def echo(pacs: RunningPacs, *, calling: str = "MODALITY") -> int | None:
    """Return the status of a C-ECHO, None without an answer."""
    with associated(pacs, [build_context(Verification)], calling=calling) as association:
        return int(association.send_c_echo().Status) if association.is_established else None


def study_keys(image: Dataset) -> Dataset:
    """Return the keys of the study that `image` is of."""
    keys = Dataset()
    keys.QueryRetrieveLevel, keys.StudyInstanceUID = "STUDY", image.StudyInstanceUID
    return keys


def without(image: Dataset, keyword: str) -> bytes:
    """Return the data set of `image` without one element."""
    copy = deepcopy(image)
    delattr(copy, keyword)
    written = BytesIO()
    # Checks nothing, unlike what writes files.
    dcmwrite(written, copy, implicit_vr=False, little_endian=True)
    content = written.getvalue()
    return content[content.index(b"\x08\x00\x05\x00CS") :]


def with_uid(image: Dataset, sop_instance_uid: str) -> Dataset:
    """Return a copy of `image` under another UID."""
    copy = deepcopy(image)
    copy.SOPInstanceUID = copy.file_meta.MediaStorageSOPInstanceUID = sop_instance_uid
    return copy


def send_at_once(
    pacs: RunningPacs,
    image: Dataset,
    data_sets: Mapping[str, bytes],
    folder: Path,
    *,
    while_waiting: Callable[[], object] = lambda: None,
    timeout_seconds: float = 3,
) -> dict[str, int | None]:
    """Send bytes in place of the data set of `image`, each over an association of its own, all at the same time.

    Return the statuses that came within the time; None without one.
    """
    file = encoded(image)
    head = file[: len(file) - len(data_set_of(file))]
    answers: dict[str, int | None] = {}

    def send(number: int, name: str, data_set: bytes) -> None:
        path = folder / f"{number}.dcm"
        path.write_bytes(head + data_set)
        with associated(pacs, [storage_context(image)], calling=f"BROKEN_{number}") as association:
            association.dimse_timeout = timeout_seconds
            answers[name] = association.send_c_store(path).get("Status")

    with pytest.MonkeyPatch.context() as patch:
        # What stands in the file goes out unread.
        patch.setattr(_config, "STORE_SEND_CHUNKED_DATASET", True)
        senders = [threading.Thread(target=send, args=(number, *each)) for number, each in enumerate(data_sets.items())]
        for sender in senders:
            sender.start()
        while_waiting()
        for sender in senders:
            sender.join()
    assert set(answers) == set(data_sets)
    return answers


def file_of(pacs: RunningPacs, image: Dataset) -> bytes:
    """Return the file that the archive keeps of an image."""
    (orthanc_id,) = pacs.archive.post_json("/tools/find", {"Level": "Instance", "Query": {"SOPInstanceUID": image.SOPInstanceUID}})
    return pacs.archive.get_bytes(f"/instances/{orthanc_id}/file")


def told(answer: httpx.Response) -> str:
    """Return the sentence in which a refusal is explained, as Orthanc or as our own problems have it."""
    problem = answer.json()
    return str(problem.get("detail") or problem.get("Details") or problem["Message"])


@contextmanager
def memory_peak(pid: int) -> Iterator[Callable[[], int]]:
    """Yield what tells by how many bytes a process's resident memory grew at most since now."""
    Path(f"/proc/{pid}/clear_refs").write_text("5")  # the peak begins anew
    start = _high_water_bytes(pid)
    yield lambda: _high_water_bytes(pid) - start


def _high_water_bytes(pid: int) -> int:
    status = Path(f"/proc/{pid}/status").read_text()
    return next(int(line.split()[1]) * 1024 for line in status.splitlines() if line.startswith("VmHWM"))
