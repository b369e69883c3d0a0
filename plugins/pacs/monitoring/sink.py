"""The system that the golden signal is told to: it listens on this machine and acknowledges whatever comes."""

from __future__ import annotations

import secrets
import socket
import threading
from datetime import UTC, datetime

from pacs.hl7.acknowledgments import AckCode, acknowledge, moment
from pacs.hl7.errors import Hl7Error
from pacs.hl7.framing import MllpFramer, frame
from pacs.hl7.header import Header
from pacs.hl7.settings import LOOPBACK

_LOOK_SECONDS = 0.5
_READ_BYTES = 64 * 1024


class Sink:
    """Takes messages (MLLP) on a free port of this machine. Making it opens the port.

    Attributes
    ----------
    port : where it listens.
    """

    def __init__(self) -> None:
        self._listener = socket.create_server((LOOPBACK, 0))
        self._listener.settimeout(_LOOK_SECONDS)
        self.port = int(self._listener.getsockname()[1])

    def run(self, stop: threading.Event) -> None:
        """Serve one connection after the other until `stop` is set. A supervised thread."""
        while not stop.is_set():
            try:
                connection, _ = self._listener.accept()
            except TimeoutError:
                continue
            with connection:
                _serve(connection, stop)


def _serve(connection: socket.socket, stop: threading.Event) -> None:
    framer = MllpFramer()
    connection.settimeout(_LOOK_SECONDS)
    while not stop.is_set():
        try:
            data = connection.recv(_READ_BYTES)
        except TimeoutError:
            continue
        except OSError:
            return
        if not data:
            return
        for received in framer.feed(data):
            connection.sendall(frame(_answer(received.raw)))


def _answer(raw: bytes) -> bytes:
    control_id, now = secrets.token_hex(8), moment(datetime.now(UTC))
    try:
        return acknowledge(Header.scan(raw), raw, AckCode.AA, sent_at=now, control_id=control_id)
    except Hl7Error:
        return acknowledge(None, raw, AckCode.AR, sent_at=now, control_id=control_id)
