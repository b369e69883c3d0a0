"""A clinic's machine as ansible/backup_keeper.yml makes it: it takes backups, and gives and loses nothing."""

from __future__ import annotations

import json
import os
import shutil
import subprocess
from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path

import pytest

from fixtures.hospital_network import Host
from fixtures.server_machine import CHECKOUT, ServerMachine, server_machine

pytestmark = pytest.mark.soak

ADDRESS = "198.51.100.98"
LAN_ADDRESS = "10.20.0.98"
LOGIN = "pacs:aLoginOfTheKeeperAtTheClinic0"
FOLDER = "srv/pacs-backups"
PORT, READING_PORT = 8443, 8444
INVENTORY = """\
[keepers]
clinic ansible_host={lan} ansible_user=admin ansible_ssh_private_key_file={key} \
ansible_ssh_common_args="-o StrictHostKeyChecking=no -o UserKnownHostsFile={folder}/known_hosts"

[pacs]
pacs.test ansible_connection=local
"""
NAMES = json.dumps({"backup_keeper_names": [ADDRESS]})


@dataclass
class Keeper:
    """The clinic's machine, and the archive's server, which has the login and the keys.

    Attributes
    ----------
    server : the host that the archive's server stands at.
    project : a copy of this project with the clinic's variables.
    saved : what the server saved there.
    """

    machine: ServerMachine
    server: Host
    project: Path
    saved: Path

    def playbook(self, *arguments: str) -> str:
        """Run ansible/backup_keeper.yml; it must succeed."""
        words = ("ansible-playbook", "ansible/backup_keeper.yml", "-e", NAMES, *arguments)
        done = subprocess.run(
            self.machine.admin.command(*words),
            cwd=self.project,
            capture_output=True,
            text=True,
            timeout=900,
            check=False,
            env=os.environ | {"ANSIBLE_NOCOLOR": "1", "HOME": str(self.machine.folder)},
        )
        assert done.returncode == 0, (done.stdout + done.stderr)[-4000:]
        return done.stdout

    def restic(self, *words: str | Path, port: int = PORT) -> subprocess.CompletedProcess[str]:
        """Run restic as an intruder on the archive's server does: with its login and its password."""
        options = ("--cacert", self.project / "keepers/clinic.crt", "--no-cache")
        address = f"rest:https://{LOGIN}@{ADDRESS}:{port}/pacs/files-2026-11"
        return self.server.run("env", "RESTIC_PASSWORD=password", "restic", "-r", address, *options, *words)

    def ask(self, path: str, *words: str, port: int = PORT) -> str:
        """Return the HTTP status of a request with the server's login, 000 for none."""
        options = ("--cacert", self.project / "keepers/clinic.crt", "--path-as-is", "-u", LOGIN, "--max-time", "10")
        said = ("-o", "/dev/null", "-w", "%{http_code}")
        return self.server.run("curl", "-s", *options, *said, *words, f"https://{ADDRESS}:{port}/{path}").stdout

    def files(self) -> dict[str, int]:
        """Return what lies at the clinic, but for locks, which whoever writes makes and removes."""
        folder = self.machine.root / FOLDER
        found = (path for path in folder.rglob("*") if path.is_file() and path.parent.name != "locks")
        return {str(path.relative_to(folder)): path.stat().st_size for path in found}


@pytest.fixture(scope="module")
def keeper(people: dict[str, Host], tmp_path_factory: pytest.TempPathFactory) -> Iterator[Keeper]:
    """Make one of a bare machine, and save something there."""
    project = tmp_path_factory.mktemp("project")
    for name in ("ansible", "roles", "backup", "plugins"):
        shutil.copytree(CHECKOUT / name, project / name, ignore=shutil.ignore_patterns("__pycache__", "vault.yml"))
    shutil.copy(CHECKOUT / "ansible.cfg", project)
    vault = f"vault_backup_places:\n  clinic: {{login: '{LOGIN}'}}\n"
    (project / "ansible/group_vars/pacs/vault.yml").write_text(vault)
    saved = tmp_path_factory.mktemp("saved")
    (saved / "image").write_bytes(os.urandom(100_000))
    with server_machine(people["admin"], name="clinic", lan_address=LAN_ADDRESS, internet_address=ADDRESS) as machine:
        inventory = INVENTORY.format(lan=LAN_ADDRESS, key=machine.key, folder=machine.folder)
        (project / "inventory.ini").write_text(inventory)
        made = Keeper(machine, people["partner"], project, saved)
        made.playbook()
        for words in (("init",), ("backup", saved)):
            done = made.restic(*words)
            assert done.returncode == 0, done.stderr
        yield made


