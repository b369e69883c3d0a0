"""Messages to the hospital's system: each until it is acknowledged, each patient's in order, whatever it answers."""

from __future__ import annotations

import contextlib
import multiprocessing
import random
import signal
import socket
import time
from collections.abc import Callable

import pytest

from fixtures.hospital_system import Manner, acknowledgment, field_of, hospital_system
from fixtures.outboxes import accessions, event, in_order_within_patients, send_until_killed, sending
from fixtures.ports import free_port
from pacs.database import Database
from pacs.errors import Conflict
from pacs.hl7.journal import Search
from pacs.hl7.outbound.kinds import EventKind
from pacs.hl7.states import Direction, MessageState
from pacs.work import WorkState

pytest_plugins = ("fixtures.postgresql", "fixtures.databases")


def test_message_is_sent_and_acknowledged(database: Database) -> None:
    """An event becomes a message, the message is acknowledged, and the journal has both."""
    with hospital_system() as system:
        outbox = sending(database, system.port)
        outbox.tell([event()])
        with outbox.running():
            (message,) = system.wait_for(1)
            wait_until(lambda: outbox.counts() == {WorkState.DONE: 1})
    (entry,) = outbox.journal.find(Search())
    assert (entry.direction, entry.state, entry.outcome) == (Direction.OUT, MessageState.DONE, "AA")
    assert (entry.peer, entry.patient_ids, entry.accession_numbers) == ("his", "P-1", "P-1-1")
    assert entry.control_id == field_of(message, b"MSH", 10)
    whole = outbox.journal.get(entry.id)
    assert whole.raw == message
    assert whole.ack is not None
    assert b"MSA|AA|" in whole.ack


def test_connection_is_kept(database: Database) -> None:
    """Fifty messages go over one connection."""
    with hospital_system() as system:
        outbox = sending(database, system.port)
        outbox.tell([event(f"P-{number}") for number in range(50)])
        with outbox.running():
            system.wait_for(50)
            wait_until(lambda: outbox.counts() == {WorkState.DONE: 50})
        assert system.connections == 1


@pytest.mark.parametrize("code", ["AE", "AR", "CR"])
def test_refused_message_is_a_dead_letter(database: Database, code: str) -> None:
    """AE, AR and CR: not sent again, kept with the answer, and others go on, also of the same patient."""

    def refuse_first(message: bytes, _times: int) -> bytes:
        is_first = field_of(message, b"OBR", 18) == "P-1-1"
        return acknowledgment(message, code if is_first else "AA")

    with hospital_system(refuse_first) as system:
        outbox = sending(database, system.port)
        outbox.tell([event(number=1), event(number=2), event("P-2")])
        with outbox.running():
            wait_until(lambda: outbox.counts() == {WorkState.FAILED: 1, WorkState.DONE: 2})
        assert len(system.received) == 3
    (entry,) = outbox.journal.find(Search(states=(MessageState.FAILED,)))
    assert (entry.outcome, entry.accession_numbers) == (code, "P-1-1")
    assert entry.error is not None
    assert "said so" in entry.error


def test_refused_message_holds_its_patient_where_that_is_set(database: Database) -> None:
    """With RefusalHoldsPatient, later messages of the patient wait for a person; others don't."""

    def refuse_first(message: bytes, times: int) -> bytes:
        is_first = field_of(message, b"OBR", 18) == "P-1-1" and times == 0
        return acknowledgment(message, "AE" if is_first else "AA")

    with hospital_system(refuse_first) as system:
        outbox = sending(database, system.port, RefusalHoldsPatient=True)
        outbox.tell([event(number=1), event(number=2), event("P-2")])
        with outbox.running():
            wait_until(lambda: outbox.counts() == {WorkState.FAILED: 1, WorkState.BLOCKED: 1, WorkState.DONE: 1})
            (entry,) = outbox.journal.find(Search(states=(MessageState.FAILED,)))
            outbox.outbox.replay(entry.id)
            wait_until(lambda: outbox.counts() == {WorkState.DONE: 3})
    assert accessions(system) == ["P-1-1", "P-2-1", "P-1-1", "P-1-2"]
    assert outbox.journal.get(entry.id).state is MessageState.DONE


