"""Look for what would shut out administrators, or who provisions now, before sshd is told anything; print a line for each.

Arguments: the administrators and the networks as JSON; name, address and port of the connection in use (empty: none).
"""

from __future__ import annotations

import ipaddress
import json
import re
import subprocess
import sys
from collections.abc import Iterator

_KINDS = {"ED25519", "ED25519-SK", "RSA"}
_RSA_BITS = 3072


def _read(key: str) -> tuple[int, str, str]:
    """Return bits, fingerprint and kind of a public key; ValueError when it is none."""
    done = subprocess.run(["ssh-keygen", "-lf", "-"], input=key, text=True, capture_output=True, check=False)
    found = re.fullmatch(r"(\d+) (SHA256:\S+) .*\((\S+)\)\s*", done.stdout)
    if done.returncode or not found:
        raise ValueError
    return int(found[1]), found[2], found[3]


def _faults_of_keys(admins: list[dict], fingerprints: dict[str, set[str]]) -> Iterator[str]:
    for admin in admins:
        if not re.fullmatch(r"[a-z_][a-z0-9_-]{0,31}", admin["name"]):
            yield f"{admin['name']!r} is no login name: expected lower-case letters, digits, - and _."
        if not admin["keys"]:
            yield f"{admin['name']} has no key and could never sign in: add one to ssh_admins."
        for number, key in enumerate(admin["keys"], 1):
            try:
                bits, fingerprint, kind = _read(key)
            except ValueError:
                yield f"Key {number} of {admin['name']} is no public key: expected a line such as 'ssh-ed25519 AAAA... name'."
                continue
            if kind not in _KINDS or (kind == "RSA" and bits < _RSA_BITS):
                yield f"Key {number} of {admin['name']} is {kind} of {bits} bits: expected ED25519 or RSA of {_RSA_BITS}."
            fingerprints.setdefault(admin["name"], set()).add(fingerprint)


def _faults_of_connection(
    fingerprints: dict[str, set[str]], networks: list[str], name: str, address: str, port: str
) -> Iterator[str]:
    if name not in fingerprints:
        yield f"This run signs in as {name}, who would be shut out: add {name} with its key to ssh_admins, or sign in as one of them."
        return
    if not any(ipaddress.ip_address(address) in ipaddress.ip_network(network) for network in networks):
        yield f"This run connects from {address}, which would be shut out: add its network to pacs_networks.admin."
    pattern = rf"Accepted (\S+) for {re.escape(name)} from {re.escape(address)} port {port} "
    command = ["journalctl", "--no-pager", "-qo", "cat", "-t", "sshd-session", "-t", "sshd", "-g", pattern]
    said = subprocess.run(command, text=True, capture_output=True, check=False).stdout
    for method, rest in re.findall(pattern + "(.*)", said)[-1:]:
        used = re.search(r"SHA256:\S+", rest)
        if method != "publickey":
            yield f"This run signs in as {name} by {method}, which ends now: sign in with one of its keys in ssh_admins."
        elif used and used[0] not in fingerprints[name]:
            yield f"This run signs in as {name} with key {used[0]}, which is not among its keys in ssh_admins: add it there."


def main() -> None:
    """Print the faults."""
    admins, networks = json.loads(sys.argv[1]), json.loads(sys.argv[2])
    name, address, port = sys.argv[3:6]
    fingerprints: dict[str, set[str]] = {}
    faults = list(_faults_of_keys(admins, fingerprints))
    if address:
        faults += _faults_of_connection(fingerprints, networks, name, address.partition("%")[0], port)
    print("\n".join(faults), end="")


main()
