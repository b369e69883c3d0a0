"""What the HL7 port bears: limits, strangers, slow and silent senders, its own death."""

from __future__ import annotations

import os
import resource
import signal
import socket
import statistics
import time
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Any

import pytest

from fixtures.hl7_servers import RunningBridge, listens, receiver_pid, running_bridge
from fixtures.mllp import START, Sender, framed, msa, order, report, sender
from fixtures.ports import free_port
from fixtures.process_pools import becomes_true, is_alive
from pacs.database import Database
from pacs.hl7.states import MessageState

MEBIBYTE = 2**20


@pytest.fixture
def database(tmp_path: Path) -> Iterator[Database]:
    """Return a database; which one does not matter here."""
    with Database(f"sqlite:///{tmp_path / 'pacs.db'}") as made:
        made.migrate()
        yield made


def unknown(**limits: Any) -> dict[str, Any]:
    """Return settings in which these hold for everybody."""
    return {"UnknownPeers": limits}


def test_message_over_the_limit_is_refused_and_the_next_is_taken(database: Database) -> None:
    """A message that is too large gets AR with its control id; the connection goes on."""
    with running_bridge(database, unknown(LargestMessageBytes=MEBIBYTE)) as running, sender(running.port) as his:
        assert msa(his.send(report(2 * MEBIBYTE))) == ("AR", "BIG")
        assert msa(his.send(order("NEXT"))) == ("AA", "NEXT")


def test_message_that_does_not_end_in_time_is_refused(database: Database) -> None:
    """A sender that stops in the middle is told AR after its time, and its connection is ended."""
    with running_bridge(database, unknown(MessageSeconds=0.5)) as running, sender(running.port) as his:
        his.write(START + order("SLOW")[:200])
        assert msa(his.answer()) == ("AR", "SLOW")
        assert his.is_ended()
        assert becomes_true(lambda: [each.state for each in running.entries()] == [MessageState.REFUSED])


def test_silent_connection_is_closed(database: Database) -> None:
    """After its time a connection on which nothing is said is closed; one that was used goes on."""
    with running_bridge(database, unknown(IdleSeconds=2)) as running, sender(running.port) as his:
        for _ in range(6):
            assert msa(his.send(order()))[0] == "AA"
            time.sleep(0.5)
        assert his.is_ended()


def test_one_connection_too_many_ends_the_most_useless(database: Database) -> None:
    """Half-open connections give way to new ones; a sender that was answered keeps its connection."""
    with running_bridge(database, unknown(MostConnections=5)) as running, sender(running.port) as his:
        his.send(order())
        silent = [Sender(running.port) for _ in range(12)]
        for each in silent:
            each.write(START + b"MSH")
        assert msa(his.send(order("STAYS"))) == ("AA", "STAYS")
        assert running.figure("pacs_hl7_connections") <= 5
        assert becomes_true(lambda: running.figure("pacs_hl7_connections_refused_total", reason="crowded") >= 8)
        for each in silent:
            each.close()


def test_two_thousand_slow_clients_do_not_hold_up_a_sender(database: Database) -> None:
    """With two thousand connections that began a message and say no more, a sender is answered as before."""
    with running_bridge(database) as running, sender(running.port) as his:
        before = _typical_seconds(his)
        slow = []
        for _ in range(2000):
            connection = socket.create_connection(("127.0.0.1", running.port))
            connection.send(START + b"MSH|^~\\&|")
            slow.append(connection)
        # The machine's other work may be in one look, or in those before and after as well.
        beside = min(_typical_seconds(his) for _ in range(3))
        for connection in slow:
            connection.close()
        assert beside < 2 * max(before, _typical_seconds(his)) + 0.01


def test_stranger_is_refused_where_peers_are_named(database: Database) -> None:
    """Only a peer that calls from its address and signs as it should is taken; its limits and words are its own."""
    peers = {
        "HIS": {"Addresses": ["127.0.0.0/8"], "SendingApplication": "HIS", "SendingFacility": "HOSPITAL"},
        "ELSEWHERE": {"Addresses": ["192.0.2.1"]},
    }
    settings = {"Peers": peers, "AcceptUnknownPeers": False}
    with running_bridge(database, settings) as running, sender(running.port) as his:
        assert msa(his.send(order("KNOWN"))) == ("AA", "KNOWN")
        assert msa(his.send(order("STRANGE").replace(b"|HIS|HOSPITAL|", b"|RIS|CLINIC|"))) == ("AR", "STRANGE")
        assert becomes_true(lambda: [each.peer for each in running.entries()] == ["HIS", ""])


def test_address_of_no_peer_is_not_let_in(database: Database) -> None:
    """Where unknown peers are not taken, a connection from an address of none of them is closed at once."""
    settings = {"Peers": {"HIS": {"Addresses": ["192.0.2.1"]}}, "AcceptUnknownPeers": False}
    with running_bridge(database, settings) as running, sender(running.port) as his:
        assert his.is_ended()
        assert becomes_true(lambda: running.figure("pacs_hl7_connections_refused_total", reason="unknown") >= 1)


ENHANCED = {
    "always": (b"|AL|NE|", b"", ("CA", "C1")),
    "refused": (b"|AL|NE|", b"P1^^^HOSPITAL", ("CE", "C1")),
    "not-said": (b"||||", b"", ("CA", "C1")),
    "errors": (b"|ER|NE|", b"P1^^^HOSPITAL", ("CE", "C1")),
}