def test_second_run_changes_nothing(keeper: Keeper) -> None:
    """The playbook is done when it is done."""
    assert "changed=0" in keeper.playbook()


def test_nobody_comes_in_without_the_login(keeper: Keeper) -> None:
    """Neither with none nor with another password, and by TLS alone; rest-server itself is not on the network."""
    for words in (("-u", ":"), ("-u", "pacs:another")):
        assert keeper.ask("pacs/files-2026-11/config", *words) == "401"
    assert keeper.server.run("curl", "-s", f"http://{ADDRESS}:{PORT}/pacs/files-2026-11/config").stdout.startswith(
        "<html>"
    )
    assert not keeper.server.reaches(ADDRESS, 8000)


def test_intruder_removes_nothing(keeper: Keeper) -> None:
    """With login and password of the archive's server, not a byte goes or changes."""
    before = keeper.files()
    assert before
    assert keeper.restic("forget", "latest", "--prune", "--unsafe-allow-remove-all").returncode != 0
    assert keeper.restic("key", "remove", "latest").returncode != 0
    for path in before:
        for words in (("-X", "DELETE"), ("-X", "PUT", "-d", "x"), ("-X", "POST", "-d", "x"), ("-X", "MOVE")):
            assert keeper.ask(path, *words)[0] in "45", (path, words)
    assert keeper.ask("pacs/files-2026-11/", "-X", "DELETE")[0] in "45"
    assert keeper.files() == before


def test_intruder_reads_nothing_back(keeper: Keeper, tmp_path: Path) -> None:
    """No image, by restic or by any spelling of its address; the server that gives back is not there."""
    assert keeper.restic("restore", "latest", "--no-lock", "--target", tmp_path).returncode != 0
    assert not [path for path in tmp_path.rglob("*") if path.is_file() and path.stat().st_size]
    data = next(path for path in keeper.files() if "/data/" in path)
    spelled = (data.replace("/data/", one) for one in ("//data/", "/%64ata/", "/./data/", "/x/../data/"))
    for path in (data, f"{data}?x=1", *spelled):
        for words in ((), ("-X", "get"), ("-r", "0-100"), ("-X", "POST"), ("-H", "X-HTTP-Method-Override: GET")):
            assert keeper.ask(path, *words)[0] == "4", (path, words)
    assert not keeper.server.reaches(ADDRESS, READING_PORT)


def test_keeper_opens_it_for_a_restore_and_closes_it_again(keeper: Keeper, tmp_path: Path) -> None:
    """With backup_keeper_reading it gives back at another port, where nothing can be removed either."""
    keeper.playbook("-e", "backup_keeper_reading=true")
    done = keeper.restic("restore", "latest", "--no-lock", "--target", tmp_path, port=READING_PORT)
    assert done.returncode == 0, done.stderr
    assert (tmp_path / str(keeper.saved / "image").lstrip("/")).read_bytes() == (keeper.saved / "image").read_bytes()
    before = keeper.files()
    assert keeper.restic("forget", "latest", "--prune", "--unsafe-allow-remove-all", port=READING_PORT).returncode != 0
    assert keeper.files() == before
    keeper.playbook()
    assert not keeper.server.reaches(ADDRESS, READING_PORT)


def test_keeper_prunes_at_his_own_machine(keeper: Keeper) -> None:
    """RESTORE.md's words for it, over the folder and not over the network; rest-server takes backups afterwards."""
    folder = f"/{FOLDER}/pacs/files-2026-11"
    keeper.machine.ask("apt-get install -qq --no-install-recommends restic", 120)
    keeper.machine.ask("systemctl stop restic-rest-server")
    restic = f"RESTIC_PASSWORD=password restic -r {folder} --no-cache"
    keeper.machine.ask(f"{restic} forget --group-by host --keep-last 1 --prune", 120)
    keeper.machine.ask(f"chown -R restic-rest-server: /{FOLDER}; systemctl start restic-rest-server")
    (keeper.saved / "later").write_bytes(os.urandom(10_000))
    # As our backups do where the place does not give back what an earlier one was.
    done = keeper.restic("backup", "--force", keeper.saved)
    assert done.returncode == 0, done.stderr
