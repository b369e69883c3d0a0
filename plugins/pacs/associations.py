"""What all DICOM associations that we ask for have in common."""

from __future__ import annotations

import socket
from typing import Any

from pynetdicom import evt


def without_delay(event: evt.Event) -> None:
    """Switch Nagle's algorithm off, with which each message waits for some 40 ms. A handler of EVT_CONN_OPEN."""
    connection: Any = event.assoc.dul.socket
    connection.socket.setsockopt(socket.IPPROTO_TCP, socket.TCP_NODELAY, 1)
