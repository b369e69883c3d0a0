"""DICOM as pynetdicom's stations speak it: all services, every transfer syntax, several associations, broken ones."""

from __future__ import annotations

import itertools
import socket
import threading
from collections.abc import Iterator
from concurrent.futures import ThreadPoolExecutor

import pytest
from pydicom import Dataset
from pydicom.uid import (
    UID,
    CTImageStorage,
    ExplicitVRLittleEndian,
    HTJ2KLossless,
    JPEGBaseline8Bit,
    SecondaryCaptureImageStorage,
    generate_uid,
)
from pynetdicom import build_context, evt
from pynetdicom.association import Association
from pynetdicom.sop_class import (
    PatientRootQueryRetrieveInformationModelFind,
    StudyRootQueryRetrieveInformationModelFind,
    StudyRootQueryRetrieveInformationModelGet,
    StudyRootQueryRetrieveInformationModelMove,
    Verification,
)

from fixtures.running_pacs import RunningPacs
from fixtures.sample_images import SYNTAXES, image_in, stack_of, studies_to_find
from fixtures.stations import (
    Station,
    associated,
    encoded_data_set,
    find,
    keep_in,
    listening,
    register,
    storage_context,
    store,
    store_all,
    study_keys,
)

WORKSTATION = "PYNET_WS"
PATIENT_ROOT, STUDY_ROOT = PatientRootQueryRetrieveInformationModelFind, StudyRootQueryRetrieveInformationModelFind
SUCCESS = 0x0000
# PS3.8 9.3.8: source 0, the user.
A_ABORT = bytes.fromhex("07 00 00000004 00 00 00 00")
FRAGMENTS_BEFORE_CUT = 8
MODALITIES = 6
IMAGES_EACH = 15


@pytest.fixture(scope="module")
def workstation(pacs: RunningPacs) -> Iterator[Station]:
    """Return a registered workstation that takes every syntax, so that nothing need be converted."""
    contexts = [build_context(CTImageStorage, list(SYNTAXES)), build_context(SecondaryCaptureImageStorage)]
    with listening(WORKSTATION, contexts) as station:
        register(pacs, station.aet, station.port)
        yield station


@pytest.fixture(scope="module")
def patients(pacs: RunningPacs, workstation: Station) -> list[Dataset]:
    """Return the images of three patients that the archive holds, with a workstation that may search for them."""
    assert workstation.port
    instances = studies_to_find("SEEK")
    assert store_all(pacs, instances) == [SUCCESS] * len(instances)
    return instances


def test_archive_answers_echoes_of_several_stations_at_once(pacs: RunningPacs) -> None:
    """Twelve stations hold associations open at the same time and each is answered."""
    opened = threading.Barrier(12, timeout=30)

    def echo(number: int) -> int:
        with associated(pacs, [build_context(Verification)], calling=f"STATION_{number}") as association:
            opened.wait()
            return int(association.send_c_echo().Status)

    with ThreadPoolExecutor(12) as pool:
        assert list(pool.map(echo, range(12))) == [SUCCESS] * 12


@pytest.mark.parametrize("syntax", SYNTAXES, ids=lambda syntax: syntax.name)
@pytest.mark.usefixtures("workstation")
def test_image_is_fetched_with_the_bytes_that_were_sent(pacs: RunningPacs, syntax: UID) -> None:
    """C-STORE, then C-GET: the data set comes back byte by byte in every transfer syntax, proposed alone."""
    image = image_in(syntax, f"PYNET-{syntax}")
    assert store_all(pacs, [image]) == [SUCCESS]
    received: dict[str, bytes] = {}
    contexts = [storage_context(image), build_context(StudyRootQueryRetrieveInformationModelGet)]
    handlers = [(evt.EVT_C_STORE, keep_in(received))]
    with associated(pacs, contexts, calling=WORKSTATION, handlers=handlers, receives=[CTImageStorage]) as association:
        answers = list(association.send_c_get(study_keys(image), StudyRootQueryRetrieveInformationModelGet))
    assert answers[-1][0].Status == SUCCESS
    assert received == {image.SOPInstanceUID: encoded_data_set(image)}


