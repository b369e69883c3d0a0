"""HL7 and DICOM by TLS: only for peers with a certificate of this server's that is not revoked; they store and find."""

from __future__ import annotations

import json
import secrets
import shutil
import time
from collections.abc import Iterator, Sequence
from pathlib import Path

import pytest
from pydicom.uid import generate_uid

from fixtures.fictitious_studies import as_file, dicom_image
from fixtures.hospital_network import Host
from fixtures.provisioned_server import PreparedServer

# Prints what the server does with a connection: "refused" when it closes it, "open" when it waits for eight seconds,
# "silent" when the firewall lets nothing through.
KNOCK = """
import socket, ssl, sys
address, port, folder, peer = sys.argv[1:5]
context = ssl.create_default_context(cafile=None)
context.check_hostname, context.verify_mode = False, ssl.CERT_NONE
if peer:
    context.load_cert_chain(f"{folder}/{peer}.crt", f"{folder}/{peer}.key")
try:
    plain = socket.create_connection((address, int(port)), 5)
except TimeoutError:
    sys.exit(print("silent"))
try:
    with plain, context.wrap_socket(plain) as door:
        door.settimeout(8)
        print("refused" if door.recv(1) == b"" else "open")
except TimeoutError:
    print("open")
except OSError:
    print("refused")
"""

RELOADED_WITHIN_SECONDS = 60


@pytest.fixture
def peer(server: PreparedServer, tmp_path: Path) -> Iterator[tuple[str, Path]]:
    """Make a certificate; return its peer's name and the folder where it and its key are."""
    name = f"ris-{secrets.token_hex(4)}"
    done = server.playbook("certificate.yml", "-e", f"peer={name}", "-e", f"certificate_directory={tmp_path}")
    assert done.returncode == 0, done.stdout
    yield name, tmp_path
    shutil.rmtree(tmp_path)


def knock(people: dict[str, Host], server: PreparedServer, folder: Path, peer: str = "") -> dict[str, str]:
    """Connect by TLS where the firewall knows the address: HL7 from the HIS, DICOM from the partner."""
    doors = {"his": (server.lan_address, 2576), "partner": (server.address, 2762)}
    return {
        name: people[name].run("python3", "-c", KNOCK, address, str(port), str(folder), peer).stdout.strip()
        for name, (address, port) in doors.items()
    }


def test_only_known_peers_come_in_and_revoked_ones_no_more(
    server: PreparedServer, people: dict[str, Host], peer: tuple[str, Path]
) -> None:
    """Without certificate no port opens, with one both do, revoked neither; the key is not left on the server."""
    name, folder = peer
    refused, opened = dict.fromkeys(("his", "partner"), "refused"), dict.fromkeys(("his", "partner"), "open")
    assert knock(people, server, folder) == refused
    assert knock(people, server, folder, name) == opened
    assert server.ask(f"ls /etc/pacs/ca/clients/keys | grep -c {name} || true").strip() == "0"
    assert (folder / f"{name}.key").stat().st_mode & 0o777 == 0o600

    assert server.playbook("certificate.yml", "-e", f"peer={name}", "-e", "state=absent").returncode == 0

    # While NGINX reloads, its old workers still answer.
    give_up_at = time.monotonic() + RELOADED_WITHIN_SECONDS
    while (found := knock(people, server, folder, name)) != refused:
        assert time.monotonic() < give_up_at, found


def by_dicom(host: Host, program: str, title: str, *arguments: str | Path, tls: Sequence[str | Path]) -> bool:
    """Run one of dcmtk's programs; return whether it had what it wanted."""
    done = host.run(f"/usr/bin/{program}", "-v", "-to", "10", *tls, "-aet", title, "-aec", "PACS", *arguments)
    return done.returncode == 0 and "(Success)" in done.stdout + done.stderr


def test_peer_stores_and_finds_by_tls_alone(
    server: PreparedServer, people: dict[str, Host], peer: tuple[str, Path]
) -> None:
    """With its certificate and title an image is stored and found; without either, and in the clear, none is."""
    name, folder = peer
    partner, study = people["partner"], generate_uid()
    certified, nameless, clear = ("+tls", folder / f"{name}.key", folder / f"{name}.crt", "-ic"), ("+tla", "-ic"), ()

    def stores(title: str, tls: Sequence[str | Path]) -> bool:
        image = folder / "image.dcm"
        image.write_bytes(as_file(dicom_image(StudyInstanceUID=study)))
        return by_dicom(partner, "storescu", title, server.address, port(tls), image, tls=tls)

    def finds(title: str, tls: Sequence[str | Path]) -> list[Path]:
        keys = ("-S", "-k", "QueryRetrieveLevel=STUDY", "-k", f"StudyInstanceUID={study}")
        answers = folder / "answers"
        answers.mkdir()
        by_dicom(partner, "findscu", title, "-X", "-od", answers, *keys, server.address, port(tls), tls=tls)
        found = list(answers.iterdir())
        shutil.rmtree(answers)
        return found

    def port(tls: Sequence[str | Path]) -> str:
        return "2762" if tls else "4242"

    assert stores("CLINIC", certified)
    assert len(finds("CLINIC", certified)) == 1
    for title, tls in (("CLINIC", nameless), ("PARTNER", certified), ("CLINIC", clear)):
        assert not stores(title, tls), (title, tls)
        assert finds(title, tls) == [], (title, tls)

    (kept,) = json.loads(server.ask(f"curl -sS http://127.0.0.1:8042/tools/lookup -d {study}"))
    assert len(json.loads(server.ask(f"curl -sS http://127.0.0.1:8042/studies/{kept['ID']}/instances"))) == 1
    server.ask(f"curl -sS -X DELETE http://127.0.0.1:8042/studies/{kept['ID']}")
