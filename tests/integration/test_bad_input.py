"""A nasty world: broken files, strangers, bombs.

Each is told clearly; nothing that was there before is lost; the archive goes on.
"""

from __future__ import annotations

import socket
import time
from collections.abc import Callable, Iterator, Mapping
from contextlib import ExitStack
from http import HTTPStatus
from io import BytesIO
from pathlib import Path

import httpx
import pytest
from pydicom import Dataset, dcmread, dcmwrite
from pydicom.uid import UID, generate_uid
from pynetdicom import AE, build_context, evt
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
from fixtures.memory import memory_peak
from fixtures.ports import free_port
from fixtures.raw_stores import send_at_once, with_uid, without
from fixtures.running_pacs import RunningPacs
from fixtures.sample_images import stack_of
from fixtures.stations import associated, data_set_of, echo, register, store_all, study_keys
from fixtures.untouched import file_of, untouched
from pacs.associations import associate
from pacs.demo.syntaxes import encoded, write

BROKEN = broken_files()
SUCCESS = 0x0000
MEBIBYTE = 1024**2
# How much a refusal may cost: the request itself a few times over, and what Python needs to look at it.
REFUSAL_BYTES = 256 * MEBIBYTE
WORKSTATION = "BAD_WS"


@pytest.fixture(scope="module")
def before(pacs: RunningPacs) -> list[Dataset]:
    """Return images that were there before anything nasty happened; a workstation is registered too."""
    register(pacs, WORKSTATION, free_port())
    images = stack_of(3, PatientID="BEFORE", PatientName="ANTES^Nada se pierde")
    assert store_all(pacs, images) == [SUCCESS] * len(images)
    return images


@pytest.fixture
def unharmed(pacs: RunningPacs, before: list[Dataset]) -> Iterator[None]:
    """Check after the test that the archive answers on every way and holds what it held, no more and no less."""
    with untouched(pacs, before):
        yield


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


def test_file_without_preamble_gets_one(pacs: RunningPacs) -> None:
    """Some programs upload a data set with its meta information alone: it is kept, and comes back as a DICOM file."""
    (image,) = stack_of(1, PatientID="NO-PREAMBLE")
    bare = BytesIO()
    dcmwrite(bare, image)
    assert httpx.post(f"{pacs.url}/instances", content=bare.getvalue()).status_code == HTTPStatus.OK
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
def test_stranger_reads_nothing(
    pacs: RunningPacs, before: list[Dataset], service: str, model: UID, calling: str
) -> None:
    """An unregistered title, or one from another address than its own, gets not one answer; the log says why."""
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


@pytest.mark.parametrize(
    "words",
    [
        b"GET / HTTP/1.1\r\nHost: pacs\r\n\r\n",
        b"\x01\x00\xff\xff\xff\xff" + bytes(64),
        b"\x16\x03\x01\x02\x00\x01" + bytes(511),
    ],
)
@pytest.mark.usefixtures("unharmed")
def test_what_is_no_dicom_is_hung_up_on(pacs: RunningPacs, words: bytes) -> None:
    """A browser, an association of four gigabytes or a TLS client at the DICOM port keeps nobody else waiting."""
    with socket.create_connection(("127.0.0.1", pacs.dicom_port)) as stranger:
        stranger.sendall(words)
        assert echo(pacs) == SUCCESS


def test_connections_that_say_nothing_keep_nobody_waiting(pacs: RunningPacs) -> None:
    """A port scanner or hung modalities that connect and are silent do not stop the others."""
    with ExitStack() as silent:
        for _ in range(200):
            silent.enter_context(socket.create_connection(("127.0.0.1", pacs.dicom_port)))
        time.sleep(0.5)
        done = ask("echoscu", pacs, "-ta", "3", "-td", "3", "-to", "3")
    assert done.returncode == 0, done.stdout


def test_modality_that_takes_its_time_is_served(pacs: RunningPacs) -> None:
    """One that asks for its association late, and pauses within it, is waited for: 30 s, as Orthanc is set up."""
    entity = AE(ae_title="SLOW")
    entity.add_requested_context(Verification)
    asked_late = [(evt.EVT_CONN_OPEN, lambda _: time.sleep(6))]
    association = associate(entity, "127.0.0.1", pacs.dicom_port, ae_title=pacs.aet, evt_handlers=asked_late)
    time.sleep(6)
    assert association.send_c_echo().Status == SUCCESS
    association.release()


# --- bombs ---


@pytest.mark.parametrize(
    ("make", "headers", "words"),
    [
        (bombs.one_huge_member, {}, "times its size"),
        (bombs.many_large_members, {}, "times its size"),
        (bombs.gzip_body, {"Content-Encoding": "gzip"}, ""),
        (bombs.deflated_image, {}, ""),
    ],
    ids=["ZIP of one file", "ZIP of many files", "gzip", "deflated image"],
)
@pytest.mark.usefixtures("unharmed")
def test_bomb_is_refused_in_bounded_memory(
    pacs: RunningPacs, make: Callable[[], bytes], headers: Mapping[str, str], words: str
) -> None:
    """Ten megabytes that unpack to gigabytes are a refusal with words, and the memory for them is never taken."""
    body = make()
    with memory_peak(pacs.orthanc_pid()) as grown_bytes:
        answer = httpx.post(f"{pacs.url}/instances", content=body, headers=headers, timeout=60)
    assert HTTPStatus.BAD_REQUEST <= answer.status_code < HTTPStatus.INTERNAL_SERVER_ERROR
    assert told(answer)
    assert words in told(answer)
    assert grown_bytes() < REFUSAL_BYTES


def told(answer: httpx.Response) -> str:
    """Return the sentence in which a refusal is explained, as Orthanc or as our own problems have it."""
    problem = answer.json()
    return str(problem.get("detail") or problem.get("Details") or problem["Message"])
