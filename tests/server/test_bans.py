"""Who tries keys, passwords or the archive's door too often is shut out everywhere; the hospital itself never is."""

from __future__ import annotations

import time
from collections.abc import Iterator

import pytest

from fixtures.hospital_network import Host
from fixtures.provisioned_server import PreparedServer

BANNED_WITHIN_SECONDS = 10
SSH = (
    "ssh",
    "-o",
    "StrictHostKeyChecking=no",
    "-o",
    "UserKnownHostsFile=/dev/null",
    "-o",
    "PasswordAuthentication=no",
    "-o",
    "ConnectTimeout=5",
)


@pytest.fixture
def attacker(server: PreparedServer, people: dict[str, Host]) -> Iterator[Host]:
    """Somebody outside, with a clean record before and after."""
    server.ask("fail2ban-client unban --all")
    yield people["attacker"]
    server.ask("fail2ban-client unban --all")


def is_banned_within(host: Host, address: str, seconds: float) -> bool:
    """Return whether no port answers any more within that time."""
    deadline = time.monotonic() + seconds
    while time.monotonic() < deadline:
        if not host.reaches(address, 443):
            return not host.reaches(address, 80)
    return False


def sign_in_wrongly(host: Host, server: PreparedServer) -> None:
    """Try one wrong password at the sign-in, as a program of an attacker does: with the form's token."""
    portal = f"https://{server.signin_domain}/"
    script = (
        'set -e; d=$(mktemp -d); c="curl -sk --max-time 5 -c $d/jar -b $d/jar"; '
        't=$($c $1 | sed -n \'s/.*name="token" value="\\([^"]*\\)".*/\\1/p\' | head -n 1); '
        "$c -o /dev/null --data-urlencode user=ghost --data-urlencode password=wrong --data-urlencode token=$t $1"
    )
    host.run("sh", "-c", script, "sh", portal)


def refuse_association(host: Host, address: str) -> None:
    """Ask for an association under a title that is not the archive's."""
    host.run("/usr/bin/echoscu", "-to", "3", "-ta", "3", "-aec", "WRONG", address, "4242")


def test_wrong_passwords_ban(server: PreparedServer, attacker: Host) -> None:
    """Six wrong sign-ins shut every port within ten seconds."""
    for _ in range(6):
        sign_in_wrongly(attacker, server)

    assert is_banned_within(attacker, server.address, BANNED_WITHIN_SECONDS)


def test_wrong_keys_ban(
    server: PreparedServer, attacker: Host, people: dict[str, Host], tmp_path_factory: pytest.TempPathFactory
) -> None:
    """Six wrong ssh keys, from where ssh answers at all, ban an address that is not excepted."""
    key = tmp_path_factory.mktemp("keys") / "key"
    attacker.run("ssh-keygen", "-q", "-t", "ed25519", "-N", "", "-f", key)
    # The firewall keeps strangers from ssh: one is let in for the trial.
    server.ask(f"nft insert rule inet pacs input ip saddr {attacker.address} tcp dport 22 accept")
    try:
        for _ in range(6):
            attacker.run(*SSH, "-i", key, f"admin@{server.address}", "true")
        assert is_banned_within(attacker, server.address, BANNED_WITHIN_SECONDS)
    finally:
        server.ask("systemctl reload nftables")
    assert people["radiologist"].reaches(server.address, 443)


def test_refused_associations_ban(server: PreparedServer, people: dict[str, Host]) -> None:
    """Twenty associations that the archive refuses ban a peer outside of the hospital."""
    partner = people["partner"]
    for _ in range(20):
        refuse_association(partner, server.address)
    try:
        assert is_banned_within(partner, server.address, BANNED_WITHIN_SECONDS)
    finally:
        server.ask("fail2ban-client unban --all")


# Connects by TLS without a certificate, so many times.
KNOCK = """
import socket, ssl, sys
context = ssl._create_unverified_context()
for number in range(int(sys.argv[3])):
    try:
        with socket.create_connection((sys.argv[1], int(sys.argv[2])), 2) as plain, context.wrap_socket(plain) as door:
            door.settimeout(2)
            door.recv(1)
    except OSError:
        pass
"""


