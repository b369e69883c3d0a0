"""Orthanc over HTTP: a connection that is closed as we use it costs nothing where asking again is safe."""

from __future__ import annotations

import socket
import struct
import threading
from collections.abc import Iterator
from contextlib import contextmanager

import pytest

from pacs.archive_http import HttpArchive
from pacs.errors import ArchiveError

ANSWER = b"HTTP/1.1 200 OK\r\nContent-Type: application/json\r\nContent-Length: 2\r\n\r\n{}"


@contextmanager
def hanging_up(times: int, *, breaks_off: bool = False) -> Iterator[tuple[str, list[bytes]]]:
    """Run a server that ends so many connections without a word, then answers; yield its URL and what came."""
    asked: list[bytes] = []
    with socket.create_server(("127.0.0.1", 0)) as server:

        def serve() -> None:
            while len(asked) <= times:
                connection, _ = server.accept()
                with connection:
                    said = connection.recv(65536)
                    # What is left unread would break the connection off where it should end.
                    while said.startswith(b"POST") and not said.endswith(b"{}"):
                        said += connection.recv(65536)
                    asked.append(said)
                    if len(asked) > times:
                        connection.sendall(ANSWER)
                    elif breaks_off:
                        # Closed with a reset, as when a request comes that nobody reads any more.
                        connection.setsockopt(socket.SOL_SOCKET, socket.SO_LINGER, struct.pack("ii", 1, 0))

        threading.Thread(target=serve, daemon=True).start()
        yield f"http://127.0.0.1:{server.getsockname()[1]}", asked


@pytest.mark.parametrize("breaks_off", [False, True])
def test_get_is_repeated_once_when_the_server_hangs_up(*, breaks_off: bool) -> None:
    """Reading twice is reading once."""
    with hanging_up(1, breaks_off=breaks_off) as (url, asked), HttpArchive(url) as archive:
        assert archive.get_json("/system") == {}
    assert len(asked) == 2


def test_get_fails_when_the_server_hangs_up_twice() -> None:
    """It is asked once more, not for ever."""
    with hanging_up(2) as (url, asked), HttpArchive(url) as archive:
        with pytest.raises(ArchiveError, match="disconnected"):
            archive.get_json("/system")
        assert len(asked) == 2


def test_post_is_never_repeated_when_the_server_hangs_up() -> None:
    """What was done, if it was, must not be done twice."""
    with hanging_up(1) as (url, asked), HttpArchive(url) as archive:
        with pytest.raises(ArchiveError, match="disconnected"):
            archive.post_json("/tools/find", {})
        assert len(asked) == 1
