"""Why an association failed, told apart by real DICOM nodes that refuse in different ways."""

from __future__ import annotations

import socket
import threading
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from typing import Any

import pytest
from pynetdicom import AE
from pynetdicom.sop_class import Verification  # type: ignore[attr-defined]

from fakes.archive import MemoryArchive
from pacs.errors import ArchiveError
from pacs.web import association
from pacs.web.association import AssociationFault, classify, echo, examine
from pacs.web.modalities import RemoteModality


@pytest.mark.parametrize(
    ("words", "fault"),
    [
        ("TCP Initialization Error: Connection refused", AssociationFault.REFUSED),
        ("Attempt to connect to unknown host: no-such-host.example", AssociationFault.UNKNOWN_HOST),
        ("TCP Initialization Error: No route to host", AssociationFault.UNREACHABLE),
        ("DUL network read timeout", AssociationFault.NO_ANSWER),
        ("DUL Association Rejected", AssociationFault.ASSOCIATION_REJECTED),
        ("Reason: Called AE Title Not Recognized", AssociationFault.CALLED_AE_REJECTED),
        ("Reason: Calling AE Title Not Recognized", AssociationFault.CALLING_AE_REJECTED),
        ("Peer aborted Association (or never connected)", AssociationFault.CLOSED),
        ("No presentation context was accepted", AssociationFault.NO_COMMON_SYNTAX),
        ("Error in the network protocol", AssociationFault.OTHER),
        ("", AssociationFault.OTHER),
    ],
)
def test_classify_knows_the_words_of_orthanc(words: str, fault: AssociationFault) -> None:
    """Each text, as Orthanc 1.12 and DCMTK 3.6 write it, leads to its own advice."""
    assert classify(words) is fault


@contextmanager
def node(**rules: Any) -> Iterator[int]:
    """Run a DICOM node called GOOD and give its port."""
    entity = AE(ae_title="GOOD")
    entity.add_supported_context(Verification)
    for name, value in rules.items():
        setattr(entity, name, value)
    server = entity.start_server(("127.0.0.1", 0), block=False)
    assert server is not None
    try:
        yield server.server_address[1]
    finally:
        server.shutdown()


@contextmanager
def listener(act: Callable[[socket.socket], None]) -> Iterator[int]:
    """Listen on a port and act on the first connections."""
    with socket.create_server(("127.0.0.1", 0)) as server:

        def run() -> None:
            while True:
                try:
                    connection, _ = server.accept()
                except OSError:
                    return
                act(connection)

        threading.Thread(target=run, daemon=True).start()
        yield server.getsockname()[1]


def remote(port: int, ae_title: str = "WRONG") -> RemoteModality:
    """Return a node on this machine."""
    return RemoteModality("node", ae_title, "127.0.0.1", port)


def test_examine_tells_a_wrong_called_title() -> None:
    """The other side does not go by that name."""
    with node(require_called_aet=True) as port:
        assert examine(remote(port), "PACS") is AssociationFault.CALLED_AE_REJECTED


def test_examine_tells_that_we_are_unknown() -> None:
    """The other side takes only titles that it knows, and ours is none."""
    with node(require_calling_aet=["OTHERS"]) as port:
        assert examine(remote(port, "GOOD"), "PACS") is AssociationFault.CALLING_AE_REJECTED


def test_examine_tells_who_hangs_up() -> None:
    """A port that is no DICOM, or wants TLS, closes the connection."""
    with listener(lambda connection: connection.close()) as port:
        assert examine(remote(port), "PACS") is AssociationFault.CLOSED


def test_examine_tells_who_stays_silent(monkeypatch: pytest.MonkeyPatch) -> None:
    """A port that takes the connection and says nothing is told apart from one that hangs up."""
    monkeypatch.setattr(association, "KNOCK_SECONDS", 0.5)
    kept: list[socket.socket] = []
    with listener(kept.append) as port:
        assert examine(remote(port), "PACS") is AssociationFault.NO_ANSWER


def test_examine_tells_a_closed_port_and_an_unknown_host() -> None:
    """What is wrong below DICOM is found before an association is asked for."""
    with socket.create_server(("127.0.0.1", 0)) as server:
        port = server.getsockname()[1]
    assert examine(remote(port), "PACS") is AssociationFault.REFUSED
    nowhere = RemoteModality("node", "X", "no-such-host.invalid", 104)
    assert examine(nowhere, "PACS") is AssociationFault.UNKNOWN_HOST


def test_echo_looks_for_itself_when_orthanc_gives_no_reason() -> None:
    """Within Orthanc only an error code comes back; the reason is found out all the same."""
    failed = ArchiveError("Orthanc refused /modalities/node/echo: Error in the network protocol (code 9).")
    archive = MemoryArchive({"/system": {"DicomAet": "PACS"}}, {"/modalities/node/echo": failed})
    with node(require_called_aet=True) as port:
        outcome = echo(archive, remote(port), 3)
    assert outcome.fault is AssociationFault.CALLED_AE_REJECTED
    assert "code 9" in outcome.detail


def test_echo_tells_success() -> None:
    """No fault when Orthanc had its answer."""
    archive = MemoryArchive(outcomes={"/modalities/node/echo": {}})
    assert echo(archive, remote(104), 3).fault is None
    assert archive.written == [("POST", "/modalities/node/echo", {"Timeout": 3, "CheckFind": False})]
