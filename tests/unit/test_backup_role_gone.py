"""What role `backup` removes from a server when places are no longer named: its tasks, run in a root of our own."""

from __future__ import annotations

import json
import os
import shutil
import subprocess
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import pytest

CHECKOUT = Path(__file__).parents[2]
PLAY = """\
- hosts: localhost
  connection: local
  gather_facts: false
  tasks:
    - ansible.builtin.include_role: {name: backup, tasks_from: %s}
"""
OWN = ("etc", "usr/local", "var")
ROOM = ("--dir", "/tmp")  # noqa: S108 - of the root that is made
ALONE = ("--unshare-user", "--uid", "0", "--gid", "0", "--proc", "/proc", "--dev", "/dev", "--tmpfs", "/root", *ROOM)
NOTES = '#!/bin/sh\necho "$(basename "$0") $*" >> /var/calls\n'
DISK = {"name": "disk", "kind": "disk", "url": "/var/mnt/pacs"}
CLINIC = {"name": "clinic", "kind": "rest", "url": "rest:https://clinic.example/pacs", "authority": "clinic.crt"}
CONFIGURED = (
    "etc/systemd/system/pacs-backup-files.service",
    "etc/systemd/system/pacs-backup-files.timer",
    "etc/systemd/system/pacs-backup-database@.service",
    "etc/systemd/system/pacs-backup-drill.path",
    "etc/pacs/credentials/BACKUP_INDEX_URL",
    "etc/pacs/credentials/BACKUP_DISK_PASSWORD",
    "etc/pacs/backup/backup.yml",
    "etc/pacs/backup/site.cms",
    "etc/tmpfiles.d/pacs-backup.conf",
    "usr/local/sbin/pacs-backup",
    "usr/local/lib/pacs/backup_begin.py",
    "var/lib/pacs-backup/site.json",
    "var/lib/pacs-backup/status/files.json",
    "var/lib/pacs-backup/status/files.disk.json",
)
OF_THE_CLINIC = (
    "etc/pacs/credentials/BACKUP_CLINIC_PASSWORD",
    "etc/pacs/backup/authorities/clinic.pem",
    "var/lib/pacs-backup/status/log.clinic.json",
    "var/lib/pacs-backup/points.clinic.json",
)
KEPT = (
    "etc/systemd/system/orthanc.service",
    "etc/pacs/credentials/orthanc-database",
    "etc/pacs/backup/signing.pem",
    "etc/pacs/promises.d/backup.yml",
    "var/lib/pacs-backup/catalog.db",
    "var/lib/pacs-backup/begun",
    "var/lib/pacs-backup/reports/drill.txt",
    "var/srv/backup/spool/pack",
    "var/srv/pgbackrest/backup",
    "var/mnt/pacs/files-2026-11/config",
)


@dataclass
class Server:
    """A root whose /etc, /usr/local and /var are ours, and what systemd and PostgreSQL were told."""

    root: Path

    def play(self, tasks: str, *places: dict[str, Any]) -> int:
        """Run tasks of the role as this root's root; return how many changed something."""
        (self.root / "var/play.yml").write_text(PLAY % tasks)
        written = {"pacs_data_directory": "/var/srv", "pacs_backup": bool(places), "backup_places": places}
        secrets = {
            "backup_index_password": "x",
            "backup_password": "x",
            "backup_required": False,
            "backup_timers": True,
        }
        variables = json.dumps(written | secrets | {"pacs_disk_encryption": False})
        own = [word for name in OWN for word in ("--bind", self.root / name, f"/{name}")]
        environment = ["--setenv", "PATH", f"/var/bin:{os.environ['PATH']}", "--setenv", "ANSIBLE_NOCOLOR", "1"]
        ansible = ["ansible-playbook", "-i", "localhost,", "/var/play.yml", "-e", variables]
        done = subprocess.run(
            ["bwrap", *ALONE, *_everything_else(), *own, *environment, "--", *ansible],
            capture_output=True,
            text=True,
            check=False,
        )
        assert done.returncode == 0, done.stdout + done.stderr
        return int(done.stdout.rpartition("changed=")[2].split()[0])

    def there(self, *names: str) -> list[str]:
        """Return which of some files are there."""
        return [name for name in names if (self.root / name).exists()]

    def calls(self) -> str:
        """Return what systemd and PostgreSQL were told."""
        path = self.root / "var/calls"
        return path.read_text() if path.exists() else ""


