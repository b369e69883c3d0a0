"""What answers from where: every TCP port is tried, by nmap, from each place."""

from __future__ import annotations

import re
import xml.etree.ElementTree as ET

import pytest

from fixtures.hospital_network import Host, ipv6_of
from fixtures.provisioned_server import PreparedServer

EVERYWHERE = {80, 443}
# Who stands where, which address he tries, and what must answer to a scan of all 65,535 TCP ports; nothing else may.
SEEN = {
    "attacker": ("internet", EVERYWHERE),
    "partner": ("internet", EVERYWHERE | {4242, 11113, 2762}),
    "stranger": ("lan", EVERYWHERE | {53}),
    "modality": ("lan", EVERYWHERE | {53, 4242, 11113, 2762}),
    "his": ("lan", EVERYWHERE | {53, 2575, 2576}),
    "admin": ("lan", EVERYWHERE | {53, 22}),
}
# The same by IPv6. DICOM, MPPS and DNS listen on IPv4 alone: by IPv6 stations come by TLS.
SEEN_BY_IPV6 = {
    "attacker": ("internet", EVERYWHERE),
    "partner": ("internet", EVERYWHERE | {2762}),
    "admin": ("lan", EVERYWHERE | {22}),
}
INSIDE = "22,53,2575,4242,5432,8042,9180"
UDP_PORTS = "53,67,68,69,111,123,137,161,500,514,520,623,1194,1701,1900,4500,5060,5353,11211"


def scan(host: Host, address: str, *options: str) -> set[int]:
    """Return the ports that nmap finds open."""
    done = host.run(
        *("nmap", "-n", "-Pn", "--max-retries", "1", "--min-rate", "6000", "-T4", "-oX", "-", *options, address),
        timeout_seconds=240,
    )
    assert done.returncode == 0, done.stderr
    ports = ET.fromstring(done.stdout).iter("port")  # noqa: S314 - nmap's own words
    return {int(port.attrib["portid"]) for port in ports if port.find("state").attrib["state"] == "open"}  # type: ignore[union-attr]


@pytest.mark.parametrize("name", SEEN)
def test_firewall_opens_to_each_what_is_his(server: PreparedServer, people: dict[str, Host], name: str) -> None:
    """Of all TCP ports those that are meant for somebody answer him, and no other."""
    network, expected = SEEN[name]
    address = server.address if network == "internet" else server.lan_address

    assert scan(people[name], address, "-sS", "-p-") == expected


@pytest.mark.parametrize("name", SEEN_BY_IPV6)
def test_firewall_opens_no_more_by_ipv6(server: PreparedServer, people: dict[str, Host], name: str) -> None:
    """By IPv6 too only what is meant for somebody answers him: nothing that is shut by IPv4."""
    network, expected = SEEN_BY_IPV6[name]
    address = ipv6_of(server.address if network == "internet" else server.lan_address)

    assert scan(people[name], address, "-6", "-sS", "-p-") == expected
    assert expected <= SEEN[name][1]


def test_firewall_knows_nobody_by_an_address_of_the_link(server: PreparedServer, people: dict[str, Host]) -> None:
    """An address that IPv6 makes by itself for one link belongs to no zone: even an administrator is a stranger."""
    address = server.ask("ip -6 -o addr show dev lan0 scope link").split()[3].partition("/")[0]

    assert scan(people["admin"], f"{address}%eth0", "-6", "-e", "eth0", "-sS", "-p", "1-12000") == EVERYWHERE


def test_firewall_gives_the_internet_no_udp_but_the_vpn(server: PreparedServer, people: dict[str, Host]) -> None:
    """No UDP service answers a stranger: not BIND, not the VPN, which says nothing to who has no key."""
    assert scan(people["attacker"], server.address, "-sU", "-p", UDP_PORTS) == set()
    assert scan(people["attacker"], ipv6_of(server.address), "-6", "-sU", "-p", UDP_PORTS) == set()


def test_firewall_hides_the_lan_address_from_the_internet(server: PreparedServer, people: dict[str, Host]) -> None:
    """A packet for the LAN's address that comes in from the internet gets no service of the LAN."""
    attacker = people["attacker"]
    attacker.run("ip", "route", "replace", server.lan_address, "via", server.address)

    attacker.run("ip", "-6", "route", "replace", ipv6_of(server.lan_address), "via", ipv6_of(server.address))

    assert scan(attacker, server.lan_address, "-sS", "-p", INSIDE) == set()
    assert scan(attacker, ipv6_of(server.lan_address), "-6", "-sS", "-p", INSIDE) == set()


def test_firewall_leaves_a_login_alone_when_it_is_reloaded(server: PreparedServer) -> None:
    """Reloading the rules cuts no ssh login in use."""
    said = server.ask(
        "systemctl reload nftables && sleep 1 && systemctl restart nftables && sleep 1 && echo still here"
    )

    assert said == "still here"


def test_banned_addresses_stay_banned_when_the_rules_are_reloaded(server: PreparedServer) -> None:
    """Reloading the firewall forgets no ban."""
    server.ask("fail2ban-client set pacs-ssh banip 198.51.100.200")
    try:
        server.ask("systemctl reload nftables")
        assert "198.51.100.200" in server.ask("nft list ruleset")
    finally:
        server.ask("fail2ban-client set pacs-ssh unbanip 198.51.100.200")


def test_local_accounts_do_not_reach_orthanc(server: PreparedServer) -> None:
    """Only NGINX, Orthanc itself and root speak to Orthanc's own port; a daemon that was taken over does not."""
    nobody = "setpriv --reuid=nobody --clear-groups --regid=nogroup python3 -c "
    program = '"import socket; socket.create_connection((\\"127.0.0.1\\", 8042), 2)"'

    assert server.run(f"{nobody}{program}").returncode != 0
    assert re.search("8042", server.ask("ss -Hltn"))
