"""A DICOM association for sending files as they are: the files' bytes go into P-DATA without being looked at.

pynetdicom, which reads and writes the negotiation here too, would decode and copy each data set; this keeps neither. It
is a little faster than dcmtk's dcmsend, knows the answer to each instance at once, and keeps to a bandwidth (DICOM
PS3.8 section 9.3, PS3.7 section 9.3.1; `pdus` has the bytes).
"""

from __future__ import annotations

import mmap
import socket
import ssl
import struct
from collections.abc import Iterator, Sequence
from contextlib import suppress
from itertools import batched
from types import TracebackType
from typing import Self

from pynetdicom.pdu import A_ASSOCIATE_AC, A_ASSOCIATE_RJ

from pacs.routing.senders.encryption import TLS_REMEDY, tls_words
from pacs.routing.senders.faults import FaultKind, SendingFault
from pacs.routing.senders.pace import Pace
from pacs.routing.senders.pdus import (
    ABORT,
    ACCEPT,
    COMMAND_LAST,
    DATA,
    DATA_LAST,
    DATA_PART,
    REJECT,
    RELEASE,
    Answer,
    Offer,
    associate_request,
    data_header,
    data_pdu,
    read_answer,
    store_request,
    values,
)

MOST_CONTEXTS = 128
# What we send at once at most where the other side names no limit.
_LONGEST_PDU_BYTES = 131072
# Each PDU is two pieces of a sendmsg(2), which takes 1024 (IOV_MAX).
_PDUS_AT_ONCE = 500
_LONGEST_ANSWER_BYTES = 1 << 20