@pytest.mark.parametrize("syntax", SYNTAXES, ids=lambda syntax: syntax.name)
def test_image_is_moved_with_the_bytes_that_were_sent(pacs: RunningPacs, workstation: Station, syntax: UID) -> None:
    """C-STORE, then C-MOVE to a workstation that takes the syntax: nothing is converted on the way."""
    image = image_in(syntax, f"PYNET-MOVE-{syntax}")
    assert store_all(pacs, [image]) == [SUCCESS]
    final = move(pacs, study_keys(image), WORKSTATION)
    assert (final.Status, final.NumberOfCompletedSuboperations, final.NumberOfFailedSuboperations) == (SUCCESS, 1, 0)
    assert workstation.received[image.SOPInstanceUID] == encoded_data_set(image)


def test_whole_study_is_moved(pacs: RunningPacs, patients: list[Dataset], workstation: Station) -> None:
    """C-MOVE of a study delivers all its series."""
    of_study = [each for each in patients if each.StudyInstanceUID == patients[-1].StudyInstanceUID]
    assert move(pacs, study_keys(patients[-1]), WORKSTATION).NumberOfCompletedSuboperations == len(of_study)
    for image in of_study:
        assert workstation.received[image.SOPInstanceUID] == encoded_data_set(image)


@pytest.mark.parametrize(
    ("model", "keys", "expected"),
    [
        (PATIENT_ROOT, ["PATIENT", "PatientID=SEEK-*"], ["PatientID", "SEEK-1", "SEEK-2", "SEEK-3"]),
        (PATIENT_ROOT, ["PATIENT", "PatientName=*ÇALVES*", "PatientID=SEEK*"], ["PatientID", "SEEK-3"]),
        (PATIENT_ROOT, ["STUDY", "PatientID=SEEK-1"], ["AccessionNumber", "SEEK-A1"]),
        (STUDY_ROOT, ["STUDY", "PatientName=MUÑ*", "PatientID=SEEK*"], ["PatientID", "SEEK-1"]),
        (STUDY_ROOT, ["STUDY", "StudyDate=20240201-", "PatientID=SEEK*"], ["StudyDate", "20240210", "20240310"]),
        (STUDY_ROOT, ["SERIES", "StudyInstanceUID={study}"], ["Modality", "SR", "US"]),
        (STUDY_ROOT, ["IMAGE", "StudyInstanceUID={study}"], ["InstanceNumber", 1, 1, 2]),
        (STUDY_ROOT, ["STUDY", "PatientID=SEEK-NOBODY"], ["PatientID"]),
    ],
    ids=str,
)
def test_search_answers_at_each_level(
    pacs: RunningPacs, patients: list[Dataset], model: UID, keys: list[str], expected: list[object]
) -> None:
    """Both information models answer at their levels, and what was asked for stands in the answers."""
    level, *constraints = keys
    asked, *values = expected
    question = Dataset()
    question.SpecificCharacterSet, question.QueryRetrieveLevel = "ISO_IR 192", level
    setattr(question, str(asked), None)
    for constraint in constraints:
        keyword, value = constraint.split("=")
        setattr(question, keyword, value.format(study=patients[-1].StudyInstanceUID))
    with associated(pacs, [build_context(model)], calling=WORKSTATION) as association:
        answers, status = find(association, question, model)
    assert status == SUCCESS
    assert sorted(answer[asked].value for answer in answers) == values


def test_modalities_that_send_at_once_lose_nothing(pacs: RunningPacs) -> None:
    """Several modalities store into one study at the same time: all of it is there, each image once."""
    stacks = [
        stack_of(IMAGES_EACH, PatientID="PYNET-PARALLEL", SeriesNumber=number) for number in range(1, MODALITIES + 1)
    ]
    for stack in stacks:
        series_instance_uid = generate_uid()
        for image in stack:
            image.StudyInstanceUID, image.SeriesInstanceUID = stacks[0][0].StudyInstanceUID, series_instance_uid
    with ThreadPoolExecutor(MODALITIES) as pool:
        statuses = [status for batch in pool.map(lambda stack: store_all(pacs, stack), stacks) for status in batch]
    assert statuses == [SUCCESS] * MODALITIES * IMAGES_EACH
    assert kept_of_patient(pacs, "PYNET-PARALLEL") == {image.SOPInstanceUID for stack in stacks for image in stack}


