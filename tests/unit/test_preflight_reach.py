"""What one part of the server is told to do and the firewall would drop is found before anything changes."""

from __future__ import annotations

import sys
from pathlib import Path
from typing import Any

import pytest

pytest.importorskip("ansible.template", reason="ansible-core is not installed here")
sys.path.insert(0, str(Path(__file__).parents[2] / "roles/preflight/plugin_utils"))

from ansible.parsing.dataloader import DataLoader
from ansible.template import Templar
from pacs_checks.reach import check_reach
from pacs_checks.variables import Variables

LIS = {"Host": "10.20.0.40", "Port": 6661}
READER = {"reader": {"kind": "dicom", "aet": "READER", "host": "10.20.0.41", "port": 104}}


def found(**written: Any) -> list[tuple[tuple[str | int, ...], str]]:
    """Return place and words of each fault."""
    variables = Variables(written, Templar(loader=DataLoader(), variables=written))
    return [(fault.path, f"{fault.message}. {fault.remedy}") for fault in check_reach(variables)]


def destinations(**named: Any) -> dict[str, Any]:
    """Return settings of the archive that send HL7 messages out."""
    return {"orthanc_settings": {"Pacs": {"Outbound": {"Destinations": named}}}}


@pytest.mark.parametrize(
    ("written", "path", "words"),
    [
        (
            destinations(LIS=LIS),
            ("orthanc_settings", "Pacs", "Outbound", "Destinations", "LIS"),
            "the firewall lets none",
        ),
        (
            destinations(LIS=LIS) | {"pacs_hl7_destinations": [{"name": "LIS", "address": "10.20.0.40", "port": 6662}]},
            ("orthanc_settings", "Pacs", "Outbound", "Destinations", "LIS"),
            "10.20.0.40, port 6661",
        ),
        ({"pacs_hl7_destinations": [{"address": "10.20.0.40", "port": 1}]}, ("pacs_hl7_destinations", 0), "its name"),
        (
            {"pacs_hl7_destinations": [{"name": "A", "address": "his.hospital", "port": 1}]},
            ("pacs_hl7_destinations", 0, "address"),
            "no address",
        ),
        (
            {"pacs_hl7_destinations": [{"name": "A", "address": "10.20.0.40", "port": 70000}]},
            ("pacs_hl7_destinations", 0, "port"),
            "no port",
        ),
        (
            {"pacs_routing_destinations": [{"address": "reader.hospital", "port": 104}]},
            ("pacs_routing_destinations", 0, "address"),
            "no address",
        ),
        (
            {"pacs_routing_destinations": [{"address": "10.20.0.41", "port": "104"}]},
            ("pacs_routing_destinations", 0, "port"),
            "no port",
        ),
        (
            {"orthanc_routing_targets": READER, "pacs_routing_destinations": [{"address": "10.20.0.41", "port": 105}]},
            ("orthanc_routing_targets", "reader"),
            "10.20.0.41, port 104, where the firewall lets none",
        ),
        ({"sign_in_accounts": "ldap"}, ("sign_in_accounts",), "pacs_ldap_servers"),
        (
            {"sign_in_accounts": "ldap", "sign_in_ldap_server": "ldaps://dc1.hospital.org"},
            ("sign_in_ldap_server",),
            "where the firewall lets nobody",
        ),
        (
            {
                "sign_in_accounts": "ldap",
                "sign_in_ldap_server": "ldaps://10.0.0.1, ldaps://10.0.0.2",
                "pacs_ldap_servers": ["10.0.0.1"],
            },
            ("sign_in_ldap_server",),
            "pacs_ldap_servers",
        ),
        ({"pacs_ldap_servers": ["dc1.hospital.org"]}, ("pacs_ldap_servers", 0), "no address"),
        ({"openvpn_reachable_networks": ["10.0.0.0/8"]}, ("openvpn_reachable_networks",), "alone"),
        ({"nftables_vpn_reachable_networks": ["10.0.0.0/8"]}, ("nftables_vpn_reachable_networks",), "alone"),
        ({"pacs_vpn_reachable_networks": ["10.0.0.1/8"]}, ("pacs_vpn_reachable_networks", 0), "no network"),
    ],
)
def test_what_the_firewall_would_drop_is_told(written: dict[str, Any], path: tuple[str | int, ...], words: str) -> None:
    """Each contradiction is one fault, at the variable that a person has written, with what to do."""
    faults = found(**written)
    assert [place for place, _ in faults] == [path]
    assert words in faults[0][1]


@pytest.mark.parametrize(
    "written",
    [
        {},
        {"pacs_hl7_destinations": [{"name": "LIS", "address": "10.20.0.40", "port": 6661}]},
        destinations(LIS=LIS) | {"nftables_hl7_destinations": [{"address": "10.20.0.40", "port": 6661}]},
        destinations(LIS={"Host": "lis.hospital.org", "Port": 6661})
        | {"nftables_hl7_destinations": [{"address": "10.20.0.40", "port": 6661}]},
        {
            "sign_in_accounts": "ldap",
            "sign_in_ldap_server": "ldaps://dc1.hospital.org",
            "pacs_ldap_servers": ["10.0.0.1", "fd00::1"],
        },
        {"sign_in_accounts": "local", "sign_in_ldap_server": ""},
        {"pacs_vpn_reachable_networks": ["10.20.0.0/24"]},
        {
            "pacs_vpn_reachable_networks": ["10.20.0.0/24"],
            "openvpn_reachable_networks": ["10.20.0.0/24"],
        },
    ],
)
def test_what_agrees_is_no_fault(written: dict[str, Any]) -> None:
    """Whoever writes each thing once, or both sides alike, hears nothing."""
    assert found(**written) == []
