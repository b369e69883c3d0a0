"""Connections that NGINX has taken by TLS and passes on: who calls stands in a line before the first message.

Source: the PROXY protocol, version 1 (haproxy.org, proxy-protocol.txt, section 2.1), as NGINX's `proxy_protocol on`
writes it.
"""

from __future__ import annotations

import asyncio
import ipaddress
import re
from typing import Protocol, cast

from pacs.hl7.connection import Connection, Receiver

LONGEST_HEADER_BYTES = 107
HEADER_SECONDS = 3.0
# NGINX calls from here; whoever else can reach the port must not name addresses.
NGINX_ADDRESS = "127.0.0.1"
_BEGINNING = b"PROXY "
_PORT = rb"(?:0|[1-9][0-9]{0,4})"
_LINE = re.compile(
    rb"PROXY TCP(?P<version>[46]) (?P<source>[0-9A-Fa-f:.]+) (?P<target>[0-9A-Fa-f:.]+) "
    rb"(?P<source_port>" + _PORT + rb") (?P<target_port>" + _PORT + rb")"
)
_LARGEST_PORT = 65535


class HeaderFault(ValueError):
    """What came is no header; why, in words that say nothing of what came."""


def read_header(data: bytes) -> tuple[str, int] | None:
    """Read the header at the beginning of what came so far.

    Returns
    -------
    The caller's address and the number of bytes that the header takes; None while it is incomplete.

    Raises
    ------
    HeaderFault : it is none, or names no address.
    """
    if not data.startswith(_BEGINNING[: len(data)]):
        raise HeaderFault("it does not begin with PROXY")
    line, end, _ = data[:LONGEST_HEADER_BYTES].partition(b"\r\n")
    if end:
        return _read_line(line), len(line) + len(end)
    if len(data) >= LONGEST_HEADER_BYTES:
        raise HeaderFault(f"it has no end within {LONGEST_HEADER_BYTES} bytes")
    return None


def _read_line(line: bytes) -> str:
    found = _LINE.fullmatch(line)
    if found is None:
        raise HeaderFault("it names no address" if line.startswith(b"PROXY UNKNOWN") else "it is malformed")
    if max(int(found["source_port"]), int(found["target_port"])) > _LARGEST_PORT:
        raise HeaderFault("it names a port that there is not")
    kind = ipaddress.IPv4Address if found["version"] == b"4" else ipaddress.IPv6Address
    try:
        kind(found["target"].decode())
        return str(kind(found["source"].decode()))
    except ValueError:
        raise HeaderFault("it names an address that there is not") from None


class ProxyReceiver(Receiver, Protocol):
    """What takes connections from NGINX."""

    def greet(self, connection: ProxiedConnection) -> bool:
        """Tell whether a connection may say for whom it is."""

    def part(self, connection: ProxiedConnection) -> None:
        """Take note that a connection has said so, or has ended."""

    def distrust(self, reason: str) -> None:
        """Take note that a connection is ended since it did not say for whom it is."""


class ProxiedConnection(asyncio.Protocol):
    """A connection until it has said for whom it is; a `Connection` takes its place then.

    The callbacks of asyncio, all in the server's thread.
    """

    def __init__(self, receiver: ProxyReceiver) -> None:
        self._receiver = receiver
        self._transport: asyncio.Transport | None = None
        self._late: asyncio.TimerHandle | None = None
        self._data = b""
        self._is_over = False

    def connection_made(self, transport: asyncio.BaseTransport) -> None:
        """Wait for the header, not for long."""
        self._transport = cast("asyncio.Transport", transport)
        name = transport.get_extra_info("peername")
        if not name or name[0] != NGINX_ADDRESS:
            self._distrust(f"it comes from another address than {NGINX_ADDRESS}")
        elif not self._receiver.greet(self):
            self._distrust("too many others have said nothing yet")
        else:
            loop = asyncio.get_running_loop()
            self._late = loop.call_later(
                HEADER_SECONDS, self._distrust, f"it said nothing whole in {HEADER_SECONDS:g} s"
            )

    def data_received(self, data: bytes) -> None:
        """Look for the whole header."""
        if self._is_over:
            return
        self._data += data
        try:
            found = read_header(self._data)
        except HeaderFault as fault:
            self._distrust(str(fault))
            return
        if found:
            self._introduce(*found)

    def connection_lost(self, exc: Exception | None) -> None:  # noqa: ARG002 (asyncio's word for it)
        """Take note of one that ended without a word."""
        if not self._is_over:
            self._distrust("it ended before")

    def close(self) -> None:
        """End it: the server does."""
        self._leave()
        if self._transport is not None:
            self._transport.close()

    def _introduce(self, address: str, header_bytes: int) -> None:
        """Have the sender's connection take over, with what it has said already."""
        self._leave()
        transport = cast("asyncio.Transport", self._transport)
        connection = Connection(self._receiver, address)
        transport.set_protocol(connection)
        connection.connection_made(transport)
        rest = self._data[header_bytes:]
        # One that was not let in is closing.
        if rest and not transport.is_closing():
            connection.data_received(rest)

    def _distrust(self, reason: str) -> None:
        self._receiver.distrust(reason)
        self.close()

    def _leave(self) -> None:
        self._is_over = True
        if self._late is not None:
            self._late.cancel()
        self._receiver.part(self)
