"""Looks through all that is written for a server and through the server itself, and tells all faults at once.

It runs on the control machine, changes nothing, and names for each fault the file and line, what was expected, what was
found, and what to do.
"""

from __future__ import annotations

import difflib
import ipaddress
import re
import shlex
import socket
from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import yaml
from ansible.errors import AnsibleError
from ansible.module_utils.common.arg_spec import ArgumentSpecValidator
from ansible.plugins.action import ActionBase
from ansible.template import Templar

DEBIAN = "13"
MEMORY_MB = 3500
ROOT_FREE_MB = 8000
VAULT_CHARACTERS = 16
LAST_PORT = 65535
PLACEHOLDER = re.compile(r"REPLACE-WITH|CHANGE-ME|hospital\.example", re.IGNORECASE)
AE_TITLE = re.compile(r"[!-\[\]-~](?:[ -\[\]-~]{0,14}[!-\[\]-~])?")
HOST_NAME = re.compile(
    r"(?=.{4,253}$)(?:[a-z0-9](?:[a-z0-9-]{0,61}[a-z0-9])?\.)+[a-z][a-z0-9-]{0,61}[a-z0-9]", re.IGNORECASE
)
# What may listen already: our own services from an earlier run.
OWN_LISTENERS = {"nginx", "Orthanc", "named", "openvpn", "sshd", "python3", "python", "systemd", "certbot"}
PUBLIC_PORTS = {"HTTPS": 443, "HTTP (redirect to HTTPS)": 80, "DNS": 53}
# Variables that no role declares: Ansible's own, secrets that roles take by the names of their own, the probes' zone.
NOT_OURS = re.compile(r"ansible_|vault_|probe_zone$")

Path_ = tuple[str | int, ...]


@dataclass(frozen=True)
class Fault:
    """One mistake.

    Attributes
    ----------
    path : the variable and the keys below it, empty for a fault of the machine itself.
    """

    path: Path_
    message: str
    remedy: str


class Places:
    """Where each variable is written: files of host_vars and group_vars, and the inventory."""

    def __init__(
        self, directories: Sequence[Path], inventories: Sequence[Path], groups: Sequence[str], host: str
    ) -> None:
        self._nodes: dict[str, tuple[Path, yaml.Node, yaml.Node]] = {}
        self._lines: dict[str, tuple[Path, int]] = {}
        self.faults: list[Fault] = []
        for directory in directories:
            for name in [f"group_vars/{group}" for group in groups] + [f"host_vars/{host}"]:
                for path in _files(directory / name):
                    self._read(path)
        for path in inventories:
            self._read_inventory(path)

    def _read(self, path: Path) -> None:
        text = path.read_text(encoding="utf-8")
        if text.startswith("$ANSIBLE_VAULT"):
            return
        node = yaml.compose(text, Loader=yaml.SafeLoader)
        if isinstance(node, yaml.MappingNode):
            seen: dict[str, int] = {}
            for key, value in node.value:
                line = key.start_mark.line + 1
                if key.value in seen:
                    self.faults.append(
                        Fault((key.value,), f"it is written twice, in lines {seen[key.value]} and {line}", "Keep one.")
                    )
                seen[key.value] = line
                self._nodes[key.value] = (path, key, value)

    def _read_inventory(self, path: Path) -> None:
        if not path.is_file():
            return
        for number, line in enumerate(path.read_text(encoding="utf-8").splitlines(), 1):
            if line.startswith(("#", ";", "[")):
                continue
            for word in shlex.split(line, comments=True):
                name, equals, _ = word.partition("=")
                if equals:
                    self._lines[name] = (path, number)

    def written(self) -> set[str]:
        """Return the names of all variables that a person has written somewhere."""
        return set(self._nodes) | set(self._lines)

    def of(self, path: Path_) -> str:
        """Return `file:line` of a variable or of an item in it; empty when nobody has written it."""
        if not path or path[0] not in self.written():
            return ""
        name = str(path[0])
        if name in self._lines:
            file, line = self._lines[name]
            return f"{_short(file)}:{line}"
        file, key, node = self._nodes[name]
        line = key.start_mark.line
        for step in path[1:]:
            found = _below(node, step)
            if found is None:
                break
            line, node = found
        return f"{_short(file)}:{line + 1}"


