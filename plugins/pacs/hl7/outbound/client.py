"""An MLLP client: one connection that is kept, one message at a time, its own acknowledgment and no other."""

from __future__ import annotations

import select
import socket
import ssl
import time
from collections.abc import Callable
from types import TracebackType
from typing import Self

from pacs.errors import PeerError
from pacs.hl7.framing import MllpFramer, frame
from pacs.hl7.outbound.settings import TlsSettings

_CONNECTION_SECONDS = 5.0
_LOOK_SECONDS = 0.25
_RECEIVE_BYTES = 65536
_LARGEST_ANSWER_BYTES = 2**20


class Unreachable(PeerError):
    """No connection, or it broke: every other message would fare the same."""

    code = "hl7-unreachable"


class NoAnswer(PeerError):
    """The message was sent and nothing that acknowledges it came back."""

    code = "hl7-no-answer"


class Stopped(Exception):
    """The program ends while an answer is waited for. Not a fault: the message will be sent again."""


class MllpClient:
    """Sends messages to one address. For one thread at a time.

    Parameters
    ----------
    answer_seconds : longest wait for an answer.
    """

    def __init__(self, host: str, port: int, *, answer_seconds: float, tls: TlsSettings | None = None) -> None:
        self._address = (host, port)
        self._answer_seconds = answer_seconds
        self._tls = tls
        self._socket: socket.socket | None = None
        self._framer = MllpFramer()

    def __enter__(self) -> Self:
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        self.close()

    def close(self) -> None:
        """Close the connection, if there is one. The next message opens another."""
        if self._socket is not None:
            self._socket.close()
            self._socket = None

    def ask(self, message: bytes, should_stop: Callable[[], bool]) -> bytes:
        """Send `message` and return the frame that is answered.

        The connection is closed when anything goes wrong, so that a late answer is never taken for the next one's.

        Raises
        ------
        Unreachable, NoAnswer : it may work later.
        Stopped : `should_stop` told so while waiting.
        """
        try:
            return self._ask(message, should_stop)
        except BaseException:
            self.close()
            raise

    def _ask(self, message: bytes, should_stop: Callable[[], bool]) -> bytes:
        connection = self._connected()
        try:
            connection.settimeout(self._answer_seconds)
            connection.sendall(frame(message))
            return self._receive(connection, should_stop)
        except OSError as error:
            raise Unreachable(f"The connection to {self._name} broke: {error}.") from error

    def _connected(self) -> socket.socket:
        if self._socket is not None and not self._is_stale(self._socket):
            return self._socket
        self.close()
        try:
            self._socket = self._connect()
        except OSError as error:
            raise Unreachable(f"{self._name} can't be connected to: {error}.") from error
        self._framer = MllpFramer()
        return self._socket

    def _connect(self) -> socket.socket:
        plain = socket.create_connection(self._address, timeout=_CONNECTION_SECONDS)
        plain.setsockopt(socket.IPPROTO_TCP, socket.TCP_NODELAY, 1)
        plain.setsockopt(socket.SOL_SOCKET, socket.SO_KEEPALIVE, 1)
        plain.settimeout(self._answer_seconds)
        return plain if self._tls is None else self._encrypted(plain, self._tls)

    def _encrypted(self, plain: socket.socket, settings: TlsSettings) -> socket.socket:
        try:
            return _context(settings).wrap_socket(plain, server_hostname=settings.server_name or self._address[0])
        except BaseException:
            plain.close()
            raise

    def _is_stale(self, connection: socket.socket) -> bool:
        """Tell whether the other side closed it, or said something that nobody asked for."""
        return bool(select.select([connection], [], [], 0)[0])

    def _receive(self, connection: socket.socket, should_stop: Callable[[], bool]) -> bytes:
        give_up_at = time.monotonic() + self._answer_seconds
        received = 0
        while time.monotonic() < give_up_at:
            if should_stop():
                raise Stopped
            data = self._read(connection)
            received += len(data)
            if received > _LARGEST_ANSWER_BYTES:
                raise NoAnswer(f"{self._name} answered with more than {_LARGEST_ANSWER_BYTES} bytes.")
            frames = self._framer.feed(data) if data else self._framer.check_timeout()
            # What was cut off or is far too long acknowledges nothing; the answer may still come.
            if whole := [each for each in frames if each.fault is None]:
                return whole[0].raw
        raise NoAnswer(f"{self._name} did not answer within {self._answer_seconds:g} s.")

    def _read(self, connection: socket.socket) -> bytes:
        """Return what is there within a moment, b"" for nothing. Raise OSError when the connection ended."""
        # Not by select: with TLS, bytes on the socket need not be a part of an answer, nor the other way round.
        connection.settimeout(_LOOK_SECONDS)
        try:
            data = connection.recv(_RECEIVE_BYTES)
        except TimeoutError:
            return b""
        if not data:
            message = "the other side closed it"
            raise ConnectionResetError(message)
        return data

    @property
    def _name(self) -> str:
        return f"{self._address[0]}:{self._address[1]}"


def _context(settings: TlsSettings) -> ssl.SSLContext:
    context = ssl.create_default_context(cafile=settings.authorities)
    context.minimum_version = ssl.TLSVersion.TLSv1_2
    # Python 3.13 refuses authorities without KeyUsage, as hospitals have made them. Who signed what is checked anyway.
    context.verify_flags &= ~ssl.VERIFY_X509_STRICT
    if not settings.verify:
        context.check_hostname = False
        context.verify_mode = ssl.CERT_NONE
    if settings.certificate is not None:
        context.load_cert_chain(settings.certificate, settings.key)
    return context
