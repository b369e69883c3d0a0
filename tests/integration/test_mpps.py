"""MPPS as modalities use it: reports by DICOM, durable before they are answered, and the worklist that follows them."""

from __future__ import annotations

import socket
import time
from collections.abc import Iterator
from concurrent.futures import ThreadPoolExecutor

import pytest
from pydicom import Dataset
from pydicom.uid import generate_uid
from pynetdicom.sop_class import ModalityPerformedProcedureStepRetrieve

from fixtures import dcmtk
from fixtures.performed_steps import (
    MODALITY,
    Service,
    begun,
    change,
    create,
    ended,
    modality,
    reference,
    serving,
    status_in,
)
from fixtures.worklist_entries import enter, entry
from pacs.database import Database
from pacs.worklist.statuses import StepStatus
from pacs.worklist.worklist import Worklist

pytest_plugins = ("fixtures.postgresql", "fixtures.databases")
SUCCESS = 0x0000


@pytest.fixture
def worklist(database: Database) -> Worklist:
    """Return a worklist with one step, SPS-1 of accession A-1 and patient P-1."""
    return enter(database, entry())


@pytest.fixture
def service(database: Database, worklist: Worklist) -> Iterator[Service]:
    """Run the service."""
    with serving(worklist, database) as running:
        yield running


@pytest.mark.parametrize(("end", "status"), [("COMPLETED", "COMPLETED"), ("DISCONTINUED", "DISCONTINUED")])
def test_worklist_follows_a_step_from_begin_to_end(
    database: Database, worklist: Worklist, service: Service, end: str, status: str
) -> None:
    """IN PROGRESS makes the scheduled step STARTED, its end COMPLETED or DISCONTINUED, with who said so."""
    with modality(service.port) as association:
        code, uid = create(association, begun())
        assert code == SUCCESS
        assert status_in(database, worklist) is StepStatus.STARTED
        assert change(association, ended(end), uid).Status == SUCCESS
    assert status_in(database, worklist) == status
    with database.session() as session:
        (step,) = worklist.page(session)
        history = worklist.get(session, step.id).history
    assert [event.actor for event in history] == ["test", f"mpps:{MODALITY}", f"mpps:{MODALITY}"]
    assert history[-1].detail["performed_step"] == uid


def test_what_was_reported_can_be_read_back(service: Service) -> None:
    """N-GET returns what N-CREATE and N-SET said, letter by letter, though each spoke another character set."""
    with modality(service.port) as association:
        _, uid = create(association, begun())
        change(association, ended(PerformedProcedureStepDescription="Año"), uid)
        status, step = association.send_n_get([], ModalityPerformedProcedureStepRetrieve, uid)
    assert status.Status == SUCCESS
    assert step is not None
    assert str(step.PatientName) == "FICTICIO^Paciente Ñandú"
    assert step.PerformedProcedureStepDescription == "Año"
    assert step.PerformedSeriesSequence[0].ProtocolName == "Tórax"


@pytest.mark.parametrize(
    ("attributes", "status"),
    [
        ({"PerformedProcedureStepStatus": None}, 0x0120),
        ({"PerformedProcedureStepStatus": ""}, 0x0121),
        ({"PerformedProcedureStepStatus": "COMPLETED"}, 0x0106),
        ({"PerformedProcedureStepStatus": "STARTED"}, 0x0106),
        ({"ScheduledStepAttributesSequence": None}, 0x0120),
        ({"ScheduledStepAttributesSequence": []}, 0x0121),
        ({"ScheduledStepAttributesSequence": [Dataset()]}, 0x0120),
        ({"ScheduledStepAttributesSequence": [reference(StudyInstanceUID="")]}, 0x0121),
        ({"PerformedProcedureStepID": ""}, 0x0121),
        ({"PerformedStationAETitle": None}, 0x0120),
        ({"PerformedProcedureStepStartDate": ""}, 0x0121),
        ({"PerformedProcedureStepStartTime": None}, 0x0120),
        ({"Modality": ""}, 0x0121),
    ],
)
def test_report_without_what_it_must_hold_is_refused(
    database: Database, worklist: Worklist, service: Service, attributes: dict[str, object], status: int
) -> None:
    """PS3.4 table F.7.2-1: each fault has its status, and nothing of it was taken."""
    with modality(service.port) as association:
        assert create(association, begun(**attributes))[0] == status
    assert status_in(database, worklist) is StepStatus.SCHEDULED


@pytest.mark.parametrize(
    ("attributes", "status"),
    [
        ({"PerformedProcedureStepEndDate": None}, 0x0121),
        ({"PerformedProcedureStepEndTime": ""}, 0x0121),
        ({"PerformedSeriesSequence": []}, 0x0120),
        ({"PerformedSeriesSequence": [Dataset()]}, 0x0120),
        ({"PerformedProcedureStepStatus": "DONE"}, 0x0106),
    ],
)
def test_end_without_what_it_must_hold_is_refused(
    database: Database, worklist: Worklist, service: Service, attributes: dict[str, object], status: int
) -> None:
    """A step does not end without its time and its series; it goes on until it ends rightly."""
    with modality(service.port) as association:
        _, uid = create(association, begun())
        assert change(association, ended(**attributes), uid).Status == status
        assert status_in(database, worklist) is StepStatus.STARTED
        assert change(association, ended(), uid).Status == SUCCESS
    assert status_in(database, worklist) is StepStatus.COMPLETED