def test_image_that_is_sent_twice_is_stored_once_and_stays_the_first(pacs: RunningPacs) -> None:
    """A modality that repeats itself is told success; another image under the same UID does not replace the first."""
    (image,) = stack_of(1, PatientID="PYNET-TWICE")
    kept = encoded_data_set(image)
    assert store_all(pacs, [image, image]) == [SUCCESS, SUCCESS]
    image.PixelData = bytes(len(image.PixelData))
    store_all(pacs, [image])
    (orthanc_id,) = pacs.archive.post_json(
        "/tools/find", {"Level": "Instance", "Query": {"SOPInstanceUID": image.SOPInstanceUID}}
    )
    assert pacs.archive.get_bytes(f"/instances/{orthanc_id}/file").endswith(kept)


@pytest.mark.parametrize("farewell", [b"", A_ABORT], ids=["cable pulled", "A-ABORT"])
def test_association_that_breaks_in_the_middle_of_an_image_leaves_nothing_half(
    pacs: RunningPacs, farewell: bytes
) -> None:
    """Cut off within a C-STORE, the archive keeps what it acknowledged before, nothing of the rest, and goes on."""
    patient_id = f"PYNET-CUT-{len(farewell)}"
    before, beside, cut = stack_of(3, PatientID=patient_id)
    cut.Rows = cut.Columns = 512
    cut.PixelData *= 64
    with associated(pacs, [storage_context(beside)]) as steady:
        with associated(pacs, [storage_context(cut)]) as association:
            assert store(association, before) == SUCCESS
            cut_off_in_next_message(association, farewell)
            assert store(association, cut) is None
        assert store(steady, beside) == SUCCESS
    assert kept_of_patient(pacs, patient_id) == {before.SOPInstanceUID, beside.SOPInstanceUID}
    assert store_all(pacs, [cut]) == [SUCCESS]
    assert kept_of_patient(pacs, patient_id) == {before.SOPInstanceUID, beside.SOPInstanceUID, cut.SOPInstanceUID}


def test_proposal_that_the_archive_can_not_take_is_refused_by_context(pacs: RunningPacs) -> None:
    """A context of syntaxes that Orthanc does not know is refused, its neighbor accepted, before anything is sent."""
    unknown = build_context(CTImageStorage, [HTJ2KLossless, "1.2.3.4.5"])
    known = build_context(SecondaryCaptureImageStorage, [ExplicitVRLittleEndian, JPEGBaseline8Bit])
    with associated(pacs, [unknown, known]) as association:
        assert [context.abstract_syntax for context in association.rejected_contexts] == [CTImageStorage]
        assert [context.abstract_syntax for context in association.accepted_contexts] == [SecondaryCaptureImageStorage]


def move(pacs: RunningPacs, keys: Dataset, destination: str) -> Dataset:
    """Have the archive send to `destination` and return its final answer."""
    model = StudyRootQueryRetrieveInformationModelMove
    with associated(pacs, [build_context(model)], calling=WORKSTATION) as association:
        answers = list(association.send_c_move(keys, destination, model))
    final: Dataset = answers[-1][0]
    return final


def kept_of_patient(pacs: RunningPacs, patient_id: str) -> set[str]:
    """Return the SOP Instance UIDs that the archive keeps of a patient, making sure that each is kept once."""
    query = {"Level": "Instance", "Query": {"PatientID": patient_id}, "Expand": True}
    kept = [each["MainDicomTags"]["SOPInstanceUID"] for each in pacs.archive.post_json("/tools/find", query)]
    assert len(kept) == len(set(kept))
    return set(kept)


def cut_off_in_next_message(association: Association, farewell: bytes) -> None:
    """End the connection after some fragments of the next message, with or without a last word."""
    fragments = itertools.count(1)
    connection = association.dul.socket.socket

    def count(_: evt.Event) -> None:
        if next(fragments) == FRAGMENTS_BEFORE_CUT:
            connection.sendall(farewell)
            connection.shutdown(socket.SHUT_RDWR)

    association.bind(evt.EVT_PDU_SENT, count)