def _everything_else() -> list[str]:
    """Return what gives the root all that is here, but for what is its own."""
    words = []
    for path in sorted([*Path("/").iterdir(), *Path("/usr").iterdir()]):
        if path.is_symlink():
            words += ["--symlink", str(path.readlink()), str(path)]
        elif str(path)[1:] not in {*OWN, "usr", "tmp", "root", "proc", "dev"}:
            words += ["--ro-bind", str(path), str(path)]
    return words


@pytest.fixture
def server(tmp_path: Path) -> Server:
    """Give a root with backups to a disk and a clinic."""
    pytest.importorskip("ansible", reason="ansible-core is not installed here")
    if shutil.which("bwrap") is None:
        pytest.skip("bubblewrap is not installed here")
    shutil.copytree("/etc", tmp_path / "etc", symlinks=True, ignore_dangling_symlinks=True, ignore=_unreadable)
    for name in (*CONFIGURED, *OF_THE_CLINIC, *KEPT):
        (tmp_path / name).parent.mkdir(parents=True, exist_ok=True)
        (tmp_path / name).touch()
    for program in ("systemctl", "runuser"):
        path = tmp_path / "var/bin" / program
        path.parent.mkdir(exist_ok=True)
        path.write_text(NOTES)
        path.chmod(0o755)
    return Server(tmp_path)


def _unreadable(folder: str, names: list[str]) -> set[str]:
    """Return what of /etc an ordinary user can't copy."""
    shown = {}
    for name in names:
        try:
            shown[name] = Path(folder, name).is_symlink() or Path(folder, name).open("rb").close() is None
        except IsADirectoryError:
            shown[name] = True
        except OSError:
            shown[name] = False
    return {name for name, is_there in shown.items() if not is_there}


def test_place_that_is_no_longer_named_leaves_no_secret_and_no_word_of_it(server: Server) -> None:
    """Login, certificate and what was told of it go; the other place, units and all that was saved stay; once."""
    assert server.play("gone", DISK) > 0
    assert server.there(*OF_THE_CLINIC) == []
    assert server.there(*CONFIGURED, *KEPT) == [*CONFIGURED, *KEPT]
    assert server.play("gone", DISK) == 0


def test_unit_that_the_role_no_longer_has_is_stopped_and_goes(server: Server) -> None:
    """A timer of a former release, or of backup_times, runs no more."""
    (server.root / "etc/systemd/system/pacs-backup-tape.timer").touch()
    server.play("gone", DISK, CLINIC)
    assert server.there("etc/systemd/system/pacs-backup-tape.timer") == []
    assert "systemctl stop pacs-backup-tape.timer\nsystemctl disable pacs-backup-tape.timer" in server.calls()
    assert server.there(*CONFIGURED, *OF_THE_CLINIC) == [*CONFIGURED, *OF_THE_CLINIC]


def test_server_without_places_backs_up_no_more_and_loses_nothing(server: Server) -> None:
    """Nothing runs, is configured or logs in; the second run changes nothing; what was saved, and who signed, stay."""
    assert server.play("main") > 0
    assert server.there(*CONFIGURED, *OF_THE_CLINIC) == []
    assert server.there(*KEPT) == [*KEPT]
    assert "systemctl stop pacs-backup-database@*.service" in server.calls()
    assert "systemctl disable pacs-backup-files.timer" in server.calls()
    assert "runuser -u postgres" in server.calls()
    told = server.calls()
    assert server.play("main") == 0
    assert server.calls() == told