def test_step_that_was_broken_off_needs_no_series(database: Database, worklist: Worklist, service: Service) -> None:
    """Nothing was acquired: DISCONTINUED is taken all the same."""
    with modality(service.port) as association:
        _, uid = create(association, begun())
        assert change(association, ended("DISCONTINUED", PerformedSeriesSequence=[]), uid).Status == SUCCESS
    assert status_in(database, worklist) is StepStatus.DISCONTINUED


def test_step_that_ended_is_not_updated(database: Database, worklist: Worklist, service: Service) -> None:
    """PS3.4 F.7.2.2.2: status 0110 with error A710, and the end stays."""
    with modality(service.port) as association:
        _, uid = create(association, begun())
        change(association, ended(), uid)
        answer = change(association, ended("DISCONTINUED"), uid)
    assert (answer.Status, answer.ErrorID) == (0x0110, 0xA710)
    assert status_in(database, worklist) is StepStatus.COMPLETED


def test_second_step_of_the_same_uid_is_refused(service: Service) -> None:
    """A SOP Instance UID names one step: 0111. So does one that was never created: 0112."""
    with modality(service.port) as association:
        _, uid = create(association, begun())
        assert create(association, begun(), uid)[0] == 0x0111
        assert change(association, ended(), str(generate_uid())).Status == 0x0112


def test_patient_can_not_be_changed_by_an_end(service: Service) -> None:
    """What N-SET may not change stays, and the modality is told (warning 0107); the rest is taken."""
    with modality(service.port) as association:
        _, uid = create(association, begun())
        answer = change(association, ended(PatientID="P-2", Modality="CT"), uid)
    assert answer.Status == 0x0107
    assert answer.ErrorComment == "Not changed: PatientID"
    assert service.steps.get(uid).PatientID == "P-1"
    assert service.steps.get(uid).PerformedProcedureStepStatus == "COMPLETED"


def test_step_of_another_patient_moves_nothing(database: Database, worklist: Worklist, service: Service) -> None:
    """An MPPS that names the order of one patient and the identifier of another is kept, and changes no step."""
    with modality(service.port) as association:
        assert create(association, begun(PatientID="P-2"))[0] == SUCCESS
    assert status_in(database, worklist) is StepStatus.SCHEDULED


def test_modality_without_the_study_uid_is_matched_by_accession(
    database: Database, worklist: Worklist, service: Service
) -> None:
    """Some modalities make a Study Instance UID of their own: accession, step and patient name the step then."""
    item = reference(StudyInstanceUID="2.25.99", AccessionNumber="A-1", ScheduledProcedureStepID="SPS-1")
    with modality(service.port) as association:
        assert create(association, begun(ScheduledStepAttributesSequence=[item]))[0] == SUCCESS
    assert status_in(database, worklist) is StepStatus.STARTED


def test_unscheduled_step_is_taken_and_moves_nothing(database: Database, worklist: Worklist, service: Service) -> None:
    """An emergency without an order is reported too; it is nobody else's progress."""
    item = reference(StudyInstanceUID="2.25.98", AccessionNumber="", ScheduledProcedureStepID="")
    with modality(service.port) as association:
        code, uid = create(association, begun(ScheduledStepAttributesSequence=[item], PatientID=""))
        assert code == SUCCESS
        assert change(association, ended(), uid).Status == SUCCESS
    assert status_in(database, worklist) is StepStatus.SCHEDULED


def test_order_that_comes_after_its_step_began_is_found_at_the_end(
    database: Database, worklist: Worklist, service: Service
) -> None:
    """In an emergency the order follows the examination: its end finds it."""
    item = reference(StudyInstanceUID="2.25.7", ScheduledProcedureStepID="SPS-7")
    with modality(service.port) as association:
        _, uid = create(association, begun(ScheduledStepAttributesSequence=[item]))
        enter(
            database,
            entry(
                AccessionNumber="A-7",
                StudyInstanceUID="2.25.7",
                ScheduledProcedureStepID="SPS-7",
                RequestedProcedureID="RP-7",
            ),
        )
        change(association, ended(), uid)
    assert status_in(database, worklist, step_id="SPS-7") is StepStatus.COMPLETED


def test_group_case_ends_all_its_steps(database: Database, worklist: Worklist, service: Service) -> None:
    """One performed step of two scheduled ones (PS3.17 F): both begin and end with it."""
    enter(database, entry(ScheduledProcedureStepID="SPS-2"))
    items = [reference(ScheduledProcedureStepID=step_id) for step_id in ("SPS-1", "SPS-2")]
    with modality(service.port) as association:
        _, uid = create(association, begun(ScheduledStepAttributesSequence=items))
        assert status_in(database, worklist, step_id="SPS-2") is StepStatus.STARTED
        change(association, ended(), uid)
    statuses = [status_in(database, worklist, step_id=step_id) for step_id in ("SPS-1", "SPS-2")]
    assert statuses == [StepStatus.COMPLETED, StepStatus.COMPLETED]


