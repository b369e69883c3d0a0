"""The HL7 port over a database that is slow, away or at fault: what is answered, and when nothing more is heard."""

from __future__ import annotations

import threading
from collections.abc import Callable, Iterator, Sequence
from contextlib import contextmanager
from dataclasses import dataclass, field
from typing import Any, cast
from unittest.mock import Mock

import pytest

from fixtures.hl7_servers import listens
from fixtures.mllp import framed, msa, order, report, sender
from fixtures.ports import free_port
from fixtures.process_pools import becomes_true
from pacs.errors import DatabaseError
from pacs.hl7 import server
from pacs.hl7.peers import Peers
from pacs.hl7.server import MllpServer
from pacs.hl7.settings import Hl7Settings
from pacs.hl7.storing import Arrival, FrameStore
from pacs.hl7.tally import Tally

KIBIBYTE = 2**10


@dataclass
class Store:
    """Stands for the database: waits for `gate` before a commit, and asks `fault` what is wrong with a group."""

    gate: threading.Event = field(default_factory=threading.Event)
    fault: Callable[[Sequence[Arrival]], Exception | None] = lambda _arrivals: None
    begun: threading.Event = field(default_factory=threading.Event)
    stored: list[bytes] = field(default_factory=list)

    def store(self, arrivals: Sequence[Arrival]) -> list[tuple[bytes, bool]]:
        """Commit a group."""
        self.begun.set()
        assert self.gate.wait(20)
        if error := self.fault(arrivals):
            raise error
        self.stored += [arrival.raw for arrival in arrivals]
        return [(arrival.ack, False) for arrival in arrivals]

    def close(self) -> None:
        """Do nothing: there is no connection."""


@dataclass
class Running:
    """A server that runs, and how it ended."""

    port: int
    tally: Tally
    stop: threading.Event
    thread: threading.Thread
    errors: list[Exception]

    def count(self, code: str) -> int:
        """Return how many messages were answered so."""
        counts = self.tally.snapshot()["counts"]
        return sum(count for what, count in counts.items() if what.startswith("messages") and what.endswith(code))


@contextmanager
def running(store: Store, tally: Tally | None = None, **of_unknown_peers: Any) -> Iterator[Running]:
    """Serve for the length of a with statement."""
    settings = Hl7Settings.model_validate({"Port": free_port(), "UnknownPeers": of_unknown_peers})
    tally, stop, errors = tally or Tally(), threading.Event(), list[Exception]()
    serving = MllpServer(settings, Peers(settings), cast("FrameStore", store), tally, lambda _what, _value: None)

    def run() -> None:
        try:
            serving.run(stop)
        except Exception as error:  # noqa: BLE001 (told to the test)
            errors.append(error)

    thread = threading.Thread(target=run)
    thread.start()
    try:
        assert becomes_true(lambda: listens(settings.port))
        yield Running(settings.port, tally, stop, thread, errors)
    finally:
        stop.set()
        store.gate.set()
        thread.join()


def _open() -> Store:
    store = Store()
    store.gate.set()
    return store


def test_what_is_being_committed_at_the_end_is_answered(monkeypatch: pytest.MonkeyPatch) -> None:
    """Told to stop in the middle of a commit, the server answers the group and what came behind it, then ends."""
    monkeypatch.setattr(server, "_FINISH_SECONDS", 30.0)
    store = Store()
    with running(store) as serving, sender(serving.port) as his:
        his.write(framed(order("C1")) + framed(order("C2")))
        assert store.begun.wait(10)
        his.write(framed(order("C3")))
        serving.stop.set()
        assert becomes_true(lambda: not listens(serving.port))
        store.gate.set()
        answers = [msa(his.answer()) for _ in range(2)]
        serving.thread.join()
    assert answers == [("AA", "C1"), ("AA", "C2")]
    assert not serving.errors


