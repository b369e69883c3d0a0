"""Whom the server itself has to reach: what one part is told to do and the firewall would drop."""

from __future__ import annotations

import ipaddress
from collections.abc import Iterator
from typing import Any
from urllib.parse import urlsplit

from pacs_checks.faults import Fault, Path_
from pacs_checks.hospital import LAST_PORT, address_fault, dictionaries
from pacs_checks.variables import Variables


def check_reach(variables: Variables) -> Iterator[Fault]:
    """Check HL7 messages and studies out, the directory, and what lies behind the server for VPN clients."""
    yield from _check_hl7_destinations(variables)
    yield from _check_routing_destinations(variables)
    yield from _check_directory(variables)
    yield from _check_vpn(variables)


def _check_hl7_destinations(variables: Variables) -> Iterator[Fault]:
    names: set[str] = set()
    for index, each in enumerate(dictionaries(variables.get("pacs_hl7_destinations"))):
        path: Path_ = ("pacs_hl7_destinations", index)
        name, port = each.get("name"), each.get("port")
        if not name or name in names:
            yield Fault(path, f"its name is {name!r}, expected one of its own", "Name the system, e.g. HIS.")
        names.add(str(name))
        yield from address_fault((*path, "address"), each.get("address"))
        if not isinstance(port, int) or not 1 <= port <= LAST_PORT:
            yield Fault((*path, "port"), f"{port!r} is no port", "Give a number from 1 to 65535.")
    let_through = variables.get("nftables_hl7_destinations", variables.get("pacs_hl7_destinations"))
    opened = {(str(each.get("address")), each.get("port")) for each in dictionaries(let_through)}
    for path, host, port in _destinations_of_settings(variables.get("orthanc_settings")):
        if not any(port == known and (host == address or not _is_address(host)) for address, known in opened):
            yield Fault(
                path,
                f"messages are to go to {host}, port {port}, where the firewall lets none",
                "Write it into pacs_hl7_destinations instead: archive, firewall and sandbox take it from there.",
            )


def _check_routing_destinations(variables: Variables) -> Iterator[Fault]:
    for index, each in enumerate(dictionaries(variables.get("pacs_routing_destinations"))):
        path: Path_ = ("pacs_routing_destinations", index)
        yield from address_fault((*path, "address"), each.get("address"))
        port = each.get("port")
        if not isinstance(port, int) or not 1 <= port <= LAST_PORT:
            yield Fault((*path, "port"), f"{port!r} is no port", "Give a number from 1 to 65535.")
    let_through = variables.get("nftables_routing_destinations", variables.get("pacs_routing_destinations"))
    opened = {(str(each.get("address")), each.get("port")) for each in dictionaries(let_through)}
    peers = {(str(each.get("address")), each.get("port")) for each in dictionaries(variables.get("pacs_dicom_peers"))}
    targets = variables.get("orthanc_routing_targets")
    for name, each in targets.items() if isinstance(targets, dict) else ():
        end = (str(each.get("host")), each.get("port")) if isinstance(each, dict) else ("", None)
        if _is_address(end[0]) and end not in opened | peers:
            yield Fault(
                ("orthanc_routing_targets", name),
                f"studies are to go to {end[0]}, port {end[1]}, where the firewall lets none",
                "Write it into pacs_routing_destinations: firewall and sandbox take it from there.",
            )


def _destinations_of_settings(settings: Any) -> Iterator[tuple[Path_, str, Any]]:
    path: Path_ = ("orthanc_settings",)
    for key in ("Pacs", "Outbound", "Destinations"):
        settings = settings.get(key) if isinstance(settings, dict) else None
        path = (*path, key)
    for name, each in settings.items() if isinstance(settings, dict) else ():
        if isinstance(each, dict):
            yield (*path, name), str(each.get("Host")), each.get("Port")


def _check_directory(variables: Variables) -> Iterator[Fault]:
    servers = variables.get("nftables_ldap_servers", variables.get("pacs_ldap_servers")) or []
    for index, address in enumerate(servers):
        yield from address_fault(("pacs_ldap_servers", index), address)
    if variables.get("sign_in_accounts") != "ldap":
        return
    asked = str(variables.get("sign_in_ldap_server", ""))
    hosts = [urlsplit(url if "//" in url else f"//{url}").hostname or "" for url in asked.replace(",", " ").split()]
    missing = [host for host in hosts if _is_address(host) and host not in servers]
    if not servers or missing:
        yield Fault(
            ("sign_in_ldap_server",) if asked else ("sign_in_accounts",),
            f"the sign-in is to ask {asked or 'a directory'}, where the firewall lets nobody",
            "Write the addresses of its servers into pacs_ldap_servers.",
        )


def _check_vpn(variables: Variables) -> Iterator[Fault]:
    shared = variables.get("pacs_vpn_reachable_networks") or []
    told = variables.get("openvpn_reachable_networks", shared) or []
    let = variables.get("nftables_vpn_reachable_networks", shared) or []
    if set(told) != set(let):
        name = next((name for name in _VPN_NAMES if name in variables), "pacs_vpn_reachable_networks")
        yield Fault(
            (name,),
            f"OpenVPN leads clients to {told}, and the firewall lets them reach {let}",
            "Write pacs_vpn_reachable_networks alone: both take it from there.",
        )
    for index, text in enumerate(shared):
        try:
            ipaddress.IPv4Network(text)
        except ValueError as error:
            yield Fault(
                ("pacs_vpn_reachable_networks", index),
                f"{text!r} is no network: {error}",
                "Write its first address and its length, e.g. 192.0.2.0/24.",
            )


_VPN_NAMES = ("openvpn_reachable_networks", "nftables_vpn_reachable_networks")


def _is_address(host: str) -> bool:
    try:
        ipaddress.ip_address(host)
    except ValueError:
        return False
    return True
