"""What all DICOM associations that we ask for have in common."""

from __future__ import annotations

import socket
from collections.abc import Iterable
from typing import Any

from pynetdicom import AE, evt
from pynetdicom.association import Association
from pynetdicom.pdu import A_ASSOCIATE_RJ


def associate(
    entity: AE, host: str, port: int, *, ae_title: str, evt_handlers: Iterable[Any] = (), **options: Any
) -> Association:
    """Ask for an association as `AE.associate` does, without three faults of pynetdicom 3.

    Nagle's algorithm lets each message wait for some 40 ms; its thread for incoming requests takes, now and then, the
    answer that a sender waits for, which then waits in vain; and an association counts as aborted whose rejection
    (DICOM PS3.8 section 9.3.4) came before the thread that asked was awake.

    Returns
    -------
    association : `is_established`, or `is_rejected` with the reason as `acceptor.primitive`, or neither. Requests of
        the other side are not served.
    """
    rejections: list[A_ASSOCIATE_RJ] = []

    def note(event: evt.Event) -> None:
        if isinstance(event.pdu, A_ASSOCIATE_RJ):
            rejections.append(event.pdu)

    handlers = [(evt.EVT_CONN_OPEN, without_delay), (evt.EVT_PDU_RECV, note), *evt_handlers]
    association = entity.associate(host, port, ae_title=ae_title, evt_handlers=handlers, **options)
    if rejections:
        association.is_rejected = True
        association.acceptor.primitive = rejections[0].to_primitive()
    take = association.dimse.get_msg
    association.dimse.get_msg = lambda block=False: take(block=True) if block else (None, None)  # type: ignore[method-assign]
    return association


def without_delay(event: evt.Event) -> None:
    """Switch Nagle's algorithm off. A handler of EVT_CONN_OPEN."""
    connection: Any = event.assoc.dul.socket
    connection.socket.setsockopt(socket.IPPROTO_TCP, socket.TCP_NODELAY, 1)