def test_dead_letter_is_skipped(database: Database) -> None:
    """A person sets a refused message aside; one that is on its way can't be."""
    with hospital_system(lambda message, _times: acknowledgment(message, "AE")) as system:
        outbox = sending(database, system.port)
        outbox.tell([event()])
        (entry,) = outbox.journal.find(Search())
        with pytest.raises(Conflict):
            outbox.outbox.skip(entry.id)
        with outbox.running():
            wait_until(lambda: outbox.counts() == {WorkState.FAILED: 1})
    outbox.outbox.skip(entry.id)
    assert outbox.counts() == {WorkState.SKIPPED: 1}
    assert outbox.journal.get(entry.id).state is MessageState.SKIPPED


def cut(_message: bytes, _times: int) -> bytes:
    """Answer half an acknowledgment and nothing more."""
    return b"\x0bMSH|^~\\&|HIS"


WRONG: dict[str, Manner] = {
    "silence": lambda _message, _times: None,
    "another message's": lambda message, _times: acknowledgment(message, control_id="SOMETHING-ELSE"),
    "nobody's": lambda message, _times: acknowledgment(message, control_id=""),
    "half": cut,
    "garbage": lambda _message, _times: b"\x0b\xff\xfe\x00garbage\x1c\r",
    "no MSA": lambda _message, _times: b"\x0bMSH|^~\\&|HIS|H|PACS||20260310||ACK|1|P|2.3.1\r\x1c\r",
    "unknown code": lambda message, _times: acknowledgment(message, "OK"),
    "CE": lambda message, _times: acknowledgment(message, "CE"),
    "the ACK byte of MLLP 2": lambda _message, _times: b"\x0b\x06\x1c\r",
    "without end": lambda _message, _times: b"x" * 100_000,
}


@pytest.mark.parametrize("wrong", WRONG)
def test_what_is_no_acknowledgment_is_never_taken_for_one(database: Database, wrong: str) -> None:
    """The same message, under the same control id, is sent again until it is acknowledged itself."""

    def answer(message: bytes, times: int) -> bytes | None:
        return WRONG[wrong](message, times) if times < 1 else acknowledgment(message)

    with hospital_system(answer) as system:
        outbox = sending(database, system.port, AnswerSeconds=0.5)
        outbox.tell([event(number=1), event(number=2)])
        with outbox.running():
            wait_until(lambda: outbox.counts() == {WorkState.DONE: 2})
    first, again, *later = system.received
    assert first == again
    assert [field_of(each, b"OBR", 18) for each in later] == ["P-1-2", "P-1-2"]


def test_late_acknowledgment_is_not_taken_for_the_next_message(database: Database) -> None:
    """An answer that comes after the patience ended belongs to nobody: the connection it comes on is closed."""

    def late(message: bytes, times: int) -> bytes:
        if times == 0:
            time.sleep(0.6)
        return acknowledgment(message)

    with hospital_system(late) as system:
        outbox = sending(database, system.port, AnswerSeconds=0.4)
        outbox.tell([event(number=number) for number in range(3)])
        with outbox.running():
            wait_until(lambda: outbox.counts() == {WorkState.DONE: 3})
    assert in_order_within_patients(system)


def test_system_that_was_away_gets_everything_in_order(database: Database) -> None:
    """Five hundred messages wait while it is away, and all go out when it is back, each patient's in order."""
    port = free_port()
    outbox = sending(database, port)
    outbox.tell([event(f"P-{number % 20}", number) for number in range(500)])
    with outbox.running():
        time.sleep(2.5)
        # While it is away, the queue is not tried through.
        waiting = outbox.counts()
        assert waiting.get(WorkState.WAITING, 0) <= 3
        with hospital_system(port=port) as system:
            wait_until(lambda: outbox.counts() == {WorkState.DONE: 500}, 60)
    assert sorted(system.control_ids()) == sorted(set(system.control_ids()))
    assert in_order_within_patients(system)


def test_system_that_goes_and_comes_back_loses_nothing(database: Database) -> None:
    """It ends and starts again in the middle: nothing is lost, the order within a patient stays."""
    port = free_port()
    outbox = sending(database, port, AnswerSeconds=1)
    outbox.tell([event(f"P-{number % 5}", number) for number in range(200)])
    got: list[bytes] = []
    with outbox.running():
        for stop_at in (50, 100, 200):
            with hospital_system(port=port) as system:
                system.wait_for(stop_at - len(got), 60)
                wait_until(lambda: stop_at < 200 or outbox.counts() == {WorkState.DONE: 200}, 60)  # noqa: B023
            system.received = got = got + system.received
    assert len(set(accessions(system))) == 200
    assert in_order_within_patients(system)


