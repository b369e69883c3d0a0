"""From the order to the report, in the running archive: modality, images, MPPS, and what other systems are told."""

from __future__ import annotations

import json
import os
import signal
import threading
import time
from collections.abc import Callable, Iterator
from pathlib import Path

import pytest
from pydicom import Dataset
from pydicom.uid import UID, EncapsulatedPDFStorage, generate_uid
from pynetdicom import AE, build_context, evt
from pynetdicom.sop_class import (
    InstanceAvailabilityNotification,
    ModalityPerformedProcedureStep,
    StorageCommitmentPushModel,
    Verification,
)

from fixtures.fictitious_studies import dicom_image
from fixtures.hospital_system import HospitalSystem, field_of, hospital_system
from fixtures.performed_steps import MODALITY, begun, change, create, ended, modality, reference
from fixtures.ports import free_port
from fixtures.running_pacs import RunningPacs, running, start
from fixtures.stations import register, store_all, wait_for_port
from fixtures.worklist_entries import database_of, entry
from pacs.associations import associate
from pacs.worklist.statuses import StepStatus
from pacs.worklist.steps import StepSelector, Version
from pacs.worklist.worklist import Worklist

SUCCESS = 0x0000
RIS = "RIS1"


class Ris:
    """Another system that takes reports of steps and notifications of available images."""

    def __init__(self) -> None:
        self.port = free_port()
        self.created: list[tuple[str, str, Dataset]] = []
        self.changed: list[tuple[str, Dataset]] = []
        entity = AE(ae_title=RIS)
        entity.add_supported_context(ModalityPerformedProcedureStep)
        entity.add_supported_context(InstanceAvailabilityNotification)
        handlers = [(evt.EVT_N_CREATE, self._create), (evt.EVT_N_SET, self._change)]
        self.server = entity.start_server(("127.0.0.1", self.port), block=False, evt_handlers=handlers)

    def notified(self, order: dict[str, str]) -> list[Dataset]:
        """Return the notifications of an order's study that came."""
        notices = [step for sop_class, _, step in self.created if sop_class == InstanceAvailabilityNotification]
        return [notice for notice in notices if notice.StudyInstanceUID == order["StudyInstanceUID"]]

    def _create(self, event: evt.Event) -> tuple[int, Dataset]:
        request = event.request
        self.created.append((request.AffectedSOPClassUID, request.AffectedSOPInstanceUID, event.attribute_list))
        return SUCCESS, Dataset()

    def _change(self, event: evt.Event) -> tuple[int, Dataset]:
        self.changed.append((event.request.RequestedSOPInstanceUID, event.modification_list))
        return SUCCESS, Dataset()


@pytest.fixture(scope="module")
def system() -> Iterator[HospitalSystem]:
    """Run the hospital's system."""
    with hospital_system() as started:
        yield started


@pytest.fixture(scope="module")
def ris() -> Iterator[Ris]:
    """Run the other system."""
    started = Ris()
    yield started
    started.server.shutdown()


@pytest.fixture(scope="module")
def archive(tmp_path_factory: pytest.TempPathFactory, system: HospitalSystem, ris: Ris) -> Iterator[RunningPacs]:
    """Run an archive that tells both of them, with the modality registered."""
    folder = tmp_path_factory.mktemp("steps")
    destination = {"Host": "127.0.0.1", "Port": system.port, "Message": "ORM_O01"}
    mpps = {"ForwardTo": [RIS], "NotifyAvailabilityTo": [RIS]}
    settings = {"Pacs": {"Mpps": mpps, "Outbound": {"Destinations": {"his": destination}}}}
    (folder / "settings.json").write_text(json.dumps(settings))
    with running(folder) as started:
        register(started, MODALITY, free_port())
        register(started, RIS, ris.port)
        time.sleep(2.5)  # the list of stations is asked for again
        yield started


@pytest.fixture
def order(archive: RunningPacs, request: pytest.FixtureRequest) -> dict[str, str]:
    """Enter an order of its own for each test; return what names it."""
    number = abs(hash(request.node.name)) % 10**10
    named = {
        "AccessionNumber": f"A{number}",
        "PatientID": f"P{number}",
        "StudyInstanceUID": f"2.25.{number}",
        "RequestedProcedureID": f"R{number}",
        "ScheduledProcedureStepID": f"S{number}",
    }
    with database_of(archive.data_directory) as database, database.session(write=True) as session:
        # Another process enters it: this archive's listeners are not told.
        Worklist(database).upsert(session, [entry(**named)], version=Version("20260301080000", 1), actor="test")
    return named


def status_of(archive: RunningPacs, order: dict[str, str]) -> StepStatus:
    """Return the status of the order's step."""
    with database_of(archive.data_directory) as database, database.session() as session:
        which = StepSelector(step_id=order["ScheduledProcedureStepID"])
        (step,) = Worklist(database).select(session, which)
    return step.status


