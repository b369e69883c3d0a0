"""The encrypted volume on a kernel of its own: made, unlocked in each way, grown, given other keys, its power cut.

One machine lives through all of it, in the order of this file: each of its starts costs half a minute.
"""

from __future__ import annotations

import os
import re
import subprocess
from collections.abc import Iterator
from pathlib import Path

import pytest

from fixtures.roles_alone import Administrator
from fixtures.tang import Tang, tang_server
from fixtures.virtual_machine import LAYER, Disk, VirtualMachine

pytestmark = [pytest.mark.soak, pytest.mark.timeout(1500)]

CHECKOUT = Path(__file__).parents[2]
# What is on paper in the safe, and what comes after it.
ON_PAPER = "seis palabras al azar de un dado"
ON_NEW_PAPER = "otras seis palabras al azar del dado"
DATA_BYTES = 512 << 20
GROWN_BYTES = 768 << 20
OTHER_BYTES = 32 << 20
# A service with data, as each role makes its own.
SERVICE = """\
[Unit]
RequiresMountsFor=/srv/pacs
[Service]
ExecStart=/bin/sh -c "touch /srv/pacs/started && exec sleep infinity"
[Install]
WantedBy=multi-user.target
"""
# Writes numbered records one by one and says each number only after the disk has it.
WRITER = """
import os, sys
descriptor = os.open("/srv/pacs/records", os.O_WRONLY | os.O_CREAT | os.O_APPEND)
for number in range(10**9):
    os.write(descriptor, b"%09d\\n" % number)
    os.fsync(descriptor)
    print(number, flush=True)
"""
VARIABLES = f"""\
pacs_data_directory: /srv/pacs
pacs_disk_encryption: true
vault_luks_passphrase: {ON_PAPER}
luks_device: /dev/disk/by-id/virtio-DATA1
luks_device_serial: DATA1
luks_key_device: /dev/disk/by-id/virtio-STICK1
luks_header_directory: "{{{{ inventory_dir }}}}/headers"
# A kernel that is emulated takes its time even so.
luks_argon2_memory_kib: 32768
luks_argon2_milliseconds: 100
"""


@pytest.fixture(scope="module")
def machine(tmp_path_factory: pytest.TempPathFactory) -> Iterator[VirtualMachine]:
    """Boot a machine with an empty disk, one with something on it, and a stick for a key."""
    if not LAYER.is_dir():
        pytest.skip("started without the virtual machine's layer (orthanc/root/build.sh)")
    folder = tmp_path_factory.mktemp("virtual-machine")
    named = {"data": "DATA1", "photographs": "OTHER1", "stick": "STICK1"}
    disks = [Disk(folder / name, serial) for name, serial in named.items()]
    for disk in disks:
        disk.path.touch()
        os.truncate(disk.path, DATA_BYTES if disk.serial == "DATA1" else OTHER_BYTES)
        if disk.serial != "DATA1":
            subprocess.run(["mkfs.ext4", "-q", str(disk.path)], check=True)
    machine = VirtualMachine(folder, disks)
    try:
        machine.boot()
        yield machine
    finally:
        machine.cut_power()


@pytest.fixture(scope="module")
def administrator(machine: VirtualMachine) -> Administrator:
    """Who made the volume, and a service with data that waits for it."""
    administrator = Administrator(machine, "luks", VARIABLES)
    # Debian's lists are as old as the layer; what the role installs is on it.
    machine.ask("mkdir -p /var/lib/apt/periodic && touch /var/lib/apt/periodic/update-success-stamp /var/lib/apt/lists")
    administrator.succeeds()
    machine.ask("cat >/etc/systemd/system/archive.service && systemctl enable --now archive.service", stdin=SERVICE)
    return administrator


@pytest.fixture(scope="module")
def tang(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Tang]:
    """Run a key server in the machine's network."""
    with tang_server(tmp_path_factory.mktemp("tang")) as tang:
        yield tang


def state_of(machine: VirtualMachine, device: str) -> str:
    """Return what the role's preflight sees on a device."""
    program = (CHECKOUT / "roles/luks/files/device_state.py").read_text()
    return machine.ask(f"python3 - {device} pacs-data", stdin=program)


PREPARATIONS = {
    "a file system": ("mkfs.ext4 -qF {0}", "ext4"),
    "a partition table": ("printf 'label: gpt\\n,8M\\n' | sfdisk -q {0}", "gpt"),
    "what no tool knows": ("printf LABELONE | dd of={0} bs=512 seek=1 status=none", "unknown data"),
    "another's LUKS": (
        "printf secret | cryptsetup luksFormat -q --pbkdf pbkdf2 --pbkdf-force-iterations 1000 --key-file=- {0}",
        "crypto_LUKS",
    ),
    "a mounted file system": ("mkfs.ext4 -qF {0} && mount {0} /mnt", "mounted at /mnt"),
}


@pytest.mark.parametrize("case", PREPARATIONS)
def test_preflight_sees_what_is_on_a_disk(machine: VirtualMachine, case: str) -> None:
    """Whatever is on a disk, it is never taken for an empty one."""
    command, expected = PREPARATIONS[case]
    device = "/dev/disk/by-id/virtio-OTHER1"
    machine.ask(f"dd if=/dev/zero of={device} bs=1M count=32 conv=fsync status=none; {command.format(device)}")

    state = state_of(machine, device)

    machine.run("umount /mnt")
    assert expected in state
    assert '"ours": false' in state