def test_nothing_more_is_heard_while_too_much_waits(monkeypatch: pytest.MonkeyPatch) -> None:
    """Senders that do not wait for answers can't fill the memory while a commit hangs; afterwards all is answered."""
    monkeypatch.setattr(server, "_MOST_HELD_BYTES", 512 * KIBIBYTE)
    store = Store()
    messages = [framed(report(200 * KIBIBYTE, f"C{number}")) for number in range(200)]
    with running(store) as serving, sender(serving.port, timeout_seconds=1) as his:
        his.write(framed(order("FIRST")) + framed(order("SECOND")))
        assert store.begun.wait(10)
        with pytest.raises(TimeoutError):
            his.write(b"".join(messages))
        with sender(serving.port, timeout_seconds=0.5) as other:
            other.write(framed(order("OTHER")))
            with pytest.raises(TimeoutError):
                other.answer()
            store.gate.set()
            other.socket.settimeout(10)
            assert msa(other.answer()) == ("AA", "OTHER")
        his.socket.settimeout(10)
        assert [msa(his.answer())[1] for _ in range(4)] == ["FIRST", "SECOND", "C0", "C1"]


def test_message_that_can_not_be_stored_takes_no_other_with_it(caplog: pytest.LogCaptureFixture) -> None:
    """Where one of a group makes the database fail it is answered AE and counted so; the others are stored."""
    store = Store(fault=lambda arrivals: ValueError() if any(b"|C1|" in each.raw for each in arrivals) else None)
    with running(store) as serving, sender(serving.port) as his:
        his.write(b"".join(framed(order(f"C{number}")) for number in range(3)))
        assert store.begun.wait(10)
        store.gate.set()
        assert [msa(his.answer()) for _ in range(3)] == [("AA", "C0"), ("AE", "C1"), ("AA", "C2")]
        assert becomes_true(lambda: (serving.count("AA"), serving.count("AE")) == (2, 1))
    assert len(store.stored) == 2
    assert "could not be stored" in caplog.text


@pytest.mark.parametrize(("wish", "answered"), [(b"|AL|NE|", True), (b"|ER|NE|", True), (b"|SU|NE|", False)])
def test_sender_in_enhanced_mode_hears_that_nothing_was_stored(wish: bytes, answered: bool) -> None:  # noqa: FBT001
    """Who wants to hear of errors alone (MSH-15 ER) is told CE: silence would mean that the message was taken."""
    store = _open()
    store.fault = lambda arrivals: ValueError() if b"|LOST|" in arrivals[0].raw else None
    with running(store, Acknowledge="enhanced") as serving, sender(serving.port) as his:
        his.write(framed(order("LOST").replace(b"|AL|NE|", wish)))
        if answered:
            assert msa(his.answer()) == ("CE", "LOST")
        assert msa(his.send(order("NEXT"))) == ("CA", "NEXT")


def test_database_that_is_away_too_long_is_told_to_the_sender(monkeypatch: pytest.MonkeyPatch) -> None:
    """After some patience the sender gets AE; once the database is back its next try gets AA."""
    monkeypatch.setattr(server, "_STORE_PATIENCE_SECONDS", 0.2)
    store = _open()
    store.fault = lambda _arrivals: DatabaseError("It is away.")
    with running(store) as serving, sender(serving.port) as his:
        assert msa(his.send(order("C1"))) == ("AE", "C1")
        store.fault = lambda _arrivals: None
        assert msa(his.send(order("C1"))) == ("AA", "C1")


def test_fault_after_the_commit_ends_the_server() -> None:
    """A fault of ours that would leave senders without answers ends it with that fault: it is started again."""
    tally = Mock(wraps=Tally())
    tally.answered.side_effect = ZeroDivisionError
    with running(_open(), tally) as serving, sender(serving.port) as his:
        his.write(framed(order("C1")) + framed(order("C2")))
        assert becomes_true(lambda: not serving.thread.is_alive())
    assert [type(error) for error in serving.errors] == [ZeroDivisionError]