def _files(path: Path) -> Iterator[Path]:
    if path.is_dir():
        yield from sorted(file for file in path.iterdir() if file.suffix in {"", ".yml", ".yaml"} and file.is_file())
    else:
        yield from (file for suffix in ("", ".yml", ".yaml") if (file := path.with_name(path.name + suffix)).is_file())


def _below(node: yaml.Node, step: str | int) -> tuple[int, yaml.Node] | None:
    if isinstance(node, yaml.SequenceNode) and isinstance(step, int) and step < len(node.value):
        return node.value[step].start_mark.line, node.value[step]
    if isinstance(node, yaml.MappingNode):
        for key, value in node.value:
            if key.value == step:
                return key.start_mark.line, value
    return None


def _short(path: Path) -> str:
    try:
        return str(path.resolve().relative_to(Path.cwd()))
    except ValueError:
        return str(path)


class Variables:
    """The variables of one server, filled in."""

    def __init__(self, task_vars: dict[str, Any], templar: Templar) -> None:
        self._task_vars = task_vars
        self._templar = templar

    def __contains__(self, name: str) -> bool:
        return name in self._task_vars

    def __getitem__(self, name: str) -> Any:
        return self._templar.template(self._task_vars[name])

    def get(self, name: str, default: Any = None) -> Any:
        """Return a variable's value, or `default` where it is missing or can't be filled in."""
        try:
            return self[name] if name in self else default  # noqa: SIM401 (that would be this method)
        except AnsibleError:
            return default


# --- what is written -----------------------------------------------------------------------------------------------


def check_types(variables: Variables, options: dict[str, dict[str, Any]], written: set[str]) -> Iterator[Fault]:
    """Check each variable against what its role says of it."""
    for name, option in options.items():
        if name not in variables:
            if option.get("required"):
                where = "vault.yml (make one with ansible/secrets.yml)" if name.startswith("vault_") else "site.yml"
                yield Fault((name,), "it is missing", f"Write it into group_vars/pacs/{where}.")
            continue
        try:
            value = variables[name]
        except AnsibleError as error:
            yield Fault(
                (name,),
                f"it can't be filled in: {str(error).splitlines()[0]}",
                "Define what it refers to, or correct the name.",
            )
            continue
        if name.startswith("vault_") or option.get("no_log"):
            continue
        known = {
            key: option[key] for key in ("type", "choices", "elements", "options", "required_together") if key in option
        }
        result = ArgumentSpecValidator({name: known}).validate({name: value})
        for message in result.error_messages if name in written else ():
            yield Fault((name,), message, "Correct it; the role's defaults/main.yml says what it means.")


def check_names(options: dict[str, dict[str, Any]], written: set[str]) -> Iterator[Fault]:
    """Find variables that nothing reads: mostly typing mistakes, which leave a default where a choice was meant."""
    for name in sorted(written - set(options)):
        if NOT_OURS.match(name):
            continue
        near = difflib.get_close_matches(name, options, n=1)
        yield Fault(
            (name,), "nothing reads a variable of this name", f"Did you mean {near[0]}?" if near else "Take it out."
        )


def check_placeholders(variables: Variables, written: set[str]) -> Iterator[Fault]:
    """Find values that are still those of the example."""
    for name in sorted(written):
        for path, text in _texts(variables.get(name), (name,)):
            if PLACEHOLDER.search(text) and not name.startswith("vault_"):
                yield Fault(path, f"it still holds the example's value {text!r}", "Put your own in.")
            elif name.startswith("vault_") and (PLACEHOLDER.search(text) or len(text) < VAULT_CHARACTERS):
                yield Fault((name,), "the secret is the example's or short", "Make new ones with ansible/secrets.yml.")


def _texts(value: Any, path: Path_) -> Iterator[tuple[Path_, str]]:
    if isinstance(value, str):
        yield path, value
    elif isinstance(value, dict):
        for key, item in value.items():
            yield from _texts(item, (*path, key))
    elif isinstance(value, list):
        for index, item in enumerate(value):
            yield from _texts(item, (*path, index))