def test_another_disk_is_refused_by_its_serial(administrator: Administrator) -> None:
    """A disk with something on it is refused with its serial number and what is on it, and left as it was."""
    before = state_of(administrator.machine, "/dev/disk/by-id/virtio-OTHER1")

    done = administrator.plays("-e", "part=preflight luks_device=/dev/disk/by-id/virtio-OTHER1 luks_device_serial=")

    assert done.returncode != 0
    message = " ".join((done.stdout + done.stderr).split())
    assert "serial number ''OTHER1'') is not empty" in message or "serial number 'OTHER1') is not empty" in message
    assert state_of(administrator.machine, "/dev/disk/by-id/virtio-OTHER1") == before


def test_volume_is_luks2_with_argon2id(administrator: Administrator) -> None:
    """The volume is LUKS2 with AES-256-XTS, its passphrase costs memory, and the archive's data is on it."""
    dump = administrator.machine.ask("cryptsetup luksDump /dev/disk/by-id/virtio-DATA1")

    assert re.search(r"Version:\s+2", dump)
    assert "aes-xts-plain64" in dump
    assert re.search(r"PBKDF:\s+argon2id", dump)
    assert "/dev/mapper/pacs-data" in administrator.machine.ask("findmnt --noheadings --output SOURCE /srv/pacs")
    assert (administrator.folder / "headers/vm.luks-header").stat().st_mode & 0o777 == 0o600


def test_second_run_changes_nothing(administrator: Administrator) -> None:
    """What is as it should be is left alone."""
    assert re.search(r"changed=0\s", administrator.succeeds())


def test_locked_volume_lets_ssh_in_and_services_wait(administrator: Administrator) -> None:
    """After a start nobody can write where the volume will be; one passphrase over ssh brings everything up."""
    machine = administrator.machine
    machine.restart()
    locked = machine.run("systemctl is-active archive.service; touch /srv/pacs/leak")
    wrong = machine.run("pacs-unlock", stdin="not this one at all\n")
    right = machine.run("pacs-unlock", stdin=f"{ON_PAPER}\n")

    assert "inactive" in locked.stdout
    assert "Operation not permitted" in locked.stderr
    assert wrong.returncode != 0
    assert right.returncode == 0
    machine.wait_until("systemctl is-active archive.service && test -e /srv/pacs/started")


def test_key_file_unlocks_without_hands(administrator: Administrator) -> None:
    """With the stick plugged in the server starts by itself, and with another key after the key was replaced."""
    machine = administrator.machine
    administrator.succeeds("-e", "part=unlock_anew luks_unlock=key_file")
    administrator.succeeds("-e", "part=rotate luks_unlock=key_file luks_rotate=key_file")

    machine.restart()

    machine.wait_until("systemctl is-active archive.service && findmnt /srv/pacs")
    machine.ask("! findmnt --source /dev/disk/by-id/virtio-STICK1")


def test_new_passphrase_replaces_the_old(administrator: Administrator) -> None:
    """After a rotation the new passphrase opens the volume and the old does not; the copy of the header is new."""
    header = administrator.folder / "headers/vm.luks-header"
    before = header.read_bytes()

    administrator.succeeds("-e", f"part=rotate luks_rotate=passphrase vault_luks_new_passphrase='{ON_NEW_PAPER}'")

    opens = "cryptsetup open --test-passphrase --key-file=- /dev/disk/by-id/virtio-DATA1"
    assert administrator.machine.run(opens, stdin=ON_PAPER).returncode != 0
    assert administrator.machine.run(opens, stdin=ON_NEW_PAPER).returncode == 0
    assert header.read_bytes() != before
    variables = administrator.folder / "group_vars/pacs.yml"
    variables.write_text(variables.read_text().replace(ON_PAPER, ON_NEW_PAPER))


def test_volume_grows_with_its_disk(administrator: Administrator) -> None:
    """After the disk grew, volume and file system take all of it while everything runs."""
    machine = administrator.machine
    machine.resize(0, GROWN_BYTES)

    administrator.succeeds("-e", "part=grow")

    assert int(machine.ask("blockdev --getsize64 /dev/mapper/pacs-data")) > GROWN_BYTES - (32 << 20)
    assert int(machine.ask("df --output=size -B1 /srv/pacs | tail -n 1")) > DATA_BYTES
    machine.ask("systemctl is-active archive.service")


def test_power_cut_loses_nothing_acknowledged(administrator: Administrator, tang: Tang) -> None:
    """What was said to be on the disk is there after the power was cut, when Tang has opened the volume again."""
    machine = administrator.machine
    variables = f"part=unlock_anew luks_unlock=tang luks_tang_url={tang.url} luks_tang_thumbprint={tang.thumbprint}"
    administrator.succeeds("-e", variables)
    machine.ask("cat >/root/writer.py", stdin=WRITER)
    with subprocess.Popen(machine.ssh("python3 /root/writer.py"), stdout=subprocess.PIPE, text=True) as writer:
        assert writer.stdout is not None
        for line in writer.stdout:
            if int(line) == 200:
                machine.cut_power()
                break
        acknowledged = int(([line] + [rest for rest in writer.stdout if rest.endswith("\n")])[-1])

    machine.boot()

    machine.wait_until("systemctl is-active archive.service && findmnt /srv/pacs")
    records = machine.ask("cat /srv/pacs/records").split()
    assert records[: acknowledged + 1] == [f"{number:09d}" for number in range(acknowledged + 1)]
    assert tang.asked