@pytest.mark.parametrize("what", ["no certificate", "no TLS"])
def test_knocking_at_dicom_by_tls_bans(server: PreparedServer, people: dict[str, Host], what: str) -> None:
    """Twenty connections to DICOM by TLS without a certificate of ours, or that are no TLS, ban a peer outside."""
    partner = people["partner"]
    if what == "no TLS":
        for _ in range(20):
            partner.run("/usr/bin/echoscu", "-to", "2", "-ta", "2", "-aec", "PACS", server.address, "2762")
    else:
        partner.run("python3", "-c", KNOCK, server.address, "2762", "20")
    try:
        assert is_banned_within(partner, server.address, BANNED_WITHIN_SECONDS)
    finally:
        server.ask("fail2ban-client unban --all")


def ask_for(host: Host, server: PreparedServer, paths: list[str], *options: str) -> list[str]:
    """Ask for addresses without a session over one connection; return the statuses."""
    wanted = "".join(f'url = "https://{server.domain}{path}"\noutput = "/dev/null"\n' for path in paths)
    done = host.run("curl", "-sk", "-w", "%{http_code}\n", "--max-time", "20", *options, "--config", "-", input=wanted)
    return done.stdout.split()


def test_scan_that_is_only_led_to_the_sign_in_bans(server: PreparedServer, attacker: Host) -> None:
    """Asking for twenty files of other products bans, though each request was answered by the way to the sign-in."""
    files = ["/wp-login.php", "/.env", "/.git/config", "/xmlrpc.php", "/old/index.php", "/cgi-bin/luci", "/backup.sql"]
    statuses = ask_for(attacker, server, 3 * files, "-H", "Accept: text/html")
    assert statuses[0] == "302"
    assert is_banned_within(attacker, server.address, BANNED_WITHIN_SECONDS)


def test_person_without_a_session_is_never_banned(server: PreparedServer, attacker: Host) -> None:
    """A tab of the viewer that was left open asks for hundreds of images and pages in vain: that is no attack."""
    frames = [f"/dicom-web/studies/1.2.3/series/1.2.3.4/instances/1.2.3.4.{n}/frames/1" for n in range(700)]
    pages = ["/", "/pacs/", "/pacs/vendor/htmx.min.js", "/ohif/viewer?StudyInstanceUIDs=1.2.3", "/favicon.ico",
             "/apple-touch-icon.png", "/robots.txt", "/.well-known/change-password", "/manifest.json"]  # fmt: skip
    viewer = ("-H", "Sec-Fetch-Site: same-origin", "-H", "Sec-Fetch-Mode: cors")
    navigation = ("-H", "Accept: text/html,*/*", "-H", "Sec-Fetch-Site: none", "-H", "Sec-Fetch-Mode: navigate")
    # Too fast, some of it, which is told and not punished.
    assert set(ask_for(attacker, server, frames, *viewer)) == {"401", "429"}
    time.sleep(5)
    assert set(ask_for(attacker, server, 5 * pages, *navigation)) == {"302"}

    time.sleep(5)

    assert attacker.reaches(server.address, 443)
    assert attacker.address not in server.ask("fail2ban-client banned")


def test_hospital_is_never_banned(server: PreparedServer, people: dict[str, Host]) -> None:
    """The same from the LAN bans nobody: a modality that is configured wrongly must not lose its images for a day."""
    modality = people["modality"]
    for _ in range(25):
        refuse_association(modality, server.lan_address)
    for _ in range(7):
        sign_in_wrongly(modality, server)

    time.sleep(5)

    assert modality.reaches(server.lan_address, 443)
    assert modality.reaches(server.lan_address, 4242)
    assert "10.20.0." not in server.ask("fail2ban-client banned")


def test_bans_are_in_the_report(server: PreparedServer, attacker: Host) -> None:
    """Who is banned, and by which jail, stands in the self-check."""
    server.ask(f"fail2ban-client set pacs-ssh banip {attacker.address}")

    assert attacker.address in server.run("pacs-verify", 120).stdout
