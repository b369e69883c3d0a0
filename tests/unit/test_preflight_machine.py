"""A key that would not be read after a reboot is told before anything changes."""

from __future__ import annotations

import sys
from pathlib import Path
from typing import Any

import pytest

pytest.importorskip("ansible.template", reason="ansible-core is not installed here")
sys.path.insert(0, str(Path(__file__).parents[2] / "roles/preflight/plugin_utils"))

from ansible.parsing.dataloader import DataLoader
from ansible.template import Templar
from pacs_checks.machine import check_key_device
from pacs_checks.variables import Variables

BY_USB = "/devices/pci0000:00/0000:00:14.0/usb1/1-3/1-3:1.0/host6/target6:0:0/6:0:0:0/block/sdb/sdb1"
INSIDE = "/devices/pci0000:00/0000:00:17.0/ata1/host0/target0:0:0/0:0:0:0/block/sda/sda3"
KEY = {"pacs_disk_encryption": True, "luks_unlock": "key_file", "luks_key_device": "/dev/disk/by-label/KEY"}
STICK = KEY | {"luks_key_device": "/dev/disk/by-id/usb-Stick_0123-0:0-part1"}


def found(path: str, **written: Any) -> list[str]:
    """Return the words of each fault."""
    variables = Variables(written, Templar(loader=DataLoader(), variables=written))
    return [f"{fault.path}: {fault.message}. {fault.remedy}" for fault in check_key_device(variables, path)]


@pytest.mark.parametrize(
    ("path", "written"),
    [(BY_USB, STICK), ("", STICK), (BY_USB, KEY), (BY_USB, KEY | {"base_usb_storage": "no"})],
    ids=["by its name", "by its name, not plugged in", "by where it hangs", "said no"],
)
def test_key_on_a_stick_needs_usb_disks(path: str, written: dict[str, Any]) -> None:
    """One sentence tells what would happen and both ways out."""
    (told,) = found(path, **written)

    assert written["luks_key_device"] in told
    assert "luks_key_device" in told
    assert "base_usb_storage: true" in told


@pytest.mark.parametrize(
    ("path", "written"),
    [
        (BY_USB, STICK | {"base_usb_storage": True}),
        (BY_USB, STICK | {"base_usb_storage": "yes"}),
        (BY_USB, STICK | {"luks_unlock": "tang"}),
        (BY_USB, STICK | {"pacs_disk_encryption": False}),
        (INSIDE, KEY),
        ("", KEY | {"luks_key_device": ""}),
    ],
    ids=["allowed", "allowed by a word", "not used", "nothing encrypted", "inside", "on the system disk"],
)
def test_other_keys_pass(path: str, written: dict[str, Any]) -> None:
    """Nothing is said where the key will be read, or is not needed."""
    assert found(path, **written) == []
