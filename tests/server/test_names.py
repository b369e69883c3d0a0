"""Who asks this server's name service what, and what it lets be believed."""

from __future__ import annotations

import re
from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path

import pytest

from fixtures.hospital_network import Host
from fixtures.provisioned_server import PreparedServer
from fixtures.signed_names import (
    BARE,
    BARE_ADDRESS,
    FORGED,
    FORGED_ADDRESS,
    GOOD,
    GOOD_ADDRESS,
    NEIGHBOUR,
    NEIGHBOUR_ADDRESS,
    STRIPPED,
    forwarder,
)
from fixtures.vpn import VPN_ADDRESS, connected

SILENCE = ""


@dataclass(frozen=True)
class Said:
    """An answer of a name server: its status (empty when none came), its flags, and the addresses in it."""

    status: str
    flags: frozenset[str]
    addresses: tuple[str, ...]


def ask(host: Host, server: str, name: str, *options: str) -> Said:
    """Ask a name server for an address."""
    text = host.run("dig", "+dnssec", "+time=2", "+tries=2", *options, f"@{server}", name, "A").stdout
    status, flags = re.search(r"status: (\w+)", text), re.search(r"flags: ([\w ]*);", text)
    addresses = re.findall(r"^\S+\s+\d+\s+IN\s+A\s+([\d.]+)$", text, re.MULTILINE)
    return Said(status[1] if status else SILENCE, frozenset(flags[1].split() if flags else ()), tuple(addresses))


@pytest.fixture(scope="module")
def traveller(
    server: PreparedServer, people: dict[str, Host], tmp_path_factory: pytest.TempPathFactory
) -> Iterator[Host]:
    """Somebody in the internet who has connected by the VPN."""
    made = server.playbook("vpn_client.yml", "-e", "do=make", "-e", "client=traveller")
    assert made.returncode == 0, made.stdout[-3000:]
    log = tmp_path_factory.mktemp("names") / "vpn.log"
    with connected(people["doctor"], next(server.project.rglob("traveller.ovpn")), log) as is_connected:
        assert is_connected, log.read_text()[-3000:]
        yield people["doctor"]
    assert server.playbook("vpn_client.yml", "-e", "do=revoke", "-e", "client=traveller").returncode == 0


def test_vpn_clients_get_signed_names_and_are_told_so(traveller: Host) -> None:
    """A name whose signatures lead up to the root comes with the flag that says it was checked (AD)."""
    said = ask(traveller, VPN_ADDRESS, GOOD)

    assert (said.status, said.addresses) == ("NOERROR", (GOOD_ADDRESS,))
    assert "ad" in said.flags


@pytest.mark.parametrize("name", [FORGED, STRIPPED])
def test_vpn_clients_get_no_forged_names(traveller: Host, name: str) -> None:
    """A signed name whose address somebody has changed, or whose signatures he left off, is not passed on."""
    said = ask(traveller, VPN_ADDRESS, name)

    assert (said.status, said.addresses) == ("SERVFAIL", ())


def test_forgery_is_there_to_be_seen(traveller: Host) -> None:
    """Who asks to leave checking to him (CD) gets the forged address: nothing but the check keeps it from others."""
    assert ask(traveller, VPN_ADDRESS, FORGED, "+cdflag").addresses == (FORGED_ADDRESS,)


def test_vpn_clients_get_unsigned_names_without_the_mark(traveller: Host) -> None:
    """Most names are not signed: they are answered, and not called checked."""
    said = ask(traveller, VPN_ADDRESS, BARE)

    assert (said.status, said.addresses) == ("NOERROR", (BARE_ADDRESS,))
    assert "ad" not in said.flags


def test_archive_is_found_from_everywhere_at_the_right_address(
    server: PreparedServer, people: dict[str, Host], traveller: Host
) -> None:
    """Both names lead into the tunnel from the VPN, to the LAN's address from there, to the public one from outside."""
    for name in (server.domain, server.signin_domain):
        assert ask(traveller, VPN_ADDRESS, name).addresses == (VPN_ADDRESS,)
        assert ask(people["stranger"], server.lan_address, name).addresses == (server.lan_address,)
        assert ask(people["radiologist"], people["provider"].address, name).addresses == (server.address,)


