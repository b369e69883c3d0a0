"""Reports of steps handed on to another system by DICOM: every one, in order, whatever it answers at first."""

from __future__ import annotations

import threading
import time
from collections.abc import Callable, Iterator
from contextlib import contextmanager

import pytest
from pydicom import Dataset
from pydicom.uid import generate_uid
from pynetdicom import AE, evt
from pynetdicom.sop_class import ModalityPerformedProcedureStep

from fakes.archive import MemoryArchive
from fixtures.performed_steps import MODALITY, begun, ended
from fixtures.ports import free_port
from fixtures.worklist_entries import enter, entry
from pacs.database import Database
from pacs.mpps import forwarding
from pacs.mpps.faults import MppsFault
from pacs.mpps.reports import Report, ReportKind, written
from pacs.mpps.steps import PerformedSteps
from pacs.work import QueueWorker, Supervisor, WorkQueue, WorkState

pytest_plugins = ("fixtures.postgresql", "fixtures.databases")
RIS = "RIS1"


@pytest.fixture
def port() -> int:
    """Return the port on which the other system will listen."""
    return free_port()


@pytest.fixture
def queue(database: Database) -> WorkQueue:
    """Return the queue of reports on their way."""
    return forwarding.open_queue(database, retry_days=1)


@pytest.fixture
def steps(database: Database, queue: WorkQueue) -> PerformedSteps:
    """Return performed steps whose reports are handed on."""
    made = PerformedSteps(database, enter(database, entry()))
    made.subscribe(forwarding.forwarder(queue, [RIS]))
    return made


@pytest.fixture
def working(queue: WorkQueue, port: int) -> Iterator[None]:
    """Hand on while the test runs."""
    station = {"AET": RIS, "Host": "127.0.0.1", "Port": port}
    archive = MemoryArchive({f"/modalities/{RIS}/configuration": station})
    supervisor = Supervisor()
    QueueWorker(queue, forwarding.handler(archive, "PACSMPPS")).add_to(supervisor)
    supervisor.start()
    yield
    supervisor.stop()


@contextmanager
def ris(port: int, answer: Callable[[str], int] = lambda _kind: 0x0000) -> Iterator[list[tuple[str, Dataset]]]:
    """Run the other system; yield what it gets."""
    got: list[tuple[str, Dataset]] = []

    def create(event: evt.Event) -> tuple[int, Dataset]:
        got.append(("N-CREATE", event.attribute_list))
        return answer("N-CREATE"), Dataset()

    def change(event: evt.Event) -> tuple[int, Dataset]:
        got.append(("N-SET", event.modification_list))
        return answer("N-SET"), Dataset()

    entity = AE(ae_title=RIS)
    entity.add_supported_context(ModalityPerformedProcedureStep)
    handlers = [(evt.EVT_N_CREATE, create), (evt.EVT_N_SET, change)]
    server = entity.start_server(("127.0.0.1", port), block=False, evt_handlers=handlers)
    try:
        yield got
    finally:
        server.shutdown()


def report(steps: PerformedSteps) -> str:
    """Report a step from begin to end; return its UID."""
    uid = str(generate_uid())
    steps.create(Report(ReportKind.CREATE, uid, MODALITY, written(begun())))
    steps.change(Report(ReportKind.SET, uid, MODALITY, written(ended())))
    return uid


@pytest.mark.usefixtures("working")
def test_reports_reach_a_system_that_was_away(steps: PerformedSteps, queue: WorkQueue, port: int) -> None:
    """While it is away they wait; then the beginning comes before the end, and names are as the modality wrote them."""
    report(steps)
    time.sleep(1)
    with ris(port) as got:
        wait_until(lambda: queue.counts()[WorkState.DONE] == 2)
    assert [kind for kind, _ in got] == ["N-CREATE", "N-SET"]
    assert got[0][1].SpecificCharacterSet == "ISO_IR 100"
    assert str(got[0][1].PatientName) == "FICTICIO^Paciente Ñandú"


@pytest.mark.usefixtures("working")
def test_refused_beginning_holds_its_end(steps: PerformedSteps, queue: WorkQueue, port: int) -> None:
    """What it refuses is a dead letter, and the end of the step waits until a person has decided on it."""
    answers = [0x0106]
    with ris(port, lambda _kind: answers.pop() if answers else 0x0000) as got:
        report(steps)
        wait_until(lambda: queue.counts()[WorkState.FAILED] == 1)
        assert queue.counts()[WorkState.BLOCKED] == 1
        queue.replay(queue.dead_letters()[0].id)
        wait_until(lambda: queue.counts()[WorkState.DONE] == 2)
    assert [kind for kind, _ in got] == ["N-CREATE", "N-CREATE", "N-SET"]


@pytest.mark.usefixtures("working")
def test_beginning_whose_answer_was_lost_counts_as_taken(steps: PerformedSteps, queue: WorkQueue, port: int) -> None:
    """The second try is told that the step is there (0111): so it is, and its end follows."""
    report(steps)
    wait_until(lambda: queue.counts()[WorkState.WAITING] == 1)
    with ris(port, lambda kind: 0x0111 if kind == "N-CREATE" else 0x0000):
        wait_until(lambda: queue.counts()[WorkState.DONE] == 2)


def test_report_that_was_refused_here_is_not_handed_on(steps: PerformedSteps, queue: WorkQueue) -> None:
    """What we did not take nobody else gets."""
    bad = Report(ReportKind.CREATE, str(generate_uid()), MODALITY, written(begun(Modality="")))
    with pytest.raises(MppsFault, match="Modality"):
        steps.create(bad)
    assert sum(queue.counts().values()) == 0


def test_same_step_at_the_same_moment_is_taken_once(steps: PerformedSteps, queue: WorkQueue) -> None:
    """Eight associations that report the same step: one is taken, seven are told that it is there."""
    same = Report(ReportKind.CREATE, str(generate_uid()), MODALITY, written(begun()))
    start, outcomes = threading.Barrier(8), list[int]()

    def create() -> None:
        start.wait()
        try:
            steps.create(same)
            outcomes.append(0)
        except MppsFault as fault:
            outcomes.append(fault.dimse_status)

    threads = [threading.Thread(target=create) for _ in range(8)]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()
    assert sorted(outcomes) == [0, *[0x0111] * 7]
    assert sum(queue.counts().values()) == 1


def wait_until(condition: Callable[[], bool], timeout_seconds: float = 30) -> None:
    """Wait for something to become true."""
    deadline = time.monotonic() + timeout_seconds
    while not condition():
        assert time.monotonic() < deadline, "it did not happen in time"
        time.sleep(0.05)
