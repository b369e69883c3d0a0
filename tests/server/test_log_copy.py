"""A copy of the journal goes to another machine, by TLS: to that machine alone, and nothing of it is lost."""

from __future__ import annotations

import secrets
from collections.abc import Iterator
from pathlib import Path

import pytest
import yaml

from fixtures.authorities import Authority, authority
from fixtures.hospital_network import Host
from fixtures.log_receiver import LogReceiver, sender_certificate
from fixtures.provisioned_server import PreparedServer

PLAYBOOK = [
    {
        "name": "The copy of the logs alone",
        "hosts": "pacs",
        "become": True,
        "tasks": [
            {
                "name": "Do it",
                "ansible.builtin.include_role": {"name": "monitoring", "tasks_from": "logs"},
            }
        ],
    }
]
NAME = "log_copy_trial.yml"
# The server tries again after ten seconds, and then less and less often.
COPIED_SECONDS = 120
PURGE = "apt-get -qq -y purge systemd-journal-remote >/dev/null; rm -rf /var/lib/private/systemd/journal-upload"


def played(server: PreparedServer, *arguments: str) -> str:
    """Run the role's part for the copy; return what Ansible printed."""
    done = server.playbook(NAME, *arguments)
    assert done.returncode == 0, (done.stdout + done.stderr)[-3000:]
    return done.stdout


def says(server: PreparedServer, tag: str, *words: str) -> None:
    """Have a program of the server write to the journal."""
    for word in words:
        server.ask(f"logger -t {tag} {word}")


@pytest.fixture(scope="module")
def hospital(tmp_path_factory: pytest.TempPathFactory) -> Authority:
    """Return the authority that the receiver and the server believe."""
    return authority(tmp_path_factory.mktemp("hospital"), "logs")


@pytest.fixture(scope="module")
def receiver(
    server: PreparedServer, people: dict[str, Host], hospital: Authority, tmp_path_factory: pytest.TempPathFactory
) -> Iterator[LogReceiver]:
    """Return who is to keep the copy, not yet there, with the server told to send it; put all back afterwards."""
    (server.project / "ansible" / NAME).write_text(yaml.safe_dump(PLAYBOOK))
    keeper = people["auditor"]
    one = LogReceiver(keeper, tmp_path_factory.mktemp("receiver"), server.machine.root, hospital)
    client = tmp_path_factory.mktemp("client")
    sender_certificate(hospital, client)
    try:
        played(server, "-e", f"monitoring_logs_to={one.url}", "-e", f"monitoring_logs_certificates={client}")
        yield one
    finally:
        one.stop()
        played(server)
        server.ask(PURGE, 120)
        (server.project / "ansible" / NAME).unlink()


def test_copy_holds_all_that_was_said_while_its_keeper_was_away(receiver: LogReceiver, server: PreparedServer) -> None:
    """What was written while nobody took it comes when somebody does, in its order; then all goes on."""
    tag = f"trial-{secrets.token_hex(4)}"
    certificate = receiver.authority.make("receiver", f"IP:{receiver.host.address}")
    says(server, tag, "one", "two")
    receiver.start(*certificate)
    receiver.wait_for(tag, 2, COPIED_SECONDS)
    says(server, tag, "three")
    assert receiver.wait_for(tag, 3, COPIED_SECONDS) == ["one", "two", "three"]

    receiver.stop()
    says(server, tag, "four", "five")
    receiver.start(*certificate)

    assert receiver.wait_for(tag, 5, COPIED_SECONDS) == ["one", "two", "three", "four", "five"]
    server.ask("systemctl start pacs-monitor")
    told = server.ask("grep ^pacs_log_copy_last_sent /var/lib/prometheus/node-exporter/pacs-monitor.prom")
    assert f'receiver="{receiver.url}"' in told
    assert float(server.ask("date +%s")) - float(told.rsplit(maxsplit=1)[1]) < COPIED_SECONDS


def test_copy_goes_to_nobody_else(
    receiver: LogReceiver, server: PreparedServer, people: dict[str, Host], tmp_path: Path
) -> None:
    """Who has another authority's certificate, or another's name, gets nothing; who has none may send nothing."""
    tag = f"trial-{secrets.token_hex(4)}"
    receiver.stop()
    other = authority(tmp_path, "other")
    wrong = (
        other.make("receiver", f"IP:{receiver.host.address}"),
        receiver.authority.make("elsewhere", "DNS:elsewhere.test"),
    )
    for number, certificate in enumerate(wrong):
        since = server.ask("date +%s")
        receiver.start(*certificate)
        says(server, tag, f"secret {number}")
        server.ask("systemctl reset-failed systemd-journal-upload; systemctl restart systemd-journal-upload")
        refused = f"journalctl --quiet -u systemd-journal-upload --since=@{since} --grep='certificate|SSL'"
        server.ask(f"for i in $(seq 100); do {refused} && exit 0; sleep 0.3; done; exit 1")
        receiver.stop()
    assert receiver.lines(tag) == []

    receiver.start(*receiver.authority.make("receiver", f"IP:{receiver.host.address}"))
    assert receiver.wait_for(tag, 2, COPIED_SECONDS) == ["secret 0", "secret 1"]
    asked = ("curl", "-sS", "--cacert", receiver.authority.certificate, "-o", "/dev/null", "-w", "%{http_code}")
    told = people["attacker"].run(*asked, "-X", "POST", "-d", "MESSAGE=forged", f"{receiver.url}/upload").stdout
    assert told == "400"


def test_copy_neither_changes_nor_hinders_what_is_there(receiver: LogReceiver, server: PreparedServer) -> None:
    """Its key is for the service alone; while packets are swallowed the server can still be told to stop it."""
    assert server.run("setpriv --reuid=nobody --clear-groups cat /etc/pacs/journal-upload/key.pem").returncode != 0
    receiver.stop()
    chain = "'{ type filter hook output priority -300; }'"
    server.ask(f"nft add table inet trial; nft add chain inet trial out {chain};"
               f"nft add rule inet trial out ip daddr {receiver.host.address} drop")  # fmt: skip
    try:
        server.ask("systemctl restart systemd-journal-upload; sleep 2", 30)
        assert float(server.ask("begun=$(date +%s.%N); systemctl stop systemd-journal-upload; "
                                "echo $(date +%s.%N) $begun | awk '{print $1 - $2}'", 100)) < 10  # fmt: skip
    finally:
        server.ask("nft delete table inet trial; systemctl start systemd-journal-upload")
