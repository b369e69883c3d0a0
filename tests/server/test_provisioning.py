"""The playbook itself: how long it takes, that it changes nothing twice, and what the yardsticks say of its server."""

from __future__ import annotations

import json
import re
import subprocess
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path

import pytest
import yaml

from fixtures.provisioned_server import PreparedServer

# systemd's exposure: 10 is none of its walls, 0 all of them.
EXPOSED_AT_MOST = {
    "orthanc.service": 1.0,
    "nginx.service": 3.0,
    "postgresql@17-main.service": 3.0,
    "fail2ban.service": 3.0,
    "named.service": 3.0,
    "openvpn-server@pacs.service": 3.0,
}


def changed(stdout: str) -> list[str]:
    """Return the tasks that changed something, by name."""
    tasks, task = [], ""
    for line in stdout.splitlines():
        if line.startswith(("TASK [", "RUNNING HANDLER [")):
            task = line.partition("[")[2].partition("]")[0]
        elif line.startswith("changed: "):
            tasks.append(task)
    return tasks


def test_provisioning_takes_minutes(server: PreparedServer) -> None:
    """The whole server stands; how long it took is written down for whoever reads the log."""
    print(f"site.yml took {server.provisioning_seconds:.0f} s")  # noqa: T201

    failed = server.ask("systemctl --failed --plain --no-legend | cut -d' ' -f1").split()
    # A container has no kernel of its own to audit, and the self-check says that its disk is not encrypted.
    assert set(failed) <= {"audit-rules.service", "pacs-verify.service"}


def secrets_in(value: object) -> list[str]:
    """Return the secrets of what is written in the vault; of "user:password" the password."""
    if isinstance(value, dict):
        return [secret for inner in value.values() for secret in secrets_in(inner)]
    return [str(value).rpartition(":")[2]]


def test_secrets_of_the_vault_are_in_no_log(server: PreparedServer) -> None:
    """The administrator who is not root provisioned it by sudo: neither its log nor the journal has a secret."""
    vault = yaml.safe_load((server.project / "ansible/group_vars/pacs/vault.yml").read_text())
    secrets = secrets_in(vault)
    assert len(secrets) > 5
    assert int(server.ask("grep -c BECOME-SUCCESS /var/log/sudo.log")) > 100
    found = server.machine.run(
        "umask 077; cat >/run/secrets-looked-for; journalctl --no-pager -o cat | grep -aFf /run/secrets-looked-for; "
        "grep -rlaFf /run/secrets-looked-for /var/log; rm /run/secrets-looked-for",
        120,
        stdin="".join(f"{secret}\n" for secret in secrets),
    )
    assert found.stderr == ""
    assert found.stdout == ""


@pytest.fixture(scope="module")
def later_runs(server: PreparedServer) -> dict[str, subprocess.CompletedProcess[str]]:
    """Run the playbook again, and a dry run beside it: as neither changes anything, neither is in the other's way."""
    with ThreadPoolExecutor() as threads:
        started = {
            "second": threads.submit(server.playbook, "site.yml"),
            "dry": threads.submit(server.playbook, "site.yml", "--check", "--diff"),
        }
        return {name: run.result() for name, run in started.items()}


def test_second_run_changes_nothing(later_runs: dict[str, subprocess.CompletedProcess[str]]) -> None:
    """A server that is as it is written is left alone."""
    done = later_runs["second"]

    assert done.returncode == 0, done.stdout[-4000:]
    assert changed(done.stdout) == []


def test_check_mode_changes_nothing_and_fails_nowhere(
    later_runs: dict[str, subprocess.CompletedProcess[str]],
) -> None:
    """`--check` on a running server tells what a run would do: nothing."""
    done = later_runs["dry"]

    assert done.returncode == 0, done.stdout[-4000:]
    assert changed(done.stdout) == []


@pytest.mark.parametrize("unit", EXPOSED_AT_MOST)
def test_unit_is_walled_in(server: PreparedServer, unit: str) -> None:
    """Systemd finds each service as little exposed as was promised."""
    said = server.ask(f"systemd-analyze security --no-pager {unit} | tail -n 1")

    assert float(re.search(r"(\d+\.\d)", said)[1]) <= EXPOSED_AT_MOST[unit], said  # type: ignore[index]


def test_every_unit_of_ours_is_walled_in(server: PreparedServer) -> None:
    """No long-running unit that this project brings is exposed above 3.0."""
    units = server.ask(
        "systemctl list-units --type=service --state=running --plain --no-legend 'pacs-*' 'llng*' 'lemonldap*'"
        " | cut -d' ' -f1"
    ).split()
    said = {unit: server.ask(f"systemd-analyze security --no-pager {unit} | tail -n 1") for unit in units}

    assert {unit: text for unit, text in said.items() if float(re.search(r"(\d+\.\d)", text)[1]) > 3.0} == {}  # type: ignore[index]


def test_lynis_gives_eighty(server: PreparedServer) -> None:
    """Lynis, an audit that we did not write, gives the server 80 of 100 or more."""
    server.ask(
        "command -v lynis || DEBIAN_FRONTEND=noninteractive apt-get install -qq -y --no-install-recommends lynis", 120
    )
    server.run("lynis audit system --quick --no-colors --quiet", 400)

    assert int(server.ask("sed -n 's/^hardening_index=//p' /var/log/lynis-report.dat")) >= 80


def test_self_check_can_look_at_an_encrypted_volume(server: PreparedServer) -> None:
    """Behind its walls it may lay down the lock with which cryptsetup looks at a volume, and nothing beside it."""
    server.ask("mkdir -p -m 700 /run/cryptsetup")
    walls = " ".join(
        f'-p {name}="$(systemctl show -P {name} pacs-verify)"' for name in ("ProtectSystem", "ReadWritePaths")
    )
    tries = f"systemd-run --quiet --wait --pipe --collect {walls} touch"
    assert server.run(f"{tries} /run/cryptsetup/trial && rm /run/cryptsetup/trial").returncode == 0
    assert server.run(f"{tries} /run/trial").returncode != 0


def test_self_check_keeps_every_promise(server: PreparedServer) -> None:
    """`verify.yml` finds every promise kept but the one that a container can't keep, and leaves a report to print."""
    done = server.playbook("verify.yml")
    results = json.loads(server.ask("cat /var/lib/pacs-report/latest.json"))["results"]

    broken = [
        f"{result['part']}: {result['promise']}: {result['evidence']}" for result in results if not result["passed"]
    ]
    # A container has no device mapper: the report must say that its disk is not encrypted, and nothing else.
    assert [line.partition(":")[0] for line in broken] == ["luks"], "\n".join(broken)
    parts = {result["part"] for result in results}
    assert {"seen from the internet", "seen from the lan", "seen from the admin"} <= parts, done.stdout
    assert "FAIL" in done.stdout
    reports = list(Path(server.project, "reports").glob("*.html"))
    assert reports
    assert reports[0].read_text().count('class="PASS"') == len(results) - len(broken)


def test_self_check_of_the_night_finds_what_a_person_finds(server: PreparedServer) -> None:
    """Behind its walls the service keeps the same promises as `pacs-verify` in an administrator's hands."""
    server.run("systemctl start pacs-verify", 300)
    results = json.loads(server.ask("cat /var/lib/pacs-report/latest.json"))["results"]

    broken = [result for result in results if not result["passed"]]
    assert [result["part"] for result in broken] == ["luks"], broken
