"""The playbooks of daily operation change what they are asked for once, and nothing when they are asked again."""

from __future__ import annotations

import re
import secrets
from collections.abc import Iterator
from pathlib import Path

import pytest

from fixtures.provisioned_server import PreparedServer


@pytest.fixture(scope="module")
def name(server: PreparedServer) -> Iterator[str]:
    """Return a name that a person and a peer get here, and nobody afterwards."""
    name = f"daily-{secrets.token_hex(3)}"
    yield name
    server.run(f"pacs-account remove {name}")
    server.playbook("certificate.yml", "-e", f"peer={name}", "-e", "state=absent")


def changes(server: PreparedServer, playbook: str, *arguments: str) -> int:
    """Run a playbook that must succeed and return how many tasks changed something."""
    done = server.playbook(playbook, *arguments)
    recaps = re.findall(r"^\S+ +: .*changed=(\d+) .*failed=0 ", done.stdout, re.MULTILINE)
    assert recaps, done.stdout[-3000:]
    return sum(map(int, recaps))


@pytest.mark.parametrize("playbook", ["secrets.yml", "preflight.yml", "vpn_client.yml"])
def test_playbook_changes_nothing_when_there_is_nothing_to_do(server: PreparedServer, playbook: str) -> None:
    """Secrets that are there stay; looking changes nothing."""
    assert changes(server, playbook) == 0


def test_account_is_made_once_and_changed_when_it_differs(server: PreparedServer, name: str) -> None:
    """The same account asked for again is left alone; another role is a change."""
    person = ("-e", f"login={name}", "-e", '{"full_name": "Ana Núñez"}', "-e", "mail=ana@chilecito.test")
    assert changes(server, "user.yml", *person, "-e", "role=radiologist") > 0
    assert changes(server, "user.yml", *person, "-e", "role=radiologist") == 0
    assert changes(server, "user.yml", *person, "-e", "role=technician") == 1
    assert changes(server, "user.yml", "-e", f"login={name}", "-e", "state=disabled") == 1
    assert changes(server, "user.yml", "-e", f"login={name}", "-e", "state=disabled") == 0


def test_certificate_is_made_once_and_its_key_is_never_overwritten(
    server: PreparedServer, name: str, tmp_path: Path
) -> None:
    """Asked for again, a peer's certificate is the same, and the key that was fetched the first time is still there."""
    asked = ("-e", f"peer={name}", "-e", f"certificate_directory={tmp_path}")
    assert changes(server, "certificate.yml", *asked) > 0
    first = {path.name: path.read_bytes() for path in tmp_path.iterdir()}
    assert b"PRIVATE KEY" in first[f"{name}.key"]

    assert changes(server, "certificate.yml", *asked) == 0
    assert {path.name: path.read_bytes() for path in tmp_path.iterdir()} == first


@pytest.mark.parametrize("runs", [True, False], ids=["that runs", "that was stopped"])
def test_update_of_postgresql_leaves_the_archive_as_it_was(server: PreparedServer, *, runs: bool) -> None:
    """Debian's packages stop PostgreSQL and with it the archive, which is back where it ran and only there."""
    if not runs:
        server.ask("systemctl stop orthanc")
    began = server.ask("systemctl show -P InvocationID postgresql@17-main")
    try:
        server.ask("DEBIAN_FRONTEND=noninteractive apt-get install -qq -y --reinstall postgresql-17", 300)
        assert server.ask("systemctl show -P InvocationID postgresql@17-main") != began
        back = server.run("timeout 60 sh -c 'until systemctl --quiet is-active orthanc; do sleep 1; done'", 90)
        assert (back.returncode == 0) is runs
    finally:
        server.ask("systemctl start orthanc", 120)
