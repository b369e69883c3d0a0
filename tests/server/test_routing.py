"""Studies go from the provisioned server to archives in the internet, over a line that is slow, loses and breaks."""

from __future__ import annotations

import json
import time
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path

import pytest

from fixtures.backup_sites import images
from fixtures.hospital_network import Host
from fixtures.provisioned_server import CLOUD, CLOUD_PASSWORD, READER, PreparedServer

IMAGES = 40
IMAGE_SIZE = 512
STUDY = "far"
FOLDER = "/srv/pacs/plugins/routing"
RULES = f"""\
rules:
  - name: To the reader and the cloud
    on: series stable
    if: {{PatientID: BACKUP-{STUDY}}}
    do:
      - send: [reader, cloud]
"""
# One packet of thirty gets lost, and no more comes through than a clinic's line takes. (What `tc netem` does, for
# kernels that do not have it.)
LINE = """\
table inet line {
  chain arriving {
    type filter hook input priority 0;
    iifname lo accept
    numgen random mod 30 == 0 drop
    limit rate over 3 mbytes/second burst 300 kbytes drop
  }
}
"""
BREAK = "insert rule inet line arriving iifname != lo meta l4proto tcp reject with tcp reset"
BREAK_SECONDS = 5
START_SECONDS = 60
PATIENCE_SECONDS = 240


@dataclass(frozen=True)
class OutsideArchive:
    """An Orthanc at a host in the internet."""

    host: Host
    http_port: int

    def ask(self, path: str) -> bytes:
        """Ask its REST API, on its own machine."""
        address = f"http://127.0.0.1:{self.http_port}{path}"
        return self.host.run("curl", "-sS", "-u", f"pacs:{CLOUD_PASSWORD}", address).stdout.encode()

    def instances(self) -> list[str]:
        """Return the identifiers of what it has; none while it doesn't answer."""
        said = self.ask("/instances")
        return json.loads(said) if said else []


@contextmanager
def outside_archive(host: Host, folder: Path, ports: dict[str, int], aet: str) -> Iterator[OutsideArchive]:
    """Run one, by DICOM and by DICOMweb, behind a password."""
    folder.mkdir()
    settings = {
        "DicomAet": aet,
        "DicomPort": ports["dicom"],
        "DicomAlwaysAllowFind": True,
        "HttpPort": ports["http"],
        "RemoteAccessAllowed": True,
        "AuthenticationEnabled": True,
        "RegisteredUsers": {"pacs": CLOUD_PASSWORD},
        "StorageDirectory": str(folder / "storage"),
        "Plugins": ["/usr/share/orthanc/plugins/libOrthancDicomWeb.so"],
    }
    (folder / "orthanc.json").write_text(json.dumps(settings))
    process = host.start("/usr/sbin/Orthanc", folder / "orthanc.json", log=folder / "log")
    archive = OutsideArchive(host, ports["http"])
    try:
        give_up_at = time.monotonic() + START_SECONDS
        while b"ApiVersion" not in archive.ask("/system"):
            assert time.monotonic() < give_up_at, (folder / "log").read_text()[-2000:]
            time.sleep(0.2)
        yield archive
    finally:
        process.kill()
        process.wait()


@pytest.fixture
def outside(people: dict[str, Host], tmp_path: Path) -> Iterator[dict[str, OutsideArchive]]:
    """Run the targets that the server's variables name; their line is a bad one."""
    partner = people["partner"]
    (tmp_path / "line").write_text(LINE)
    assert partner.run("nft", "-f", tmp_path / "line").returncode == 0
    try:
        with (
            outside_archive(partner, tmp_path / "reader", READER, "READER") as reader,
            outside_archive(partner, tmp_path / "cloud", CLOUD, "CLOUD") as cloud,
        ):
            yield {"reader": reader, "cloud": cloud}
    finally:
        partner.run("nft", "delete", "table", "inet", "line")


