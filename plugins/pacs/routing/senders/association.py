"""A DICOM association for sending files as they are: the files' bytes go into P-DATA without being looked at.

pynetdicom, which reads and writes the negotiation here too, would decode and copy each data set; this keeps neither. It
is a little faster than dcmtk's dcmsend, knows the answer to each instance at once, and keeps to a bandwidth (DICOM
PS3.8 section 9.3, PS3.7 section 9.3.1).
"""

from __future__ import annotations

import mmap
import socket
import ssl
import struct
from collections.abc import Iterator, Sequence
from contextlib import suppress
from dataclasses import dataclass
from itertools import batched
from types import TracebackType
from typing import Self

from pydicom.uid import UID
from pynetdicom import PYNETDICOM_IMPLEMENTATION_UID, PYNETDICOM_IMPLEMENTATION_VERSION, build_context
from pynetdicom.pdu import A_ASSOCIATE_AC, A_ASSOCIATE_RJ, A_ASSOCIATE_RQ
from pynetdicom.pdu_primitives import (
    A_ASSOCIATE,
    ImplementationClassUIDNotification,
    ImplementationVersionNameNotification,
    MaximumLengthNotification,
)

from pacs.routing.senders.faults import FaultKind, SendingFault
from pacs.routing.senders.pace import Pace

MOST_CONTEXTS = 128
_APPLICATION_CONTEXT = UID("1.2.840.10008.3.1.1.1")
_ACCEPT, _REJECT, _DATA, _RELEASE, _RELEASED, _ABORT = 2, 3, 4, 5, 6, 7
_COMMAND_LAST, _DATA_PART, _DATA_LAST = 3, 0, 2
# What we take, and what we send at most where the other side names no limit (bytes).
_OUR_PDU_BYTES = 65536
_LONGEST_PDU_BYTES = 131072
# Each PDU is two pieces of a sendmsg(2), which takes 1024 (IOV_MAX).
_PDUS_AT_ONCE = 500
_LONGEST_ANSWER_BYTES = 1 << 20
_BY_KEYWORD = {0x0900: "status", 0x0902: "comment"}


@dataclass(frozen=True)
class Offer:
    """A SOP class in one of several transfer syntaxes, the one we like best first."""

    sop_class: str
    syntaxes: tuple[str, ...]


@dataclass(frozen=True)
class Answer:
    """What the other side said of an instance: DIMSE status and ErrorComment (PS3.7 annex C)."""

    status: int
    comment: str


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
        command = _store_request(self._message_id, sop_class, sop_instance_uid)
        try:
            self._send(_pdu(context_id, _COMMAND_LAST, command))
            for pieces in self._pieces(context_id, data_set):
                self._pace.wait(self._send(pieces))
            return self._answer()
        except OSError as error:
            raise self._away(error) from error

    def release(self) -> None:
        """End it in order (PS3.8 section 7.2); what was answered counts whatever happens here."""
        with suppress(OSError, SendingFault), self._socket:
            self._socket.sendall(struct.pack(">BxIxxxx", _RELEASE, 4))
            self._read_pdu()

    def abort(self) -> None:
        """End it at once (A-ABORT by the service user)."""
        with suppress(OSError), self._socket:
            self._socket.sendall(struct.pack(">BxIxxBB", _ABORT, 4, 0, 0))

    # -- negotiation -----------------------------------------------------------------------------------------------

    def _negotiate(self, calling: str, called: str, offers: Sequence[Offer]) -> None:
        try:
            self._socket.sendall(_associate_request(calling, called, offers))
            kind, content = self._read_pdu()
        except OSError as error:
            raise self._away(error) from error
        if kind == _REJECT:
            raise self._rejected(content)
        if kind != _ACCEPT:
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
                pieces += [_header(context_id, _DATA_LAST if is_last else _DATA_PART, len(part)), part]
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
            if kind == _ABORT:
                raise self._away("it aborted the association")
            if kind != _DATA:
                raise self._away(f"it sent a PDU of type {kind} where its answer was expected")
            for control, value in _values(content[6:]):
                if control & 1:
                    command += value
                if control & _COMMAND_LAST == _COMMAND_LAST:
                    return _read_answer(bytes(command))

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


def _associate_request(calling: str, called: str, offers: Sequence[Offer]) -> bytes:
    primitive = A_ASSOCIATE()
    primitive.application_context_name = _APPLICATION_CONTEXT
    primitive.calling_ae_title, primitive.called_ae_title = calling, called
    contexts = []
    for number, offer in enumerate(offers):
        context = build_context(offer.sop_class, list(offer.syntaxes))
        context.context_id = number * 2 + 1
        contexts.append(context)
    primitive.presentation_context_definition_list = contexts
    length, uid = MaximumLengthNotification(), ImplementationClassUIDNotification()
    version = ImplementationVersionNameNotification()
    length.maximum_length_received = _OUR_PDU_BYTES
    uid.implementation_class_uid = PYNETDICOM_IMPLEMENTATION_UID
    version.implementation_version_name = PYNETDICOM_IMPLEMENTATION_VERSION
    primitive.user_information = [length, uid, version]
    pdu = A_ASSOCIATE_RQ()
    pdu.from_primitive(primitive)
    return pdu.encode()


def _store_request(message_id: int, sop_class: str, sop_instance_uid: str) -> bytes:
    """Return a C-STORE-RQ (PS3.7 table 9.3-1), in implicit VR little endian as all commands are."""
    elements = b"".join(
        (
            _element(0x0002, _uid(sop_class)),
            _element(0x0100, struct.pack("<H", 0x0001)),
            _element(0x0110, struct.pack("<H", message_id)),
            _element(0x0700, struct.pack("<H", 0x0000)),
            _element(0x0800, struct.pack("<H", 0x0001)),
            _element(0x1000, _uid(sop_instance_uid)),
        )
    )
    return _element(0x0000, struct.pack("<I", len(elements))) + elements


def _element(number: int, value: bytes) -> bytes:
    return struct.pack("<HHI", 0x0000, number, len(value)) + value


def _uid(uid: str) -> bytes:
    encoded = uid.encode("ascii")
    return encoded + b"\0" * (len(encoded) % 2)


def _header(context_id: int, control: int, length: int) -> bytes:
    """Return what stands before `length` bytes of one PDV in a PDU of its own (PS3.8 section 9.3.5)."""
    return struct.pack(">BxIIBB", _DATA, length + 6, length + 2, context_id, control)


def _pdu(context_id: int, control: int, value: bytes) -> list[bytes | memoryview]:
    return [_header(context_id, control, len(value)), value]


def _values(content: bytes) -> Iterator[tuple[int, bytes]]:
    """Yield message control header and value of each PDV of a P-DATA-TF."""
    start = 0
    while start + 6 <= len(content):
        length, _, control = struct.unpack_from(">IBB", content, start)
        yield control, content[start + 6 : start + 4 + length]
        start += 4 + max(length, 2)


def _read_answer(command: bytes) -> Answer:
    found: dict[str, bytes] = {}
    start = 0
    while start + 8 <= len(command):
        _, number, length = struct.unpack_from("<HHI", command, start)
        if number in _BY_KEYWORD:
            found[_BY_KEYWORD[number]] = command[start + 8 : start + 8 + length]
        start += 8 + length
    status = found.get("status", b"")
    comment = found.get("comment", b"").decode("ascii", "replace").strip(" \0")
    # An answer without a status is no success: 0110 is "processing failure".
    return Answer(struct.unpack("<H", status)[0] if len(status) == 2 else 0x0110, comment)  # noqa: PLR2004
