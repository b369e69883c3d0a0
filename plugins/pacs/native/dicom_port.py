"""The DICOM port, open for everyone while somebody connects and says nothing.

Orthanc accepts associations one after the other: until a new connection has brought its A-ASSOCIATE-RQ, for up to
30 s, nobody else's is looked at. A port scanner or a hung modality stops the archive with it. Linux can keep such
connections to itself: with TCP_DEFER_ACCEPT a listener hears of a connection only once something was sent over it.
The requestor of an association always speaks first (PS3.8 9.2), so nobody who means DICOM waits for longer.

Sources: tcp(7), listen(2).
"""

from __future__ import annotations

import logging
import os
import socket
import stat
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

_LOG = logging.getLogger(__name__)
# After it Linux hands the connection over all the same.
_SILENT_SECONDS = 3600
# Beyond so many Linux can't tell silent ones any more and hands over all. DCMTK asks for 50 only.
_SILENT_AT_MOST = 4096


def hold_back_silent_connections(port: int) -> bool:
    """Let this process accept connections to `port`, on which it listens, once they say something.

    Returns False, with a warning in the log, where that is not possible. Call when Orthanc has started.
    """
    try:
        with _listener(port) as listener:
            listener.setsockopt(socket.IPPROTO_TCP, socket.TCP_DEFER_ACCEPT, _SILENT_SECONDS)
            listener.listen(_SILENT_AT_MOST)
    except (OSError, LookupError) as error:
        _LOG.warning("A silent connection to the DICOM port %d keeps all others waiting: %s", port, error)
        return False
    return True


@contextmanager
def _listener(port: int) -> Iterator[socket.socket]:
    """Yield the socket on which this process listens at a TCP port, by a descriptor of its own."""
    for descriptor in _sockets():
        with socket.socket(fileno=os.dup(descriptor)) as candidate:
            is_listening = candidate.getsockopt(socket.SOL_SOCKET, socket.SO_ACCEPTCONN)
            if is_listening and candidate.family != socket.AF_UNIX and candidate.getsockname()[1] == port:
                yield candidate
                return
    raise LookupError("nothing listens there")


def _sockets() -> Iterator[int]:
    for entry in list(Path("/proc/self/fd").iterdir()):
        try:
            if stat.S_ISSOCK(entry.stat().st_mode):
                yield int(entry.name)
        except FileNotFoundError:
            continue  # closed meanwhile, for example the listing itself
