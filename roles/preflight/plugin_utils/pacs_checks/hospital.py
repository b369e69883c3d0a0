"""The hospital around the server: networks, stations, names."""

from __future__ import annotations

import ipaddress
import re
import socket
from collections.abc import Iterator
from typing import Any

from pacs_checks.faults import Fault, Path_
from pacs_checks.variables import Variables

LAST_PORT = 65535
AE_TITLE = re.compile(r"[!-\[\]-~](?:[ -\[\]-~]{0,14}[!-\[\]-~])?")
HOST_NAME = re.compile(
    r"(?=.{4,253}$)(?:[a-z0-9](?:[a-z0-9-]{0,61}[a-z0-9])?\.)+[a-z][a-z0-9-]{0,61}[a-z0-9]", re.IGNORECASE
)


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
    for index, peer in enumerate(dictionaries(variables.get("pacs_dicom_peers"))):
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
        yield from address_fault((*path, "address"), peer.get("address"))
        port = peer.get("port", 104)
        if not isinstance(port, int) or not 1 <= port <= LAST_PORT:
            yield Fault((*path, "port"), f"{port!r} is no port", "Give a number from 1 to 65535.")
    for index, peer in enumerate(dictionaries(variables.get("pacs_hl7_peers"))):
        if not peer.get("name"):
            yield Fault(("pacs_hl7_peers", index), "it has no name", "Name the system, e.g. HIS.")
        for number, address in enumerate(peer.get("addresses") or [None]):
            yield from address_fault(("pacs_hl7_peers", index, "addresses", number), address)


def dictionaries(value: Any) -> list[dict[str, Any]]:
    """Return the items of a list; what is no dictionary, as an empty one."""
    return [item if isinstance(item, dict) else {} for item in value] if isinstance(value, list) else []


def address_fault(path: Path_, text: Any) -> Iterator[Fault]:
    """Find what is no station's address: a name, nonsense, the whole internet."""
    try:
        if ipaddress.ip_network(text, strict=False).prefixlen:
            return
        found = f"{text} is the whole internet"
    except (ValueError, TypeError):
        found = f"{text!r} is no address"
    yield Fault(
        path, found, "Give the station's own address, e.g. 192.0.2.21: names are not looked up for every association."
    )


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
