"""A place by SFTP, with OpenSSH at both ends: it takes, keeps, gives back and lets go like any other."""

from __future__ import annotations

import subprocess
from collections.abc import Iterator
from pathlib import Path

import pytest

from fixtures.backup_sites import BackupSite, backup_site, images
from fixtures.backup_ssh import SshPlace, ssh_place
from fixtures.ports import free_port
from pacs.backup import escrow, packs, points

PASSWORD = "of a repository"  # noqa: S105 - that lives as long as a test


@pytest.fixture(scope="module")
def office(tmp_path_factory: pytest.TempPathFactory) -> Iterator[SshPlace]:
    """Give a host that keeps backups."""
    with ssh_place(tmp_path_factory.mktemp("office") / "ssh") as place:
        yield place


@pytest.fixture(scope="module")
def site(office: SshPlace, tmp_path_factory: pytest.TempPathFactory) -> Iterator[BackupSite]:
    """Give an archive with its backups at the host alone."""
    folder = tmp_path_factory.mktemp("backup")
    with backup_site(folder) as made:
        secrets = {"PASSWORD": PASSWORD, "SSH_KEY": office.key, "SSH_HOST": office.known_host}
        for name, value in secrets.items():
            path = made.credentials / f"BACKUP_OFFICE_{name}"
            path.write_text(value)
            path.chmod(0o600)
        escrow.new_key(folder / "offline.key", folder / "offline.crt")
        made.write_settings(places=[{"name": "office", "kind": "sftp", "url": office.url}])
        made.store(images(folder, study="kept", slices=3))
        for words in (("database", "full"), ("nightly",), ("ship",)):
            assert made.command(*words) == 0
        yield made


def test_all_is_there_and_comes_back(site: BackupSite) -> None:
    """Repositories of each kind are there, and whole; a drill restores all of it; missing files come back."""
    assert site.command("check", "--read", "100%") == 0
    assert site.command("drill", "--place", "office") == 0
    whole = {name: path.read_bytes() for name, path in site.stored_uuids().items()}
    for path in site.stored_uuids().values():
        path.unlink()
    assert site.command("restore", "files", "--do") == 0
    assert {name: path.read_bytes() for name, path in site.stored_uuids().items()} == whole


def test_escrow_comes_back(site: BackupSite, tmp_path: Path) -> None:
    """The offline key and the host are enough."""
    words = ("restore", "configuration", "--do", "--into", tmp_path, "--key", site.folder / "offline.key")
    assert site.command(*words) == 0
    assert (tmp_path / str(site.credentials).lstrip("/") / "BACKUP_OFFICE_PASSWORD").read_text() == PASSWORD


def test_what_retention_does_not_keep_goes(site: BackupSite) -> None:
    """Prune lets go there as well: the copies that no policy keeps are forgotten, the newest stays."""
    assert site.command("database", "incr") == 0
    site.write_settings(
        places=[site.more["places"][0] | {"retention": {"hourly": 0, "daily": 1, "monthly": 0, "yearly": 0}}]
    )
    assert site.command("prune") == 0
    with site.site().place("office") as place:
        (month,) = points.months_at(place, "database")
        month.repository.check(read="100%")
    assert len(month.snapshots) == 1


def test_host_with_another_key_gets_nothing(site: BackupSite, tmp_path: Path) -> None:
    """Somebody in between who answers in its place is sent nothing, and the run says so."""
    known = site.credentials / "BACKUP_OFFICE_SSH_HOST"
    right = known.read_text()
    subprocess.run(["ssh-keygen", "-q", "-t", "ed25519", "-N", "", "-f", str(tmp_path / "other")], check=True)
    known.write_text(f"{right.split()[0]} {(tmp_path / 'other.pub').read_text()}")
    site.store(images(tmp_path, study="other", slices=1))
    assert site.command("files") == 4
    known.write_text(right)
    assert site.command("files") == 0
    with site.site().place("office") as place:
        batch = next(points.batches(place))
        there = {one.uuid for one in packs.members(batch.repository, batch.snapshot.snapshot_id)}
    assert there == set(site.stored_uuids())


def test_host_that_is_off_is_told_within_seconds(site: BackupSite) -> None:
    """A place that does not answer stops nobody: the run ends with its own status."""
    former = site.settings_file.read_text()
    port = site.more["places"][0]["url"].split(":")[2].partition("/")[0]
    site.settings_file.write_text(former.replace(f":{port}/", f":{free_port()}/"))
    assert site.command("files") == 4
    site.settings_file.write_text(former)