class Association:
    """An association as SCU of storage. One thread uses it.

    Parameters
    ----------
    tls : encrypts when given; `server_name` is what its certificate must say.
    answer_seconds : silence for longer ends it.

    Attributes
    ----------
    accepted : context by (SOP class, transfer syntax) that the other side takes.

    Raises
    ------
    SendingFault : there is nobody, or it wants no association.
    """

    def __init__(
        self,
        host: str,
        port: int,
        *,
        calling: str,
        called: str,
        offers: Sequence[Offer],
        tls: ssl.SSLContext | None = None,
        connect_seconds: float = 10.0,
        answer_seconds: float = 60.0,
        pace: Pace | None = None,
    ) -> None:
        self._name = f"{called} at {host}:{port}"
        self._fault_kind = FaultKind.AWAY
        self._pace = pace or Pace(None)
        self._message_id = 0
        self.accepted: dict[tuple[str, str], int] = {}
        self._largest_bytes = 0
        try:
            self._socket = _connected(host, port, tls, connect_seconds)
        except OSError as error:
            raise self._away(error) from error
        self._socket.settimeout(answer_seconds)
        try:
            self._negotiate(calling, called, offers)
        except BaseException:
            self._socket.close()
            raise
        self._fault_kind = FaultKind.CUT

    def __enter__(self) -> Self:
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, traceback: TracebackType | None
    ) -> None:
        if error is None:
            self.release()
        else:
            self.abort()

    def store(self, context_id: int, sop_class: str, sop_instance_uid: str, data_set: memoryview) -> Answer:
        """Send an instance and wait for what the other side says.

        Parameters
        ----------
        data_set : encoded in the context's transfer syntax, without file meta information.

        Raises
        ------
        SendingFault : the connection ended, or no answer came.
        """
        self._message_id = self._message_id % 0xFFFF + 1
        command = store_request(self._message_id, sop_class, sop_instance_uid)
        try:
            self._send(data_pdu(context_id, COMMAND_LAST, command))
            for pieces in self._pieces(context_id, data_set):
                self._pace.wait(self._send(pieces))
            return self._answer()
        except OSError as error:
            raise self._away(error) from error

    def release(self) -> None:
        """End it in order (PS3.8 section 7.2); what was answered counts whatever happens here."""
        with suppress(OSError, SendingFault), self._socket:
            self._socket.sendall(struct.pack(">BxIxxxx", RELEASE, 4))
            self._read_pdu()

    def abort(self) -> None:
        """End it at once (A-ABORT by the service user)."""
        with suppress(OSError), self._socket:
            self._socket.sendall(struct.pack(">BxIxxBB", ABORT, 4, 0, 0))

    # -- negotiation -----------------------------------------------------------------------------------------------

    def _negotiate(self, calling: str, called: str, offers: Sequence[Offer]) -> None:
        try:
            self._socket.sendall(associate_request(calling, called, offers))
            kind, content = self._read_pdu()
        except OSError as error:
            raise self._away(error) from error
        if kind == REJECT:
            raise self._rejected(content)
        if kind != ACCEPT:
            raise self._away("it answered with something that is no DICOM")
        self._read_acceptance(content, offers)

    def _read_acceptance(self, content: bytes, offers: Sequence[Offer]) -> None:
        pdu = A_ASSOCIATE_AC()
        try:
            pdu.decode(content)
            limit = pdu.user_information.maximum_length if pdu.user_information else 0
            results = pdu.presentation_context
        except (ValueError, IndexError, struct.error, AttributeError) as error:
            raise self._away("its A-ASSOCIATE-AC can't be read") from error
        self._largest_bytes = min(limit or _LONGEST_PDU_BYTES, _LONGEST_PDU_BYTES) // 2 * 2
        for item in results:
            if item.result == 0 and item.context_id is not None and item.transfer_syntax is not None:
                offer = offers[item.context_id // 2]
                self.accepted[offer.sop_class, str(item.transfer_syntax)] = item.context_id

    def _rejected(self, content: bytes) -> SendingFault:
        pdu = A_ASSOCIATE_RJ()
        try:
            pdu.decode(content)
            words = f"{pdu.reason_str} ({pdu.result_str}, {pdu.source_str})"
        except (ValueError, IndexError, struct.error):
            words = "for no reason that can be read"
        return SendingFault(
            FaultKind.AWAY,
            f"{self._name} rejected the association: {words}.",
            remedy="Check both AE titles, and that this server is registered there with its address.",
        )

    def _away(self, error: OSError | str) -> SendingFault:
        if isinstance(error, ssl.SSLError) and self._fault_kind is FaultKind.AWAY:
            # Not later: encryption that stood and ends is a connection that broke, and no certificate's fault.
            return SendingFault(self._fault_kind, f"{self._name}: {tls_words(error)}.", remedy=TLS_REMEDY)
        words = error if isinstance(error, str) else error.strerror or str(error) or type(error).__name__
        return SendingFault(
            self._fault_kind,
            f"{self._name}: {words}.",
            remedy="Check that it runs, its address and port, and the firewalls between.",
        )

    # -- data ------------------------------------------------------------------------------------------------------

    def _pieces(self, context_id: int, data_set: memoryview) -> Iterator[list[bytes | memoryview]]:
        """Yield the data set as P-DATA-TF PDUs, some at once."""
        part_bytes = self._largest_bytes - 6
        starts = range(0, len(data_set), part_bytes)
        at_once = max(1, min(_PDUS_AT_ONCE, self._pace.bytes_at_once // self._largest_bytes))
        for some in batched(starts, at_once, strict=False):
            pieces: list[bytes | memoryview] = []
            for start in some:
                part = data_set[start : start + part_bytes]
                is_last = start + part_bytes >= len(data_set)
                pieces += [data_header(context_id, DATA_LAST if is_last else DATA_PART, len(part)), part]
            yield pieces

    def _send(self, pieces: list[bytes | memoryview]) -> int:
        """Send all of `pieces`; return how many bytes they have."""
        total = sum(map(len, pieces))
        if isinstance(self._socket, ssl.SSLSocket):
            self._socket.sendall(b"".join(pieces))
            return total
        sent = self._socket.sendmsg(pieces)
        if sent < total:
            self._send_rest(pieces, sent)
        return total

    def _send_rest(self, pieces: list[bytes | memoryview], sent: int) -> None:
        for piece in pieces:
            if sent >= len(piece):
                sent -= len(piece)
                continue
            self._socket.sendall(memoryview(piece)[sent:])
            sent = 0

    def _answer(self) -> Answer:
        command = bytearray()
        while True:
            kind, content = self._read_pdu()
            if kind == ABORT:
                raise self._away("it aborted the association")
            if kind != DATA:
                raise self._away(f"it sent a PDU of type {kind} where its answer was expected")
            for control, value in values(content[6:]):
                if control & 1:
                    command += value
                if control & COMMAND_LAST == COMMAND_LAST:
                    return read_answer(bytes(command))

    def _read_pdu(self) -> tuple[int, bytes]:
        head = self._read(6)
        kind, length = struct.unpack(">BxI", head)
        if length > _LONGEST_ANSWER_BYTES:
            raise self._away("it answered with something that is no DICOM")
        return kind, head + self._read(length)

    def _read(self, length: int) -> bytes:
        content = bytearray()
        while len(content) < length:
            part = self._socket.recv(length - len(content))
            if not part:
                raise self._away("it closed the connection")
            content += part
        return bytes(content)


def mapped(path: str) -> mmap.mmap:
    """Map a file; nothing of it is read before it is sent."""
    with open(path, "rb") as file:  # noqa: PTH123 (a path as the archive has it, a thousand a second)
        return mmap.mmap(file.fileno(), 0, access=mmap.ACCESS_READ)


def _connected(host: str, port: int, tls: ssl.SSLContext | None, seconds: float) -> socket.socket:
    connection = socket.create_connection((host, port), timeout=seconds)
    # Nagle's algorithm would have each message wait for some 40 ms.
    connection.setsockopt(socket.IPPROTO_TCP, socket.TCP_NODELAY, 1)
    return connection if tls is None else tls.wrap_socket(connection, server_hostname=host)