def test_names_beside_the_archive_stay_with_their_owner(traveller: Host) -> None:
    """The hospital's website, in the same domain, is asked for where it is."""
    assert ask(traveller, VPN_ADDRESS, NEIGHBOUR).addresses == (NEIGHBOUR_ADDRESS,)


@pytest.mark.parametrize("protocol", ["+notcp", "+tcp"])
@pytest.mark.parametrize("name", ["stranger", "modality"])
def test_lan_gets_no_recursion(server: PreparedServer, people: dict[str, Host], name: str, protocol: str) -> None:
    """The LAN has its own resolver: other names are refused, remembered ones too."""
    assert ask(people[name], server.lan_address, GOOD, protocol).status == "REFUSED"


def test_zone_is_copied_to_nobody(server: PreparedServer, people: dict[str, Host], traveller: Host) -> None:
    """A copy of the zone would be a map of the hospital."""
    for host, address in ((people["stranger"], server.lan_address), (traveller, VPN_ADDRESS)):
        told = host.run("dig", "+time=2", "+tries=1", f"@{address}", server.domain, "AXFR").stdout
        assert "Transfer failed" in told


@pytest.mark.parametrize("protocol", ["+notcp", "+tcp"])
@pytest.mark.parametrize("own", [True, False])
def test_internet_gets_no_answer_at_all(
    server: PreparedServer,
    people: dict[str, Host],
    protocol: str,
    own: bool,  # noqa: FBT001
) -> None:
    """To strangers this is no name server, neither for its own zone nor as a resolver to amplify attacks with."""
    said = ask(people["attacker"], server.address, server.domain if own else GOOD, protocol, "+tries=1")

    assert said.status == SILENCE


# The other roles' variables are what they were when the server was made.
ONLY_THESE = ("-e", '{"preflight_roles": ["dns"]}')


def forward_to(server: PreparedServer, *hosts: Host) -> str:
    """Have the server ask these resolvers, or the internet's name servers; return what the playbook said."""
    chosen = ", ".join(f'"{host.address}"' for host in hosts)
    done = server.playbook("site.yml", "--tags", "dns", *ONLY_THESE, "-e", f'{{"dns_forwarders": [{chosen}]}}')
    return done.stdout if done.returncode else ""


@pytest.mark.soak
def test_forwarder_is_asked_and_still_not_believed(
    server: PreparedServer, people: dict[str, Host], traveller: Host, tmp_path: Path
) -> None:
    """Behind a firewall the hospital's resolver is asked for everything, and its answers are checked all the same."""
    with forwarder(people["auditor"], tmp_path) as log:
        assert not forward_to(server, people["auditor"])
        try:
            server.ask("systemctl restart named")  # what it remembers was not asked for here
            good, forged = (ask(traveller, VPN_ADDRESS, name) for name in (GOOD, FORGED))
            assert ask(traveller, VPN_ADDRESS, server.domain).addresses == (VPN_ADDRESS,)
        finally:
            assert not forward_to(server)
        asked = log.read_text()

    assert (good.status, good.addresses) == ("NOERROR", (GOOD_ADDRESS,))
    assert "ad" in good.flags
    assert (forged.status, forged.addresses) == ("SERVFAIL", ())
    assert f"query: {GOOD} IN A" in asked


@pytest.mark.soak
def test_forwarder_without_signatures_is_refused_before_anything_changes(
    server: PreparedServer, people: dict[str, Host], tmp_path: Path
) -> None:
    """With a resolver that leaves signatures off no name could be checked: who writes it down is told."""
    before = server.ask("sha256sum /etc/bind/named.conf")
    with forwarder(people["auditor"], tmp_path, signs=False):
        told = forward_to(server, people["auditor"])

    assert f"{people['auditor'].address} answers without signatures" in re.sub(r"\s+", " ", told)
    assert server.ask("sha256sum /etc/bind/named.conf") == before