def check_networks(variables: Variables) -> Iterator[Fault]:  # noqa: C901 (one rule after the other)
    """Check the zones: networks that are networks, none that swallows the internet, none that overlaps the VPN."""
    zones = variables.get("pacs_networks")
    if not isinstance(zones, dict):
        return
    networks: dict[str, list[tuple[Path_, Any]]] = {}
    for zone in ("admin", "lan", "vpn"):
        listed = zones.get(zone)
        if not isinstance(listed, list) or not listed:
            yield Fault(
                ("pacs_networks", zone), f"found {listed!r}, expected a list of networks", "Write e.g. [192.0.2.0/24]."
            )
            continue
        for index, text in enumerate(listed):
            path = ("pacs_networks", zone, index)
            try:
                network = ipaddress.ip_network(text)
            except ValueError as error:
                yield Fault(
                    path,
                    f"{text!r} is no network: {error}",
                    "Write its first address and its length, e.g. 192.0.2.0/24.",
                )
                continue
            if network.prefixlen == 0:
                yield Fault(path, f"{text} is the whole internet", "Name the hospital's own networks.")
            networks.setdefault(zone, []).append((path, network))
    for path, network in networks.get("vpn", []):
        for zone in ("lan", "admin"):
            for _, other in networks.get(zone, []):
                if network.version == other.version and network.overlaps(other):
                    yield Fault(
                        path,
                        f"the VPN's {network} overlaps {other} ({zone})",
                        "Give the VPN a network that is used nowhere else.",
                    )


def check_peers(variables: Variables) -> Iterator[Fault]:
    """Check who may speak DICOM and HL7."""
    titles: dict[str, int] = {}
    for index, peer in enumerate(_dictionaries(variables.get("pacs_dicom_peers"))):
        path: Path_ = ("pacs_dicom_peers", index)
        title = peer.get("aet")
        if not isinstance(title, str) or not AE_TITLE.fullmatch(title):
            yield Fault(
                (*path, "aet"), f"{title!r} is no AE title", "Give 1 to 16 ASCII characters without a backslash."
            )
        elif title in titles:
            yield Fault(
                (*path, "aet"),
                f"the AE title {title} is also peer {titles[title] + 1}'s",
                "Each station needs its own.",
            )
        else:
            titles[title] = index
        yield from _address_fault((*path, "address"), peer.get("address"))
        port = peer.get("port", 104)
        if not isinstance(port, int) or not 1 <= port <= LAST_PORT:
            yield Fault((*path, "port"), f"{port!r} is no port", "Give a number from 1 to 65535.")
    for index, peer in enumerate(_dictionaries(variables.get("pacs_hl7_peers"))):
        if not peer.get("name"):
            yield Fault(("pacs_hl7_peers", index), "it has no name", "Name the system, e.g. HIS.")
        for number, address in enumerate(peer.get("addresses") or [None]):
            yield from _address_fault(("pacs_hl7_peers", index, "addresses", number), address)


def _dictionaries(value: Any) -> list[dict[str, Any]]:
    return [item if isinstance(item, dict) else {} for item in value] if isinstance(value, list) else []


def _address_fault(path: Path_, text: Any) -> Iterator[Fault]:
    try:
        if ipaddress.ip_network(text, strict=False).prefixlen:
            return
        found = f"{text} is the whole internet"
    except (ValueError, TypeError):
        found = f"{text!r} is no address"
    yield Fault(
        path, found, "Give the station's own address, e.g. 192.0.2.21: names are not looked up for every association."
    )


def check_ports(variables: Variables) -> Iterator[Fault]:
    """Find two services with one port."""
    taken: dict[tuple[int, str], str] = {(port, "tcp"): name for name, port in PUBLIC_PORTS.items()}
    for name in ("pacs_dicom_port", "pacs_dicom_tls_port", "pacs_mpps_port", "pacs_hl7_port", "pacs_hl7_tls_port"):
        port = variables.get(name)
        if (port, "tcp") in taken:
            yield Fault((name,), f"port {port} is also that of {taken[port, 'tcp']}", "Give each service its own.")
        taken[port, "tcp"] = name


