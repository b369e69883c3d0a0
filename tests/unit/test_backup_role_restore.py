"""What role `backup` puts back on the control machine out of an escrow, where nothing of the hospital is left."""

from __future__ import annotations

import json
import subprocess
from pathlib import Path

import pytest
import yaml

PLAY = """\
- hosts: pacs
  gather_facts: false
  tasks:
    - ansible.builtin.include_role: {name: backup, tasks_from: restore_site}
"""
INVENTORY = "[pacs]\nlocalhost ansible_connection=local\n"
PLACES = [
    {"name": "disk", "kind": "disk", "url": "/mnt/backup/pacs"},
    {"name": "clinic", "kind": "rest", "url": "rest:https://clinic.example/pacs", "authority": "keepers/clinic.crt"},
    {"name": "office", "kind": "rest", "url": "rest:https://office.example/pacs", "authority": "/opt/it/office.crt"},
]
SITE = {"backup_offline_certificate": "offline.crt", "backup_places": PLACES, "pacs_domain": "{{ nobody_set_this }}"}


@pytest.fixture
def project(tmp_path: Path) -> Path:
    """Give a checkout whose inventory names the new machine, and an escrow that was opened there."""
    pytest.importorskip("ansible", reason="ansible-core is not installed here")
    (tmp_path / "project/ansible/group_vars/pacs").mkdir(parents=True)
    (tmp_path / "project/inventory.ini").write_text(INVENTORY)
    (tmp_path / "project/ansible/play.yml").write_text(PLAY)
    site = {"site.yml": yaml.safe_dump(SITE), "vault.yml": "vault_backup_password: x\n", "inventory.ini": INVENTORY}
    opened = tmp_path / "room/opened/etc/pacs/backup"
    (opened / "authorities").mkdir(parents=True)
    (tmp_path / "room/site.json").write_text(json.dumps(site))
    for name in ("offline.crt", "authorities/clinic.pem", "authorities/office.pem"):
        (opened / name).write_text(f"certificate of {name}\n")
    return tmp_path / "project"


def restore_to(project: Path) -> None:
    """Run the tasks that put the hospital's files back."""
    variables = json.dumps({"_backup_room": str(project.parent / "room"), "pacs_data_directory": "/srv/pacs"})
    command = ("ansible-playbook", "-i", project / "inventory.ini", project / "ansible/play.yml", "-e", variables)
    done = subprocess.run(command, capture_output=True, text=True, check=False)
    assert done.returncode == 0, done.stdout + done.stderr


def test_files_that_the_preflight_asks_for_come_back(project: Path) -> None:
    """Variables, vault and certificates are where roles look for them; what lay elsewhere is in restored/."""
    restore_to(project)
    assert yaml.safe_load((project / "ansible/group_vars/pacs/site.yml").read_text()) == SITE
    assert (project / "ansible/group_vars/pacs/vault.yml").read_text() == "vault_backup_password: x\n"
    assert (project / "offline.crt").read_text() == "certificate of offline.crt\n"
    assert (project / "keepers/clinic.crt").read_text() == "certificate of authorities/clinic.pem\n"
    assert (project / "restored/office.crt").read_text() == "certificate of authorities/office.pem\n"


def test_what_is_there_stays_as_it_is(project: Path) -> None:
    """The keeper's new certificate, which the restore goes by, is not replaced by the former one."""
    (project / "keepers").mkdir()
    (project / "keepers/clinic.crt").write_text("new\n")
    restore_to(project)
    assert (project / "keepers/clinic.crt").read_text() == "new\n"
    assert (project / "restored/clinic.crt").read_text() == "certificate of authorities/clinic.pem\n"


def test_checkout_with_a_vault_of_its_own_is_left_alone(project: Path) -> None:
    """All of it lies in restored/, to be compared."""
    vault = project / "ansible/group_vars/pacs/vault.yml"
    vault.write_text("vault_backup_password: own\n")
    restore_to(project)
    assert vault.read_text() == "vault_backup_password: own\n"
    assert not (project / "offline.crt").exists()
    assert (project / "restored/offline.crt").read_text() == "certificate of offline.crt\n"
