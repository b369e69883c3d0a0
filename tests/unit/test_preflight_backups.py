"""Places of backups that can't work are told before anything changes."""

from __future__ import annotations

import sys
from pathlib import Path
from typing import Any

import pytest

pytest.importorskip("ansible.template", reason="ansible-core is not installed here")
sys.path.insert(0, str(Path(__file__).parents[2] / "roles/preflight/plugin_utils"))

from ansible.parsing.dataloader import DataLoader
from ansible.template import Templar
from pacs_checks.backups import check_backups
from pacs_checks.variables import Variables

DISK = {"name": "disk", "kind": "disk", "url": "/mnt/backup/pacs"}
CLINIC = {"name": "clinic", "kind": "rest", "url": "rest:https://clinic.example:8443/pacs", "append_only": True}
REACHED = CLINIC | {"address": "198.51.100.20", "port": 8443}
BUCKET = {"name": "bucket", "kind": "s3", "url": "s3:https://s3.example.org/pacs"}
OFFICE = {"name": "office", "kind": "sftp", "url": "sftp:pacs@192.0.2.9:/srv/pacs", "address": "192.0.2.9", "port": 22}


def found(*places: Any) -> list[tuple[tuple[str | int, ...], str]]:
    """Return place and words of each fault."""
    written = {"backup_places": list(places)}
    variables = Variables(written, Templar(loader=DataLoader(), variables=written))
    return [(fault.path, f"{fault.message}. {fault.remedy}") for fault in check_backups(variables)]


@pytest.mark.parametrize(
    ("places", "path", "words"),
    [
        ([DISK | {"name": "Disk 1"}], ("backup_places", 0, "name"), "is no name"),
        ([DISK, DISK], ("backup_places", 1, "name"), "also place 1's"),
        ([DISK | {"url": "backup/pacs"}], ("backup_places", 0, "url"), "expected /FOLDER"),
        ([REACHED | {"url": "rest:http://10.0.0.1:8000/pacs"}], ("backup_places", 0, "url"), "rest:https://"),
        ([REACHED | {"url": "rest:https://pacs:x@10.0.0.1:8443/"}], ("backup_places", 0, "url"), "it holds a login"),
        (
            [OFFICE | {"url": "sftp://pacs@192.0.2.9:twenty//srv/pacs"}],
            ("backup_places", 0, "url"),
            "expected sftp:USER@HOST:/FOLDER",
        ),
        ([REACHED | {"url": "rest:https://clinic.example:70000/pacs"}], ("backup_places", 0, "url"), "HOST:PORT"),
        ([CLINIC], ("backup_places", 0), "the firewall lets none"),
        ([REACHED | {"port": 8444}], ("backup_places", 0, "port"), "Write port: 8443"),
        ([REACHED | {"address": "clinic.example"}], ("backup_places", 0, "address"), "no address"),
        ([OFFICE | {"port": 2222}], ("backup_places", 0, "port"), "Write port: 22"),
        ([DISK | {"write_only": True}], ("backup_places", 0, "write_only"), "can be erased"),
    ],
)
def test_fault_is_told_with_its_place(places: list[Any], path: tuple[str | int, ...], words: str) -> None:
    """Each mistake is found where it stands, with what to do."""
    faults = found(*places)
    assert [one for one, _ in faults] == [path]
    assert words in faults[0][1]


def test_sound_places_pass() -> None:
    """Every kind of place as the example writes it is taken; HTTPS at its own port needs no address."""
    assert found(DISK, REACHED, BUCKET, OFFICE) == []
