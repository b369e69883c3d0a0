"""The server of the pages: waitress on a Unix socket, which only NGINX is let through to.

Not Orthanc's own REST callbacks: they lose repeated query parameters, take multipart forms apart, hold whole bodies
in memory and give every error the type text/plain (seen with Orthanc 1.12.7 and its Python plugin 5.0).
"""

from __future__ import annotations

import logging
import threading
from pathlib import Path
from typing import TYPE_CHECKING

import waitress

if TYPE_CHECKING:
    from _typeshed.wsgi import WSGIApplication

LOOP_SECONDS = 0.5
THREADS = 8

_log = logging.getLogger(__name__)


def serve(application: WSGIApplication, socket: Path, stop: threading.Event) -> None:
    """Answer requests under /pacs on the Unix socket until `stop` is set."""
    socket.parent.mkdir(parents=True, exist_ok=True)
    socket.unlink(missing_ok=True)
    server = waitress.create_server(
        application,
        unix_socket=str(socket),
        unix_socket_perms="660",
        url_prefix="/pacs",
        threads=THREADS,
        ident="",
        # NGINX is the only one that can connect, and sets these itself.
        trusted_proxy="localhost",
        trusted_proxy_headers="x-forwarded-for x-forwarded-host x-forwarded-proto",
        clear_untrusted_proxy_headers=True,
        max_request_body_size=64 * 1024**2,
    )
    _log.info("pages at %s", socket)
    try:
        while not stop.is_set():
            server.asyncore.loop(timeout=LOOP_SECONDS, map=server._map, count=1)  # noqa: SLF001 - its own run() has no end
    finally:
        server.task_dispatcher.shutdown()
        server.close()
        socket.unlink(missing_ok=True)