def events_of(system: HospitalSystem, order: dict[str, str]) -> list[tuple[str, str]]:
    """Return message type and event of what the hospital's system was told of an order, in order."""
    return [
        (field_of(message, b"MSH", 9).split("^")[0], field_of(message, b"ORC", 16).split("^")[0])
        for message in system.received
        if field_of(message, b"OBR", 18) == order["AccessionNumber"]
    ]


def image_of(order: dict[str, str], **attributes: object) -> Dataset:
    """Return an image of an order."""
    named = {key: order[key] for key in ("AccessionNumber", "PatientID", "StudyInstanceUID")}
    return dicom_image(**named, **attributes)


def scheduled(order: dict[str, str]) -> Dataset:
    """Return the item by which a modality names the order."""
    names = ("AccessionNumber", "StudyInstanceUID", "RequestedProcedureID", "ScheduledProcedureStepID")
    return reference(**{name: order[name] for name in names})


def test_step_with_mpps_is_told_from_begin_to_study(
    archive: RunningPacs, system: HospitalSystem, ris: Ris, order: dict[str, str]
) -> None:
    """MPPS begins, images come, MPPS ends: the worklist follows, the HIS is told each step once, the RIS all of it."""
    with modality(archive.mpps_port) as association:
        step = begun(ScheduledStepAttributesSequence=[scheduled(order)], PatientID=order["PatientID"])
        code, uid = create(association, step)
        assert code == SUCCESS
        assert status_of(archive, order) is StepStatus.STARTED
        image = image_of(order)
        assert store_all(archive, [image]) == [SUCCESS]
        wait_until(lambda: ("ORU", "STUDY AVAILABLE") in events_of(system, order))
        # The study is stable, but the modality says that it goes on.
        assert status_of(archive, order) is StepStatus.STARTED
        assert change(association, ended(), uid).Status == SUCCESS
    assert status_of(archive, order) is StepStatus.COMPLETED
    wait_until(lambda: len(events_of(system, order)) == 3)
    assert events_of(system, order) == [("ORM", "STARTED"), ("ORU", "STUDY AVAILABLE"), ("ORM", "COMPLETED")]
    wait_until(lambda: uid in [changed for changed, _ in ris.changed])
    (forwarded,) = [each for _, created, each in ris.created if created == uid]
    assert str(forwarded.PatientName) == str(step.PatientName)
    # Told by another thread than the reports.
    wait_until(lambda: bool(ris.notified(order)))
    (notice,) = ris.notified(order)
    (series,) = notice.ReferencedSeriesSequence
    (instance,) = series.ReferencedSOPSequence
    assert instance.ReferencedSOPInstanceUID == image.SOPInstanceUID
    assert (instance.InstanceAvailability, instance.RetrieveAETitle) == ("ONLINE", archive.aet)
    assert notice.ReferencedPerformedProcedureStepSequence[0].ReferencedSOPInstanceUID == uid


def test_step_without_mpps_follows_its_images(
    archive: RunningPacs, system: HospitalSystem, order: dict[str, str]
) -> None:
    """The first image starts the step, a study that gets no more completes it; the HIS has a link to open it."""
    assert store_all(archive, [image_of(order)]) == [SUCCESS]
    wait_until(lambda: status_of(archive, order) is StepStatus.COMPLETED)
    wait_until(lambda: len(events_of(system, order)) == 3)
    assert events_of(system, order) == [("ORM", "STARTED"), ("ORM", "COMPLETED"), ("ORU", "STUDY AVAILABLE")]
    told = [message for message in system.received if field_of(message, b"OBR", 18) == order["AccessionNumber"]]
    link = f"http://127.0.0.1:{archive.http_port}/ohif/viewer?StudyInstanceUIDs={order['StudyInstanceUID']}"
    assert f"|1|{link}^PACS^AP^URL|".encode() in told[-1]


def test_images_of_another_patient_move_nothing(
    archive: RunningPacs, system: HospitalSystem, order: dict[str, str]
) -> None:
    """Images with the order's numbers and another patient's identifier: no progress, and nobody is told of them."""
    assert store_all(archive, [image_of({**order, "PatientID": "SOMEONE-ELSE"})]) == [SUCCESS]
    time.sleep(7)
    assert status_of(archive, order) is StepStatus.SCHEDULED
    assert events_of(system, order) == []


def test_images_without_an_order_are_told_of(archive: RunningPacs, system: HospitalSystem) -> None:
    """A study that nobody ordered is available all the same, under its own identity."""
    image = dicom_image(AccessionNumber="UNORDERED", PatientID="P-UNORDERED")
    assert store_all(archive, [image]) == [SUCCESS]
    wait_until(lambda: events_of(system, {"AccessionNumber": "UNORDERED"}) == [("ORU", "STUDY AVAILABLE")])


