"""The programs of the embedded deployment, Orthanc and NGINX: started, watched, ended."""

from __future__ import annotations

import resource
import signal
import socket
import subprocess
import threading
import time
import urllib.error
import urllib.request
from collections import deque
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from pathlib import Path

from pacs.embedded.options import StartError

LAST_LINES = 15
RESTARTS_AT_MOST = 5
RESTARTS_WITHIN_SECONDS = 60.0


@dataclass
class Service:
    """A program that runs until it is told to end, and where its words go.

    Attributes
    ----------
    address_space_bytes : more it is refused, and the machine goes on; None: whatever it asks for.
    """

    name: str
    command: Sequence[str]
    log_path: Path
    environment: Mapping[str, str] | None = None
    address_space_bytes: int | None = None
    process: subprocess.Popen[bytes] = field(init=False)

    def start(self) -> None:
        """Start the program, or start it again, with its output appended to the log file, in a session of its own."""
        with self.log_path.open("ab") as log:
            self.process = subprocess.Popen(
                self.command,
                stdin=subprocess.DEVNULL,
                stdout=log,
                stderr=log,
                env=self.environment,
                start_new_session=True,
            )
        if self.address_space_bytes is not None:
            limits = (self.address_space_bytes, self.address_space_bytes)
            resource.prlimit(self.process.pid, resource.RLIMIT_AS, limits)

    @property
    def ended(self) -> bool:
        """True when the program is no longer there."""
        return self.process.poll() is not None

    @property
    def killed_by(self) -> str | None:
        """The signal that ended the program; None while it runs, and when it ended itself."""
        status = self.process.poll()
        return signal.strsignal(-status) if status is not None and status < 0 else None

    def last_words(self) -> str:
        """Return the end of the log, for a person to see why it ended."""
        lines = self.log_path.read_text(encoding="utf-8", errors="replace").splitlines()[-LAST_LINES:]
        return "\n".join(f"  {line}" for line in lines)

    def stop(self, timeout_seconds: float) -> None:
        """Ask the program to end, and kill it if it has not within the time given."""
        self.process.terminate()
        try:
            self.process.wait(timeout_seconds)
        except subprocess.TimeoutExpired:
            self.process.kill()
            self.process.wait()


class Restarts:
    """How often a program that was killed is started again: a fault that comes back at once is for a person."""

    def __init__(self) -> None:
        self._at: deque[float] = deque(maxlen=RESTARTS_AT_MOST)

    def allow(self) -> bool:
        """Count one more restart; tell whether it is within the limit."""
        now = time.monotonic()
        if len(self._at) == RESTARTS_AT_MOST and now - self._at[0] < RESTARTS_WITHIN_SECONDS:
            return False
        self._at.append(now)
        return True


def give_threads_stacks(size_bytes: int) -> None:
    """Let programs started from now on have threads with stacks of this size, or of what is allowed if that is less.

    Without it they would have what the terminal has, where `ulimit -s unlimited` means 2 MB.
    """
    _, most = resource.getrlimit(resource.RLIMIT_STACK)
    resource.setrlimit(
        resource.RLIMIT_STACK, (size_bytes if most == resource.RLIM_INFINITY else min(size_bytes, most), most)
    )


def wait_until_answers(url: str, stop: threading.Event, *services: Service, timeout_seconds: float = 60.0) -> None:
    """Wait until `url` answers with success. Raise StartError when one of `services` behind it ends, or the time."""
    deadline = time.monotonic() + timeout_seconds
    while not stop.is_set():
        for service in services:
            if service.ended:
                raise StartError(f"{service.name} ended while starting. Its last words:\n{service.last_words()}")
        try:
            with urllib.request.urlopen(url, timeout=5):  # noqa: S310 - always our own http://127.0.0.1
                return
        except (urllib.error.URLError, OSError) as error:
            if time.monotonic() > deadline:
                raise StartError(
                    f"{service.name} did not answer within {timeout_seconds:.0f} s ({error}). "
                    f"Its last words:\n{service.last_words()}"
                ) from error
        stop.wait(0.05)


def wait_until_listens(port: int, stop: threading.Event, timeout_seconds: float = 10.0) -> None:
    """Wait until somebody takes connections at 127.0.0.1, but not longer than this: the log tells why nobody does."""
    deadline = time.monotonic() + timeout_seconds
    while not stop.is_set() and time.monotonic() < deadline:
        try:
            socket.create_connection(("127.0.0.1", port), timeout=1).close()
        except OSError:
            stop.wait(0.05)
        else:
            return