def check_domain(variables: Variables) -> Iterator[Fault]:
    """Check the names: that they are names, and that they lead here where the internet has to find them."""
    for name in ("pacs_domain", "pacs_signin_domain"):
        domain = variables.get(name)
        if not isinstance(domain, str) or not HOST_NAME.fullmatch(domain):
            yield Fault((name,), f"{domain!r} is no full name", "Give one with its zone, e.g. pacs.hospital.org.")
        elif variables.get("preflight_domain_must_resolve"):
            yield from _resolution_fault(name, domain, variables)
    for name in ("pacs_lan_address", "pacs_public_address"):
        if name in variables:
            try:
                ipaddress.ip_address(variables.get(name))
            except ValueError:
                yield Fault((name,), f"{variables.get(name)!r} is no address", "Give an IPv4 or IPv6 address.")


def _resolution_fault(name: str, domain: str, variables: Variables) -> Iterator[Fault]:
    try:
        found = {answer[4][0] for answer in socket.getaddrinfo(domain, 443, type=socket.SOCK_STREAM)}
    except OSError:
        found = set()
    expected = {variables.get("pacs_public_address"), variables.get("pacs_lan_address")}
    if not found & expected:
        seen = f"resolves to {', '.join(sorted(found))}" if found else "does not resolve"
        yield Fault(
            (name,),
            f"{domain} {seen}, expected {variables.get('pacs_public_address')}",
            "Have it entered in the DNS, or choose certificates that need none (certificates_source).",
        )


# --- the machine ---------------------------------------------------------------------------------------------------


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


def check_listeners(variables: Variables, listening: Sequence[str]) -> Iterator[Fault]:
    """Find ports that something else than this project holds. `listening`: lines of `ss -Hltnp`."""
    wanted = dict(PUBLIC_PORTS) | {
        name: variables.get(name)
        for name in ("pacs_dicom_port", "pacs_mpps_port", "pacs_hl7_port", "pacs_dicom_tls_port", "pacs_hl7_tls_port")
    }
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


def report(faults: Sequence[Fault], places: Places) -> str:
    """Return what a person reads: every fault with its place, in the order of the files."""
    lines = []
    for fault in sorted(faults, key=lambda fault: (places.of(fault.path) == "", places.of(fault.path))):
        variable = "".join(f"[{step}]" if isinstance(step, int) else f".{step}" for step in fault.path).lstrip(".")
        place = ": ".join(part for part in (places.of(fault.path), variable) if part) or "the server"
        lines.append(f"- {place}: {fault.message}. {fault.remedy}")
    return "\n".join(lines)


class ActionModule(ActionBase):
    """The task `pacs_preflight`; returns `faults` as text, never fails by a fault itself.

    Arguments: `roles_directory`, `machine` (root_free_mb, clock_ahead_seconds, listening).
    """

    _requires_connection = False

    def run(self, tmp: str | None = None, task_vars: dict[str, Any] | None = None) -> dict[str, Any]:
        """Return the faults found."""
        result: dict[str, Any] = super().run(tmp, task_vars)
        task_vars = task_vars or {}
        variables = Variables(task_vars, self._templar)
        options = _options(Path(self._task.args["roles_directory"]))
        places = _places(task_vars)
        written = places.written()
        faults = [
            *places.faults,
            *check_types(variables, options, written),
            *check_names(options, written),
            *check_placeholders(variables, written),
            *check_networks(variables),
            *check_peers(variables),
            *check_ports(variables),
            *check_domain(variables),
            *check_machine(task_vars["ansible_facts"], self._task.args["machine"]),
            *check_listeners(variables, self._task.args["machine"]["listening"]),
        ]
        return result | {"changed": False, "faults": report(faults, places).splitlines()}


def _options(roles: Path) -> dict[str, dict[str, Any]]:
    """Return every variable that some role reads, with what it says of it."""
    options: dict[str, dict[str, Any]] = {}
    for path in sorted(roles.glob("*/meta/argument_specs.yml")):
        specs = yaml.safe_load(path.read_text(encoding="utf-8"))["argument_specs"]
        for entry in specs.values():
            options |= entry.get("options", {})
    return options


def _places(task_vars: dict[str, Any]) -> Places:
    inventories = [
        Path(source) for source in task_vars.get("ansible_inventory_sources") or [] if not source.endswith(",")
    ]
    directories = [Path(task_vars["playbook_dir"]), *(path if path.is_dir() else path.parent for path in inventories)]
    unique = list(dict.fromkeys(directory.resolve() for directory in directories))
    return Places(unique, inventories, ["all", *task_vars.get("group_names", [])], task_vars["inventory_hostname"])
