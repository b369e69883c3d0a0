"""What systemd is told, as it would hear it."""

from __future__ import annotations

import socket
import threading
import time
from collections.abc import Iterator
from contextlib import suppress
from pathlib import Path

import pytest

from fixtures.ports import free_port
from pacs.readiness import Readiness, ServiceManager, tcp_port, unix_socket

WAIT_SECONDS = 10.0


class Manager:
    """Hears what a service tells, as systemd does."""

    def __init__(self, path: str) -> None:
        self.address = path
        self._socket = socket.socket(socket.AF_UNIX, socket.SOCK_DGRAM)
        self._socket.bind("\0" + path[1:] if path.startswith("@") else path)
        self._socket.settimeout(WAIT_SECONDS)

    def next(self) -> dict[str, str]:
        """Return the next message."""
        return dict(line.split("=", 1) for line in self._socket.recv(4096).decode().splitlines())

    def close(self) -> None:
        """Go away."""
        self._socket.close()


@pytest.fixture(params=["path", "abstract"])
def manager(request: pytest.FixtureRequest, tmp_path: Path) -> Iterator[Manager]:
    """Give a manager at each of the two kinds of addresses."""
    name = f"@pacs-test-{tmp_path.name}-{time.monotonic_ns()}" if request.param == "abstract" else str(tmp_path / "n")
    manager = Manager(name)
    yield manager
    manager.close()


def test_ready_is_told_once_everything_listens_and_not_before(manager: Manager) -> None:
    """READY=1 comes after the last part listens; until then the status says what is waited for."""
    stop, late = threading.Event(), threading.Event()
    parts = {"DICOM": lambda: True, "HL7": late.is_set}
    readiness = Readiness(ServiceManager({"NOTIFY_SOCKET": manager.address}), parts, lambda: None)
    thread = threading.Thread(target=readiness.run, args=(stop,))
    thread.start()
    assert manager.next() == {"STATUS": "Waiting for HL7"}
    late.set()
    assert manager.next() == {"READY": "1", "STATUS": "Everything listens: DICOM, HL7"}
    stop.set()
    thread.join(WAIT_SECONDS)
    readiness.ending()
    assert manager.next()["STOPPING"] == "1"


def test_watchdog_is_fed_while_the_program_answers_and_no_longer(manager: Manager) -> None:
    """A beat comes well within the time that systemd allows; a program that does not answer gives none."""
    stop, answers = threading.Event(), threading.Event()
    answers.set()

    def is_alive() -> None:
        if not answers.is_set():
            raise RuntimeError

    environment = {"NOTIFY_SOCKET": manager.address, "WATCHDOG_USEC": "300000"}
    readiness = Readiness(ServiceManager(environment), {}, is_alive)

    def run() -> None:
        with suppress(RuntimeError):
            readiness.run(stop)

    thread = threading.Thread(target=run)
    thread.start()
    assert manager.next()["READY"] == "1"
    assert manager.next() == {"WATCHDOG": "1"}
    answers.clear()
    thread.join(WAIT_SECONDS)
    assert not thread.is_alive()


def test_nobody_is_told_where_nobody_asks() -> None:
    """Without NOTIFY_SOCKET nothing is sent and nothing fails."""
    manager = ServiceManager({})
    assert not manager.is_there
    manager.tell(READY="1")


def test_manager_that_went_away_is_no_fault(tmp_path: Path) -> None:
    """A service goes on when nobody hears it."""
    ServiceManager({"NOTIFY_SOCKET": str(tmp_path / "gone")}).tell(READY="1")


def test_looks_tell_what_listens(tmp_path: Path) -> None:
    """A port and a socket count as listening from the moment they are, and no longer."""
    port, path = free_port(), tmp_path / "pages.sock"
    assert not tcp_port(port)()
    assert not unix_socket(path)()
    with socket.create_server(("127.0.0.1", port)), socket.socket(socket.AF_UNIX) as pages:
        pages.bind(str(path))
        pages.listen()
        assert tcp_port(port)()
        assert unix_socket(path)()
    assert not tcp_port(port)()