@pytest.mark.parametrize(("wish", "gone", "answer"), ENHANCED.values(), ids=ENHANCED)
def test_peer_in_enhanced_mode_gets_commit_acknowledgments(
    database: Database, wish: bytes, gone: bytes, answer: tuple[str, str]
) -> None:
    """CA, CE, CR as MSH-15 asks."""
    message = (
        order("C1").replace(b"|AL|NE|", wish).replace(gone, b"") if gone else order("C1").replace(b"|AL|NE|", wish)
    )
    with running_bridge(database, unknown(Acknowledge="enhanced")) as running, sender(running.port) as his:
        assert msa(his.send(message)) == answer


def test_peer_in_enhanced_mode_that_wants_no_answer_gets_none(database: Database) -> None:
    """MSH-15 NE: the message is taken in silence, and the next answer belongs to the next message."""
    with running_bridge(database, unknown(Acknowledge="enhanced")) as running, sender(running.port) as his:
        his.write(framed(order("C1").replace(b"|AL|NE|", b"|NE|NE|")))
        assert msa(his.send(order("C2"))) == ("CA", "C2")
        running.wait_until_worked(2)


def test_other_protocols_are_borne(database: Database) -> None:
    """A TLS hello or an HTTP request harms nobody; bytes outside of a message are counted."""
    with running_bridge(database) as running:
        for words in (b"GET / HTTP/1.1\r\nHost: x\r\n\r\n", b"\x16\x03\x01\x02\x00\x01\x00\x01\xfc\x03\x03" * 50):
            with sender(running.port) as his:
                his.write(words)
                assert msa(his.send(order("AFTER" + str(len(words)))))[0] == "AA"
        assert becomes_true(lambda: running.figure("pacs_hl7_junk_bytes_total") > 500)


@pytest.mark.parametrize("junk", [b"GET / HTTP/1.0\r\n\r\n", b"\x16\x03\x01\x02\x00\x01", START + b"no header\x1c\r"])
def test_junk_is_told_with_its_address(database: Database, caplog: pytest.LogCaptureFixture, junk: bytes) -> None:
    """Who sends no HL7 at all is named in the log, so that the server can ban who does so again and again."""
    with running_bridge(database) as running:
        with socket.create_connection(("127.0.0.1", running.port)) as scanner:
            scanner.sendall(junk)
        assert becomes_true(lambda: "HL7 junk from 127.0.0.1: " in caplog.text)


def test_nothing_is_acknowledged_while_the_disk_is_full(database: Database) -> None:
    """A message that can't be written gets no AA; once there is room it does, and is there once."""
    with running_bridge(database) as running, sender(running.port, timeout_seconds=30) as his:
        assert msa(his.send(order("BEFORE"))) == ("AA", "BEFORE")
        with no_room(receiver_pid()):
            his.write(framed(order("MEANWHILE")))
            his.socket.settimeout(1.5)
            with pytest.raises(TimeoutError):
                his.answer()
        his.socket.settimeout(30)
        assert msa(his.answer()) == ("AA", "MEANWHILE")
        assert becomes_true(lambda: [each.control_id for each in running.entries()] == ["BEFORE", "MEANWHILE"])


@contextmanager
def no_room(pid: int) -> Iterator[None]:
    """Let a process write to no file, as if the disk were full."""
    soft, hard = resource.prlimit(pid, resource.RLIMIT_FSIZE)
    resource.prlimit(pid, resource.RLIMIT_FSIZE, (1, hard))
    try:
        yield
    finally:
        resource.prlimit(pid, resource.RLIMIT_FSIZE, (soft, hard))


def test_receiver_that_died_is_started_again_and_ends_with_us(database: Database) -> None:
    """Killed, it is back within seconds, and its counts go on; it leaves the port when we stop."""
    with running_bridge(database) as running:
        with sender(running.port) as his:
            his.send(order())
        assert becomes_true(lambda: running.figure("pacs_hl7_messages_total", peer="", code="AA") == 1)
        pid = receiver_pid()
        os.kill(pid, signal.SIGKILL)
        assert becomes_true(lambda: not is_alive(pid))
        assert becomes_true(lambda: listens(running.port), 10)
        with sender(running.port) as his:
            his.send(order())
        assert becomes_true(lambda: running.figure("pacs_hl7_messages_total", peer="", code="AA") == 2)
        began = time.monotonic()
    assert time.monotonic() - began < 5
    assert not listens(running.port)


def test_taken_port_is_told_and_tried_again(database: Database, caplog: pytest.LogCaptureFixture) -> None:
    """Where something else listens, the log says so; once it is gone, messages are taken."""
    port = free_port()
    with socket.create_server(("127.0.0.1", port)) as other:
        running = RunningBridge(database, {"Port": port})
        running.port = port
        running.supervisor.start()
        assert becomes_true(lambda: f"port {port}: " in caplog.text, 15)
        other.close()
        assert becomes_true(lambda: listens(port), 20)
        running.supervisor.stop()


def _typical_seconds(his: Sender) -> float:
    """Return the time that 19 of 20 answers take at most."""
    times = []
    for _ in range(200):
        began = time.perf_counter()
        his.send(order())
        times.append(time.perf_counter() - began)
    return statistics.quantiles(times, n=20)[18]
