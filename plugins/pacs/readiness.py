"""Telling systemd how the service is: ready once everything listens, still alive, about to end.

Source: sd_notify(3). Where nobody asks (NOTIFY_SOCKET is not set, as in `make run`) nothing is sent.
"""

from __future__ import annotations

import logging
import socket
import threading
import time
from collections.abc import Callable, Mapping
from contextlib import suppress
from pathlib import Path

_LOOK_SECONDS = 0.1
_BEAT_SECONDS = 20.0
_CONNECT_SECONDS = 2.0
_MICROSECOND = 1e-6

_log = logging.getLogger(__name__)

type Listens = Callable[[], bool]


class ServiceManager:
    """systemd, as a service sees it. Its methods may be called from any thread.

    Attributes
    ----------
    watchdog_seconds : systemd ends the service after such a silence; None: it does not watch.
    """

    def __init__(self, environment: Mapping[str, str]) -> None:
        address = environment.get("NOTIFY_SOCKET", "")
        # "@" is how systemd writes the null byte of an abstract address (unix(7)).
        self._address = "\0" + address[1:] if address.startswith("@") else address
        microseconds = environment.get("WATCHDOG_USEC", "")
        self.watchdog_seconds = int(microseconds) * _MICROSECOND if microseconds.isdigit() else None

    @property
    def is_there(self) -> bool:
        """Whether anybody listens to what we tell."""
        return bool(self._address)

    def tell(self, **facts: str) -> None:
        """Send assignments such as READY="1", STATUS="..."; a service manager that went away is no fault of ours."""
        if not self._address:
            return
        lines = "\n".join(f"{name}={value}" for name, value in facts.items())
        try:
            with socket.socket(socket.AF_UNIX, socket.SOCK_DGRAM) as channel:
                channel.sendto(lines.encode(), self._address)
        except OSError as error:
            _log.warning("systemd could not be told %s: %s", ", ".join(facts), error)


class Readiness:
    """Waits until everything listens, tells so, and then that the program lives.

    Parameters
    ----------
    parts : by name, whether it listens.
    is_alive : asks the program something that every healthy moment answers; raises or hangs otherwise.
    """

    def __init__(self, manager: ServiceManager, parts: Mapping[str, Listens], is_alive: Callable[[], object]) -> None:
        self._manager = manager
        self._parts = parts
        self._is_alive = is_alive

    def run(self, stop: threading.Event) -> None:
        """Tell until `stop` is set."""
        self._await_all(stop)
        if stop.is_set():
            return
        self._manager.tell(READY="1", STATUS="Everything listens: " + ", ".join(self._parts))
        _log.info("ready: %s", ", ".join(self._parts))
        beat_seconds = min((self._manager.watchdog_seconds or _BEAT_SECONDS * 3) / 3, _BEAT_SECONDS)
        while not stop.wait(beat_seconds):
            self._is_alive()
            self._manager.tell(WATCHDOG="1")

    def ending(self) -> None:
        """Tell that the service ends."""
        self._manager.tell(STOPPING="1", STATUS="Ending")

    def _await_all(self, stop: threading.Event) -> None:
        told: list[str] = []
        began = time.monotonic()
        while not stop.is_set():
            missing = [name for name, listens in self._parts.items() if not listens()]
            if not missing:
                return
            if missing != told:
                self._manager.tell(STATUS="Waiting for " + ", ".join(missing))
                told = missing
            stop.wait(_LOOK_SECONDS if time.monotonic() - began < _BEAT_SECONDS else 1.0)


def tcp_port(port: int) -> Listens:
    """Return a look at whether something takes connections to `port` of this machine."""

    def listens() -> bool:
        with suppress(OSError), socket.create_connection(("127.0.0.1", port), _CONNECT_SECONDS):
            return True
        return False

    return listens


def unix_socket(path: Path) -> Listens:
    """Return a look at whether something takes connections to a socket in the file system."""

    def listens() -> bool:
        with suppress(OSError), socket.socket(socket.AF_UNIX, socket.SOCK_STREAM) as client:
            client.connect(str(path))
            return True
        return False

    return listens
