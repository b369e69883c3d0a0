"""`Receiving`: keeps the receiver running, hears what it tells, and ends it with us."""

from __future__ import annotations

import json
import logging
import os
import select
import subprocess
import tempfile
import threading
from collections.abc import Callable, Iterator, Mapping
from contextlib import contextmanager
from pathlib import Path
from typing import IO, Any, cast

from pacs.errors import ProcessError
from pacs.hl7.settings import Hl7Settings
from pacs.hl7.tally import TallyCollector
from pacs.processes import Interpreter
from pacs.processes.log_relay import replay
from pacs.processes.messages import Logged

_log = logging.getLogger(__name__)

_MODULE = "pacs.hl7.receiver"
_PLUGINS = Path(__file__).parents[2]
_READ_BYTES = 65536
_LOOK_SECONDS = 0.1
_END_SECONDS = 2.0


class ReceiverEnded(ProcessError):
    """The receiver ended though nobody asked it to."""

    code = "hl7-receiver"


class Receiving:
    """A thread's work: start the receiver, listen, end it.

    Parameters
    ----------
    database_url : where it writes frames, password and all: it is told by a pipe, not on the command line.
    python : the interpreter for it; sys.executable is Orthanc.
    on_arrival : called in the thread that runs this with the number of messages that were stored, and of those
        among them whose senders are held up by us alone.

    Attributes
    ----------
    collector : the receiver's figures.
    """

    def __init__(
        self, database_url: str, settings: Hl7Settings, python: Path, on_arrival: Callable[[int, int], None]
    ) -> None:
        self._setup = {
            "database": database_url,
            "settings": settings.model_dump(mode="json", by_alias=True),
            "log_level": logging.getLogger("pacs").getEffectiveLevel(),
        }
        self._interpreter = Interpreter(python, (_PLUGINS,))
        self._on_arrival = on_arrival
        self.collector = TallyCollector()

    def run(self, stop: threading.Event) -> None:
        """Run the receiver until `stop` is set.

        Raises
        ------
        ReceiverEnded : it ended by itself.
        """
        with self._process() as process:
            try:
                self._listen(process, stop)
            finally:
                self.collector.ended()
        if not stop.is_set():
            raise ReceiverEnded(
                f"The process that takes HL7 messages ended with status {process.returncode}.",
                remedy="It is started again; the log tells why it ended.",
            )

    @contextmanager
    def _process(self) -> Iterator[subprocess.Popen[bytes]]:
        process = subprocess.Popen(
            [self._interpreter.executable, "-P", "-s", "-m", _MODULE],
            stdin=subprocess.PIPE,
            stdout=subprocess.PIPE,
            stderr=subprocess.STDOUT,
            env=self._interpreter.variables(Path(tempfile.gettempdir()), 1),
            # Ctrl-C is not for it: it ends with us, after us.
            start_new_session=True,
        )
        try:
            os.write(cast("IO[bytes]", process.stdin).fileno(), json.dumps(self._setup).encode() + b"\n")
            yield process
        finally:
            _end(process)

    def _listen(self, process: subprocess.Popen[bytes], stop: threading.Event) -> None:
        """Hear line by line until it or we end."""
        descriptor = cast("IO[bytes]", process.stdout).fileno()
        poll = select.poll()
        poll.register(descriptor, select.POLLIN)
        rest = b""
        while not stop.is_set():
            if not poll.poll(_LOOK_SECONDS * 1000):
                continue
            data = os.read(descriptor, _READ_BYTES)
            if not data:
                return
            *lines, rest = (rest + data).split(b"\n")
            for line in lines:
                self._hear(line, process.pid)

    def _hear(self, line: bytes, pid: int) -> None:
        try:
            content: Mapping[str, Any] = json.loads(line)
            [(what, value)] = content.items()
        except (ValueError, AttributeError):
            _log.warning("The receiver says: %s", line[:500].decode(errors="replace"))
            return
        match what:
            case "arrived":
                self._on_arrival(value["messages"], value["pressed"])
            case "tally":
                self.collector.update(value)
            case "logged":
                replay(Logged(**value), child_pid=pid)
            case _:
                _log.warning("The receiver tells of %r, which is not known", what)


def _end(process: subprocess.Popen[bytes]) -> None:
    """Ask it to end, and make it."""
    cast("IO[bytes]", process.stdin).close()
    try:
        process.wait(_END_SECONDS)
    except subprocess.TimeoutExpired:
        _log.warning("The receiver did not end within %.0f s and is killed", _END_SECONDS)
        process.kill()
        process.wait()
    cast("IO[bytes]", process.stdout).close()