def test_message_is_given_up_after_its_days(database: Database) -> None:
    """A destination that never answers: after RetryDays a dead letter, which the journal knows of."""
    outbox = sending(database, free_port(), RetryDays=1 / 24 / 3600)
    outbox.tell([event()])
    time.sleep(1)
    with outbox.running():
        wait_until(lambda: outbox.counts() == {WorkState.FAILED: 1})
    wait_until(lambda: outbox.journal.find(Search())[0].state is MessageState.FAILED)
    assert "can't be connected to" in str(outbox.journal.find(Search())[0].error)


def test_only_what_is_wanted_is_told(database: Database) -> None:
    """A destination gets the events that it is set to get."""
    outbox = sending(database, free_port(), Events=["completed", "study available"])
    outbox.tell([event(kind=kind) for kind in EventKind])
    assert sum(outbox.counts().values()) == 2


def test_event_that_was_undone_is_not_told(database: Database) -> None:
    """What happened and the message about it are one transaction."""
    outbox = sending(database, free_port())
    with contextlib.suppress(RuntimeError), database.session(write=True) as session:
        outbox.outbox.tell(session, event())
        raise RuntimeError
    assert outbox.counts() == {}
    assert outbox.journal.find(Search()) == []


def test_stop_ends_while_an_answer_is_waited_for(database: Database) -> None:
    """A silent system does not hold up the end of the program, and the message is not lost."""
    with hospital_system(lambda _message, _times: None) as system:
        outbox = sending(database, system.port)
        outbox.tell([event()])
        with outbox.running():
            system.wait_for(1)
            asked = time.monotonic()
        assert time.monotonic() - asked < 5
    assert outbox.counts() == {WorkState.RECEIVED: 1}


def test_silent_port_is_not_hammered(database: Database) -> None:
    """A port that nobody listens on is tried less and less often."""
    outbox = sending(database, free_port())
    outbox.tell([event(f"P-{number}") for number in range(30)])
    with outbox.running():
        time.sleep(4)
    queue = outbox.outbox.destinations["his"].queue
    tries = sum(queue.get(item.id).attempts for item in queue.list_items(*WorkState))
    assert 2 <= tries <= 6


def test_nothing_is_lost_when_the_sender_is_killed(database_url: str) -> None:
    """Killed ten times while sending 300 messages: all arrive, in order, and none again once its ACK was stored."""
    context = multiprocessing.get_context("spawn")
    chance = random.Random(11)
    with Database(database_url) as database, hospital_system() as system:
        database.migrate()
        outbox = sending(database, system.port)
        outbox.tell([event(f"P-{number % 7}", number) for number in range(300)])
        for kill in range(10):
            process = context.Process(target=send_until_killed, args=(database_url, system.port))
            process.start()
            wait_until(lambda: len(system.received) > 25 * kill, 60)  # noqa: B023
            time.sleep(chance.uniform(0, 0.05))
            process.kill()
            process.join()
            assert process.exitcode == -signal.SIGKILL
        settled = {each.control_id for each in outbox.journal.find(Search(states=(MessageState.DONE,), most=1000))}
        sent_before = len(system.received)
        with outbox.running():
            wait_until(lambda: outbox.counts() == {WorkState.DONE: 300}, 120)
        assert not settled & set(system.control_ids()[sent_before:])
    assert len(set(accessions(system))) == 300
    assert in_order_within_patients(system)


def test_message_split_by_the_network_is_understood(database: Database) -> None:
    """An acknowledgment that comes byte by byte is one."""
    port = free_port()
    outbox = sending(database, port)
    outbox.tell([event()])
    with socket.create_server(("127.0.0.1", port)) as listener, outbox.running():
        connection, _ = listener.accept()
        with connection:
            message = connection.recv(65536).strip(b"\x0b\x1c\r")
            for byte in acknowledgment(message):
                connection.sendall(bytes([byte]))
                time.sleep(0.001)
            wait_until(lambda: outbox.counts() == {WorkState.DONE: 1})


def wait_until(condition: Callable[[], bool], timeout_seconds: float = 30) -> None:
    """Wait for something to become true."""
    deadline = time.monotonic() + timeout_seconds
    while not condition():
        assert time.monotonic() < deadline, "it did not happen in time"
        time.sleep(0.02)