def test_step_done_in_two_parts_is_completed_with_the_last(
    database: Database, worklist: Worklist, service: Service
) -> None:
    """Two performed steps of one scheduled one: started as long as one goes on, completed though one was broken off."""
    with modality(service.port) as association:
        _, first = create(association, begun())
        _, second = create(association, begun(PerformedProcedureStepID="PPS-2"))
        change(association, ended(), first)
        assert status_in(database, worklist) is StepStatus.STARTED
        change(association, ended("DISCONTINUED"), second)
    assert status_in(database, worklist) is StepStatus.COMPLETED


def test_wrong_worklist_entry_goes_back_to_scheduled(database: Database, worklist: Worklist, service: Service) -> None:
    """DISCONTINUED because the wrong entry was picked (110514): this patient is still to be examined."""
    reason = Dataset()
    reason.CodeValue, reason.CodingSchemeDesignator = "110514", "DCM"
    reason.CodeMeaning = "Incorrect worklist entry selected"
    with modality(service.port) as association:
        _, uid = create(association, begun())
        end = ended("DISCONTINUED", PerformedProcedureStepDiscontinuationReasonCodeSequence=[reason])
        assert change(association, end, uid).Status == SUCCESS
    assert status_in(database, worklist) is StepStatus.SCHEDULED


def test_stranger_is_echoed_and_refused(database: Database, worklist: Worklist, service: Service) -> None:
    """Who is not registered gets an answer to its echo and none of its reports taken (0124)."""
    with modality(service.port, calling="STRANGER") as association:
        assert association.send_c_echo().Status == SUCCESS
        assert create(association, begun())[0] == 0x0124
    assert status_in(database, worklist) is StepStatus.SCHEDULED


def test_registered_title_from_another_address_is_refused(service: Service) -> None:
    """An AE title is no secret: it counts from its own address alone."""
    service.archive.answers["/modalities?expand"]["ct"]["Host"] = "192.0.2.7"
    with modality(service.port) as association:
        assert create(association, begun())[0] == 0x0124


def test_station_without_rights_is_refused(service: Service) -> None:
    """A peer that comes by TLS alone stands in the list with its address and no right."""
    service.archive.answers["/modalities?expand"]["ct"] |= {"AllowEcho": False, "AllowStore": False}
    with modality(service.port) as association:
        assert create(association, begun())[0] == 0x0124


def test_other_called_title_is_rejected(service: Service) -> None:
    """A modality configured for another MPPS service does not report here."""
    # pynetdicom calls an association aborted whose rejection came too soon for it.
    done = dcmtk.run("echoscu", "-aet", MODALITY, "-aec", "OTHER", "127.0.0.1", str(service.port))
    assert "Called AE Title Not Recognized" in done.stdout


def test_orthanc_that_can_not_answer_is_no_reason_to_lose_a_report(service: Service) -> None:
    """While nobody can tell who is registered, the modality is told to try again, and nothing is taken."""
    service.archive.broken = True
    with modality(service.port) as association:
        code, uid = create(association, begun())
        assert code == 0x0110
        service.archive.broken = False
        assert create(association, begun(), uid)[0] == SUCCESS


def test_many_modalities_report_at_once(service: Service) -> None:
    """Twelve modalities, each with a step from begin to end, at the same time: every one is answered."""

    def examine(number: int) -> list[int | None]:
        item = reference(StudyInstanceUID=f"2.25.5{number}")
        with modality(service.port) as association:
            code, uid = create(association, begun(ScheduledStepAttributesSequence=[item]))
            return [code, change(association, ended(), uid).Status]

    with ThreadPoolExecutor(12) as pool:
        assert list(pool.map(examine, range(12))) == [[SUCCESS, SUCCESS]] * 12


@pytest.mark.parametrize(
    "noise",
    [
        b"GET / HTTP/1.1\r\n\r\n",
        b"\x01\x00\xff\xff\xff\xff" + bytes(1000),
        b"\x01\x00\x00\x00\x00\x10",
        b"\x04\x00\x7f\xff\xff\xff",
        bytes(4096),
    ],
)
def test_noise_on_the_port_disturbs_nobody(service: Service, noise: bytes) -> None:
    """HTTP, absurd lengths, half a packet: others are served meanwhile."""
    with socket.create_connection(("127.0.0.1", service.port)) as connection:
        connection.sendall(noise)
        with modality(service.port) as association:
            assert create(association, begun())[0] == SUCCESS


def test_service_ends_in_time_with_associations_open(service: Service) -> None:
    """Asked to stop, it is gone within 5 s, though modalities hold associations and one is silent."""
    with socket.create_connection(("127.0.0.1", service.port)), modality(service.port) as association:
        create(association, begun())
        asked = time.monotonic()
        service.end()
        assert time.monotonic() - asked < 5
        while not association.is_aborted:
            assert time.monotonic() - asked < 15
            time.sleep(0.05)
    with pytest.raises(ConnectionRefusedError):
        socket.create_connection(("127.0.0.1", service.port))
