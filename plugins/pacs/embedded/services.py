"""The programs of the embedded deployment, Orthanc and NGINX: started, watched, ended."""

from __future__ import annotations

import resource
import subprocess
import threading
import time
import urllib.error
import urllib.request
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path

from pacs.embedded.options import StartError

LAST_LINES = 15


@dataclass(frozen=True)
class Service:
    """A program that runs until it is told to end, and where its words go."""

    name: str
    process: subprocess.Popen[bytes]
    log_path: Path

    @classmethod
    def start(
        cls, name: str, command: Sequence[str], log_path: Path, environment: Mapping[str, str] | None = None
    ) -> Service:
        """Start `command` with its output appended to a log file, in a session of its own."""
        with log_path.open("ab") as log:
            process = subprocess.Popen(
                command, stdin=subprocess.DEVNULL, stdout=log, stderr=log, env=environment, start_new_session=True
            )
        return cls(name, process, log_path)

    @property
    def ended(self) -> bool:
        """True when the program is no longer there."""
        return self.process.poll() is not None

    def last_words(self) -> str:
        """Return the end of the log, for a person to see why it ended."""
        lines = self.log_path.read_text(encoding="utf-8", errors="replace").splitlines()[-LAST_LINES:]
        return "\n".join(f"  {line}" for line in lines)

    def limit_memory(self, limit_bytes: int) -> None:
        """Let the program ask for no more address space than this: it is refused then, and the machine goes on."""
        resource.prlimit(self.process.pid, resource.RLIMIT_AS, (limit_bytes, limit_bytes))

    def stop(self, timeout_seconds: float) -> None:
        """Ask the program to end, and kill it if it has not within the time given."""
        self.process.terminate()
        try:
            self.process.wait(timeout_seconds)
        except subprocess.TimeoutExpired:
            self.process.kill()
            self.process.wait()


def wait_until_answers(url: str, service: Service, stop: threading.Event, timeout_seconds: float = 60.0) -> None:
    """Wait until `url` answers with success. Raise StartError when the service ends or the time does."""
    deadline = time.monotonic() + timeout_seconds
    while not stop.is_set():
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