def test_report_that_is_stored_is_told_of(archive: RunningPacs, system: HospitalSystem, order: dict[str, str]) -> None:
    """A report as PDF, signed: the HIS learns of it as final."""
    report = image_of(order, Modality="DOC", SOPClassUID=EncapsulatedPDFStorage, VerificationFlag="VERIFIED")
    for keyword in ("Rows", "Columns", "PixelData", "SamplesPerPixel", "PhotometricInterpretation"):
        delattr(report, keyword)
    for keyword in ("BitsAllocated", "BitsStored", "HighBit", "PixelRepresentation"):
        delattr(report, keyword)
    report.EncapsulatedDocument, report.MIMETypeOfEncapsulatedDocument = b"%PDF-1.7\n", "application/pdf"
    report.file_meta.MediaStorageSOPClassUID = EncapsulatedPDFStorage
    assert store_all(archive, [report]) == [SUCCESS]
    wait_until(lambda: ("ORU", "REPORT STORED") in events_of(system, order))
    (told,) = [
        each for each in system.received if f"|{order['AccessionNumber']}|".encode() in each and b"REPORT" in each
    ]
    assert field_of(told, b"OBR", 25) == "F"
    # A document is no image of a CT: the step is still to be done.
    assert status_of(archive, order) is StepStatus.SCHEDULED


def test_archive_ends_in_time_with_modalities_connected(tmp_path: Path) -> None:
    """Asked to end while a modality holds an association, the archive's threads end in time."""
    pacs = start(tmp_path)
    register(pacs, MODALITY, free_port())
    with modality(pacs.mpps_port) as association:
        assert association.is_established
        assert pacs.stop() == 0
    assert "Threads still at work" not in pacs.log()


def test_strangers_report_is_refused(archive: RunningPacs, order: dict[str, str]) -> None:
    """Who is not on the page of AEs reports nothing here."""
    with modality(archive.mpps_port, calling="STRANGER") as association:
        assert association.send_c_echo().Status == SUCCESS
        assert create(association, begun(ScheduledStepAttributesSequence=[scheduled(order)]))[0] == 0x0124


def test_report_outlives_the_death_of_orthanc(tmp_path: Path) -> None:
    """What was answered with success is there after kill -9, and the step goes on where it was."""
    with running(tmp_path) as pacs:
        register(pacs, MODALITY, free_port())
        with modality(pacs.mpps_port) as association:
            code, uid = create(association, begun())
            assert code == SUCCESS
            os.kill(pacs.orthanc_pid(), signal.SIGKILL)
        wait_until(lambda: _answers(pacs), 60)
        wait_for_port(pacs.mpps_port)
        with modality(pacs.mpps_port) as association:
            assert create(association, begun(), uid)[0] == 0x0111
            assert change(association, ended(), uid).Status == SUCCESS


def test_storage_is_committed_to_the_modality_that_asks(archive: RunningPacs) -> None:
    """N-ACTION for an image that is here and one that is not: the N-EVENT-REPORT tells both apart (PS3.4 J)."""
    image = dicom_image()
    assert store_all(archive, [image]) == [SUCCESS]
    told: list[Dataset] = []
    came = threading.Event()

    def take(event: evt.Event) -> int:
        told.append(event.event_information)
        came.set()
        return SUCCESS

    entity, port = AE(ae_title="COMMIT1"), free_port()
    entity.add_supported_context(StorageCommitmentPushModel, scu_role=True, scp_role=True)
    entity.add_supported_context(Verification)
    handlers = [(evt.EVT_N_EVENT_REPORT, lambda event: (take(event), None))]
    server = entity.start_server(("127.0.0.1", port), block=False, evt_handlers=handlers)
    register(archive, "COMMIT1", port)
    request, transaction = Dataset(), generate_uid()
    request.TransactionUID = transaction
    request.ReferencedSOPSequence = [_sop(image.SOPInstanceUID), _sop(generate_uid())]
    contexts = [build_context(StorageCommitmentPushModel)]
    association = associate(entity, "127.0.0.1", archive.dicom_port, ae_title=archive.aet, contexts=contexts)
    status, _ = association.send_n_action(request, 1, StorageCommitmentPushModel, UID("1.2.840.10008.1.20.1.1"))
    association.release()
    try:
        assert status.Status == SUCCESS
        assert came.wait(30)
    finally:
        server.shutdown()
    (result,) = told
    assert result.TransactionUID == transaction
    assert [each.ReferencedSOPInstanceUID for each in result.ReferencedSOPSequence] == [image.SOPInstanceUID]
    assert len(result.FailedSOPSequence) == 1


def _sop(sop_instance_uid: str) -> Dataset:
    item = Dataset()
    item.ReferencedSOPClassUID, item.ReferencedSOPInstanceUID = dicom_image().SOPClassUID, sop_instance_uid
    return item


def _answers(pacs: RunningPacs) -> bool:
    try:
        return pacs.alive()
    except Exception:  # noqa: BLE001 (whatever it is, it does not answer)
        return False


def wait_until(condition: Callable[[], bool], timeout_seconds: float = 40) -> None:
    """Wait for something to become true."""
    deadline = time.monotonic() + timeout_seconds
    while not condition():
        assert time.monotonic() < deadline, "it did not happen in time"
        time.sleep(0.1)
