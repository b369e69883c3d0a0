"""Broken variables and machines are told before anything changes, all of them, each with its line."""

from __future__ import annotations

import subprocess
from pathlib import Path

import pytest

from fixtures.provisioned_server import PreparedServer
from fixtures.server_machine import ServerMachine

# What a person wrote wrongly, in a file of the server's own, and what must be said: the line, and words of the message.
BROKEN = {
    "a network that is none": (
        "pacs_networks:\n  admin: [10.20.0.5/32]\n  lan: [10.20.0.0/33]\n  vpn: [10.94.0.0/24]\n",
        3,
        "10.20.0.0/33",
    ),
    "a VPN that overlaps the LAN": (
        "pacs_networks:\n  admin: [10.20.0.5/32]\n  lan: [10.20.0.0/24]\n  vpn: [10.20.0.128/25]\n",
        4,
        "overlaps",
    ),
    "the whole internet as administrators": (
        "pacs_networks:\n  admin: [0.0.0.0/0]\n  lan: [10.20.0.0/24]\n  vpn: [10.94.0.0/24]\n",
        2,
        "whole internet",
    ),
    "one AE title twice": (
        "pacs_dicom_peers:\n  - {aet: CT1, address: 10.20.0.21}\n  - {aet: CT1, address: 10.20.0.22}\n",
        3,
        "also peer 1's",
    ),
    "a station by name": ("pacs_dicom_peers:\n  - {aet: CT1, address: ct1.hospital}\n", 2, "no address"),
    "a variable misspelled": ("\npacs_dicom_peer: []\n", 2, "Did you mean pacs_dicom_peers?"),
    "the example's key": (
        '\n\nssh_admins:\n  - name: admin\n    keys: ["ssh-ed25519 REPLACE-WITH-YOUR-PUBLIC-KEY you@your-pc"]\n',
        5,
        "example's value",
    ),
    "a port that is no number": ("pacs_dicom_port: many\n", 1, "int"),
    "two services at one port": ("# moved\npacs_hl7_port: 11113\n", 2, "also that of pacs_mpps_port"),
    "a way of unlocking that does not exist": ("luks_unlock: magic\n", 1, "value of luks_unlock must be one of"),
    "a key written twice": ("pacs_aet: PACS\npacs_aet: PACS2\n", 2, "written twice"),
    "HL7 messages where the firewall lets none": (
        "orthanc_settings:\n  Pacs:\n    Outbound:\n      Destinations:\n        LIS: {Host: 10.20.0.40, Port: 6661}\n",
        5,
        "into pacs_hl7_destinations instead",
    ),
    "a destination by name": (
        "pacs_hl7_destinations:\n  - {name: HIS, address: his.hospital, port: 6661}\n",
        2,
        "no address",
    ),
    "a directory where the firewall lets nobody": (
        "sign_in_accounts: ldap\nsign_in_ldap_server: ldaps://10.20.0.40\n",
        2,
        "into pacs_ldap_servers",
    ),
    "a way of the VPN that the firewall shuts": (
        "# the LAN\nopenvpn_reachable_networks: [10.20.0.0/24]\n",
        2,
        "pacs_vpn_reachable_networks alone",
    ),
    "a key on a stick that no kernel may read": (
        "pacs_disk_encryption: true\nluks_unlock: key_file\nluks_key_device: /dev/disk/by-id/usb-Stick-0:0-part1\n",
        3,
        "base_usb_storage",
    ),
    "a domain that does not resolve": (
        "pacs_domain: nowhere.invalid\npreflight_domain_must_resolve: true\n",
        1,
        "does not resolve",
    ),
}
# Faults of the machine have no line.
UNFIT = {
    "no second disk": (
        "pacs_disk_encryption: true\nluks_device: /dev/disk/by-id/not-there\n",
        "/dev/disk/by-id/not-there",
    ),
    "a port that another program holds": ("pacs_hl7_port: 9999\n", "port 9999 (pacs_hl7_port) is held by perl"),
}
LISTENER = (
    "use IO::Socket::INET; $s = IO::Socket::INET->new(LocalPort => 9999, Listen => 1, ReuseAddr => 1) or die; sleep 300"
)


