"""Targets by TLS: nothing goes in the clear where TLS is meant, nor to anybody whose certificate is not trusted."""

from __future__ import annotations

import re
import ssl
import subprocess
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Any

import pytest

from fixtures import dcmtk
from fixtures.orthanc_alone import OrthancAlone
from fixtures.ports import free_port
from fixtures.recipients import recipient
from fixtures.routing_worlds import routing_world
from fixtures.stations import wait_for_port
from pacs.routing.delivery.states import DeliveryState
from pacs.routing.senders.association import Association
from pacs.routing.senders.faults import FaultKind

pytest_plugins = ("fixtures.orthancs", "fixtures.certificates")


@contextmanager
def storescp_by_tls(folder: Path, certificates: Path, name: str, *options: str) -> Iterator[int]:
    """Run dcmtk's receiver with the certificate `name`; it wants one of ours of the authority "ca". Yield its port."""
    folder.mkdir()
    port = free_port()
    command = [dcmtk.path_of("storescp"), "-aet", "TLS", "-od", str(folder), "--accept-all"]
    command += ["+tls", str(certificates / f"{name}.key"), str(certificates / f"{name}.pem")]
    command += ["+cf", str(certificates / "ca.pem"), *options, str(port)]
    with subprocess.Popen(command, stdout=subprocess.DEVNULL, stderr=subprocess.DEVNULL) as process:
        try:
            wait_for_port(port)
            yield port
        finally:
            process.terminate()


def target(port: int, certificates: Path, **tls: Any) -> dict[str, Any]:
    """Return a target by TLS with our certificate."""
    ours = {"certificate": str(certificates / "his.pem"), "key": str(certificates / "his.key")}
    authorities = {"authorities": str(certificates / "ca.pem")}
    where = {"kind": "dicom", "aet": "TLS", "host": "localhost", "port": port, "proof": "none"}
    return where | {"tls": authorities | ours | tls}


def test_study_goes_by_tls_with_both_certificates_verified(
    orthanc: OrthancAlone, tmp_path: Path, certificates: Path
) -> None:
    """A storescp of dcmtk, which wants our certificate, takes a study over TLS."""
    with (
        storescp_by_tls(tmp_path / "in", certificates, "server") as port,
        routing_world(tmp_path, orthanc, {"t": target(port, certificates)}) as world,
    ):
        study, images = world.study(3)
        world.wait(world.order(study, "t"), DeliveryState.SENT)
    assert {one.SOPInstanceUID for one in dcmtk.read_folder(tmp_path / "in")} == {
        image.SOPInstanceUID for image in images
    }


@pytest.mark.parametrize(
    ("name", "tls", "words"),
    [
        ("impostor", {}, "its certificate is not trusted: self-signed certificate|unable to get local issuer"),
        ("server", {"authorities": None}, "its certificate is not trusted"),
        ("server", {"certificate": "stranger.pem", "key": "stranger.key"}, "no encrypted connection|closed|reset"),
    ],
)
def test_nothing_goes_when_a_certificate_is_not_trusted(  # noqa: PLR0917 (three of them are the table's)
    orthanc: OrthancAlone, tmp_path: Path, certificates: Path, name: str, tls: dict[str, Any], words: str
) -> None:
    """An impostor gets nothing, nor do we get in with a stranger's certificate; the ledger says what to do."""
    own = {key: str(certificates / value) if value else None for key, value in tls.items()}
    with (
        storescp_by_tls(tmp_path / "in", certificates, name) as port,
        routing_world(tmp_path, orthanc, {"t": target(port, certificates, **own)}) as world,
    ):
        row = world.wait_until(world.order(world.study(1)[0], "t"), lambda row: bool(row.error))
    assert row.state == "waiting"
    assert re.search(words, row.error or ""), row.error
    assert list((tmp_path / "in").iterdir()) == []


def test_station_that_speaks_tls_is_never_sent_to_in_the_clear(
    orthanc: OrthancAlone, tmp_path: Path, certificates: Path
) -> None:
    """A station of the page of AEs with TLS is sent to by TLS, with the target's certificates; a plain one not."""
    with (
        storescp_by_tls(tmp_path / "in", certificates, "server") as port,
        recipient() as plain,
    ):
        for name, aet, at in (("secure", "TLS", port), ("plain", plain.aet, plain.port)):
            station = {"AET": aet, "Host": "localhost", "Port": at, "UseDicomTls": True}
            orthanc.archive.put_json(f"/modalities/{name}", station)
        tls = target(port, certificates)["tls"]
        targets = {
            "t": {"kind": "dicom", "modality": "secure", "proof": "none", "tls": tls},
            "p": {"kind": "dicom", "modality": "plain", "proof": "none"},
        }
        with routing_world(tmp_path, orthanc, targets) as world:
            study, _ = world.study(2)
            secure, clear = world.order(study, "t"), world.order(study, "p")
            world.wait(secure, DeliveryState.SENT)
            world.wait_until(clear, lambda row: "no encrypted connection" in (row.error or ""))
    assert len(dcmtk.read_folder(tmp_path / "in")) == 2
    assert not plain.arrivals


@pytest.mark.parametrize(
    ("kind", "words", "cure"),
    [(FaultKind.AWAY, "no encrypted connection", "certificate"), (FaultKind.CUT, "EOF occurred", "firewalls")],
)
def test_connection_that_breaks_later_is_no_fault_of_a_certificate(kind: FaultKind, words: str, cure: str) -> None:
    """Who ends encryption that stood is not said to have a wrong certificate; who never lets it begin is."""
    association = object.__new__(Association)
    association._name, association._fault_kind = "T at host:104", kind
    error = ssl.SSLEOFError(8, "EOF occurred in violation of protocol")
    error.reason = "UNEXPECTED_EOF_WHILE_READING"
    fault = association._away(error)
    assert (fault.kind, words in fault.message, cure in fault.remedy) == (kind, True, True)
