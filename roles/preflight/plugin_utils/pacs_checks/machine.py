"""The server itself: what it is, and which ports are free on it."""

from __future__ import annotations

import re
from collections.abc import Iterator, Sequence
from typing import Any

from pacs_checks.faults import Fault
from pacs_checks.variables import Variables

DEBIAN = "13"
MEMORY_MB = 3500
ROOT_FREE_MB = 8000
# What may listen already: our own services from an earlier run.
OWN_LISTENERS = {"nginx", "Orthanc", "named", "openvpn", "sshd", "python3", "python", "systemd", "certbot"}
PUBLIC_PORTS = {"HTTPS": 443, "HTTP (redirect to HTTPS)": 80, "DNS": 53}
OWN_PORTS = (
    "pacs_dicom_port",
    "pacs_dicom_tls_port",
    "pacs_mpps_port",
    "pacs_hl7_port",
    "pacs_hl7_tls_port",
    "pacs_metrics_port",
)


def check_ports(variables: Variables) -> Iterator[Fault]:
    """Find two services with one port."""
    taken: dict[tuple[int, str], str] = {(port, "tcp"): name for name, port in PUBLIC_PORTS.items()}
    for name in OWN_PORTS:
        port = variables.get(name)
        if (port, "tcp") in taken:
            yield Fault((name,), f"port {port} is also that of {taken[port, 'tcp']}", "Give each service its own.")
        taken[port, "tcp"] = name


def check_machine(facts: dict[str, Any], machine: dict[str, Any]) -> Iterator[Fault]:
    """Check that the server is what it has to be."""
    system = f"{facts.get('distribution')} {facts.get('distribution_version')}"
    if facts.get("distribution") != "Debian" or str(facts.get("distribution_major_version")) != DEBIAN:
        yield Fault((), f"the server runs {system}, expected Debian {DEBIAN}", "Install Debian 13 (trixie) on it.")
    if facts.get("architecture") not in {"x86_64", "aarch64"}:
        yield Fault(
            (), f"the server is a {facts.get('architecture')}, expected x86_64 or aarch64", "Take another machine."
        )
    if facts.get("memtotal_mb", 0) < MEMORY_MB:
        yield Fault(
            (),
            f"the server has {facts.get('memtotal_mb')} MB of memory, expected {MEMORY_MB} or more",
            "Give it 4 GB; 16 serve a hospital.",
        )
    if machine["root_free_mb"] < ROOT_FREE_MB:
        yield Fault(
            (),
            f"/ has {machine['root_free_mb']} MB left, expected {ROOT_FREE_MB} or more",
            "Give the system a larger disk.",
        )
    if abs(machine["clock_ahead_seconds"]) > 300:  # noqa: PLR2004
        yield Fault(
            (),
            f"its clock is {machine['clock_ahead_seconds']} s ahead of this machine's",
            "Set it; certificates and one-time codes depend on it.",
        )


def check_key_device(variables: Variables, path: str) -> Iterator[Fault]:
    """Find a key on a USB stick that a kernel without USB disks can't read: what is loaded now is not after a reboot.

    Parameters
    ----------
    path : where the device hangs, by the kernel's names; empty when it is not plugged in.
    """
    device = str(variables.get("luks_key_device") or "")
    if not _true(variables.get("pacs_disk_encryption")) or variables.get("luks_unlock") != "key_file" or not device:
        return
    if _true(variables.get("base_usb_storage")) or not ("usb" in device.lower() or "/usb" in path):
        return
    yield Fault(
        ("luks_key_device",),
        f"{device} is a USB disk, and base_usb_storage is false: from the next reboot on nothing would unlock the volume",
        "Set base_usb_storage: true, or put the key on a disk that does not hang on USB.",
    )


def _true(value: Any) -> bool:
    """Read a truth as Ansible does, which also takes words."""
    return str(value).lower() in {"true", "yes", "on", "1", "y", "t"}


def check_listeners(variables: Variables, listening: Sequence[str]) -> Iterator[Fault]:
    """Find ports that something else than this project holds. `listening`: lines of `ss -Hltnp`."""
    wanted = dict(PUBLIC_PORTS) | {name: variables.get(name) for name in OWN_PORTS}
    owners: dict[int, set[str]] = {}
    for line in listening:
        fields = line.split()
        port = int(fields[3].rpartition(":")[2])
        owners.setdefault(port, set()).update(re.findall(r'\("([^"]+)"', line))
    for name, port in wanted.items():
        strangers = owners.get(port, set()) - OWN_LISTENERS
        if strangers:
            yield Fault(
                (),
                f"port {port} ({name}) is held by {', '.join(sorted(strangers))}",
                "Stop and remove it: this server is for the archive alone.",
            )