@pytest.fixture(scope="module")
def said(prepared_server: PreparedServer) -> dict[str, str]:
    """Return what preflight says of each broken host, from one run over all of them."""
    machine, project = prepared_server.machine, prepared_server.project
    names = {case: f"broken-{number}" for number, case in enumerate([*BROKEN, *UNFIT])}
    inventory = project / "broken.ini"
    line = next(line for line in (project / "inventory.ini").read_text().splitlines() if "ansible_host" in line)
    inventory.write_text("[pacs]\n" + "".join(f"{name} {line.partition(' ')[2]}\n" for name in names.values()))
    (project / "host_vars").mkdir()
    for case, content in BROKEN.items():
        (project / "host_vars" / f"{names[case]}.yml").write_text(content[0])
    for case, content in UNFIT.items():
        (project / "host_vars" / f"{names[case]}.yml").write_text(content[0])
    machine.ask(f"touch /marker; systemd-run --quiet perl -e '{LISTENER}'")

    done = prepared_server.playbook("site.yml", "-i", str(inventory))

    assert done.returncode != 0
    return {case: _of_host(done, name) for case, name in names.items()}


def _of_host(done: subprocess.CompletedProcess[str], name: str) -> str:
    """Return the last failure that Ansible printed of a host."""
    parts = (done.stdout + done.stderr).split(f"fatal: [{name}]")
    assert len(parts) > 1, f"{name} was not refused:\n{done.stdout[-3000:]}{done.stderr[-2000:]}"
    return parts[-1].split("fatal: [")[0].split("\nPLAY RECAP")[0]


@pytest.mark.parametrize("case", BROKEN)
def test_preflight_names_the_line_of_a_mistake(said: dict[str, str], case: str) -> None:
    """Each mistake is told with its file, its line and what was expected."""
    _, line, words = BROKEN[case]
    number = list(BROKEN).index(case)

    found = [text for text in said[case].splitlines() if f"host_vars/broken-{number}.yml:{line}" in text]

    assert found, said[case]
    assert any(words in text for text in found), found


@pytest.mark.parametrize("case", UNFIT)
def test_preflight_tells_what_the_machine_lacks(said: dict[str, str], case: str) -> None:
    """What is wrong with the machine is told in words."""
    assert UNFIT[case][1] in said[case]


def test_preflight_changes_nothing(said: dict[str, str], bare_machine: ServerMachine) -> None:
    """A refused run leaves no file behind and no package."""
    assert said
    places = "/etc /usr /opt /srv /var/lib /home /boot"

    changed = bare_machine.ask(
        f"find {places} -xdev -newer /marker -type f -not -path '/var/lib/systemd/*' -not -path '*/.ansible/*'"
    )

    assert changed == ""


def test_preflight_passes_what_is_right(prepared_server: PreparedServer) -> None:
    """The variables of the hospital as it is are accepted."""
    done = prepared_server.playbook("preflight.yml")

    assert done.returncode == 0, done.stdout[-4000:]


def test_example_is_refused(prepared_server: PreparedServer, tmp_path: Path) -> None:
    """The variables as they come, not filled in, are refused one by one."""
    project = prepared_server.project
    example = Path(__file__).parents[2] / "ansible/group_vars/pacs/site.yml"
    (tmp_path / "filled.yml").write_text((project / "ansible/group_vars/pacs/site.yml").read_text())
    try:
        (project / "ansible/group_vars/pacs/site.yml").write_text(example.read_text())
        done = prepared_server.playbook("preflight.yml")
    finally:
        (project / "ansible/group_vars/pacs/site.yml").write_text((tmp_path / "filled.yml").read_text())

    assert done.returncode != 0
    for variable in ("pacs_domain", "pacs_admin_mail", "ssh_admins", "luks_device"):
        assert f": {variable}" in done.stdout, done.stdout[-4000:]