@pytest.fixture
def rules(server: PreparedServer) -> Iterator[None]:
    """Put the rules in force, and take them away again."""
    (server.machine.root / FOLDER.lstrip("/") / "rules.yaml").write_text(RULES)
    try:
        wait_until(lambda: "To the reader" in server.ask(f"cat {FOLDER}/history/rules.jsonl 2>&1 || true"), "in force")
        yield
    finally:
        server.ask(f"rm {FOLDER}/rules.yaml")


def wait_until(is_so: Callable[[], object], what: str) -> None:
    """Wait until something is so."""
    give_up_at = time.monotonic() + PATIENCE_SECONDS
    while not is_so():
        assert time.monotonic() < give_up_at, what
        time.sleep(0.5)


def deliveries(server: PreparedServer) -> dict[str, str]:
    """Return target and state of each delivery of the study."""
    query = "SELECT target, state FROM deliveries WHERE rule LIKE 'To the reader%' ORDER BY target"
    lines = server.ask(f'runuser -u postgres -- psql -XAt pacs -c "{query}"').split()
    return dict(line.split("|") for line in lines)


@pytest.mark.usefixtures("rules")
def test_study_is_proven_at_every_target_over_a_line_that_breaks(
    server: PreparedServer, people: dict[str, Host], outside: dict[str, OutsideArchive], tmp_path: Path
) -> None:
    """By DICOM and by STOW-RS with a password of the vault: all images once, and called proven when they are there."""
    folder = tmp_path / "images"
    folder.mkdir()
    images(folder, study=STUDY, slices=IMAGES, size=IMAGE_SIZE)
    send = ("env", "TCP_NODELAY=1", "/usr/bin/storescu", "-aet", "CT1", "-aec", "PACS", "+sd")
    sent = people["modality"].run(*send, server.lan_address, "4242", folder, timeout_seconds=120)
    assert sent.returncode == 0, sent.stderr

    wait_until(lambda: outside["reader"].instances() or outside["cloud"].instances(), "nothing arrives")
    people["partner"].run("nft", *BREAK.split())
    time.sleep(BREAK_SECONDS)
    people["partner"].run("nft", "-f", "-", input=f"delete table inet line\n{LINE}")
    assert set(deliveries(server)) == {"reader", "cloud"}
    wait_until(lambda: set(deliveries(server).values()) == {"proven"}, f"not all are proven: {deliveries(server)}")

    for name, archive in outside.items():
        assert len(archive.instances()) == IMAGES, name
    for patient in json.loads(server.ask(f"curl -sS http://127.0.0.1:8042/tools/lookup -d BACKUP-{STUDY}")):
        server.ask(f"curl -sS -X DELETE http://127.0.0.1:8042/patients/{patient['ID']}")


def test_targets_password_is_a_credential_of_the_archive_alone(server: PreparedServer) -> None:
    """It stands in no file of routing, and nobody but root reads it where it stands."""
    assert server.run(f"grep -rl {CLOUD_PASSWORD} {FOLDER}").stdout == ""
    assert "${CLOUD_PASSWORD}" in server.ask(f"cat {FOLDER}/targets.yaml")
    where = server.ask(f"grep -rl {CLOUD_PASSWORD} /etc --exclude-dir=backup").split()
    assert len(where) == 1
    assert server.ask(f"stat -c '%U %a' {where[0]}").split() in (["root", "600"], ["root", "400"])


def test_firewall_lets_out_to_the_targets_alone(server: PreparedServer, people: dict[str, Host]) -> None:
    """Of the partner's ports the server reaches those of the targets; what else there is gets no packet."""
    for port, lets_out in ((READER["dicom"], True), (CLOUD["http"], True), (8098, False)):
        said = server.run(f"bash -c '</dev/tcp/{people['partner'].address}/{port}'").stderr
        # Nobody listens there now: what gets through is refused by the partner's machine.
        assert ("Connection refused" in said) is lets_out, said
