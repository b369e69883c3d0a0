"""What roles ask of a kernel, on one of its own: audit, AppArmor, its settings, modules that it never loads."""

from __future__ import annotations

import re
from collections.abc import Iterator

import pytest
import yaml

from fixtures.roles_alone import Administrator
from fixtures.virtual_machine import LAYER, VirtualMachine

pytestmark = [pytest.mark.soak, pytest.mark.timeout(3600)]

VARIABLES = """\
pacs_organization: Hospital de Chilecito
pacs_admin_mail: it@chilecito.test
pacs_time_zone: America/Argentina/La_Rioja
"""
# The addresses are those of QEMU's network.
NAMES = f"""\
{VARIABLES}
pacs_domain: pacs.chilecito.test
pacs_signin_domain: auth.chilecito.test
pacs_dns_zone: chilecito.test
pacs_lan_address: 10.0.2.15
pacs_networks: {{lan: [10.0.2.0/24], admin: [10.0.2.0/24], vpn: [10.8.0.0/24]}}
dns_recursion: false
"""
# An emulated machine has no clock to trust, and nobody to ask where these tests run.
NOT_HERE = "The clock is right"


@pytest.fixture(scope="module")
def administrator(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Administrator]:
    """Boot a machine, and make it as role base says; then start it again: what holds must hold from the start."""
    if not LAYER.is_dir():
        pytest.skip("started without the virtual machine's layer (orthanc/root/build.sh)")
    machine = VirtualMachine(tmp_path_factory.mktemp("kernel"), [])
    try:
        machine.boot()
        # For other tests its timers are quiet; a machine as Debian makes it has them.
        machine.ask("systemctl unmask apt-daily.timer apt-daily-upgrade.timer")
        administrator = Administrator(machine, "base", VARIABLES)
        administrator.succeeds()
        machine.restart()
        yield administrator
    finally:
        machine.cut_power()


def test_kernel_audits_who_changes_accounts(administrator: Administrator) -> None:
    """The audit runs with our rules, and what somebody changes of the accounts stands in its log."""
    machine = administrator.machine
    assert re.search(r"^enabled 1$", machine.ask("auditctl -s"), re.MULTILINE)

    machine.ask("useradd intruder")

    machine.wait_until("ausearch --input-logs -k identity | grep -q 'exe=\"/usr/sbin/useradd\"'")


def test_apparmor_confines_what_runs(administrator: Administrator) -> None:
    """AppArmor is on, and the service of the time runs under its profile, enforced."""
    machine = administrator.machine
    assert machine.ask("aa-enabled") == "Yes"
    process = machine.ask("systemctl show -P MainPID chrony")

    assert machine.ask(f"cat /proc/{process}/attr/current") in {"/usr/sbin/chronyd (enforce)", "chronyd (enforce)"}


def test_kernel_loads_no_rare_module(administrator: Administrator) -> None:
    """A protocol that hardly anybody looks after is not loaded when somebody asks for it."""
    said = administrator.machine.run("modprobe sctp")

    assert said.returncode != 0
    assert "sctp" not in administrator.machine.ask("cut -d' ' -f1 /proc/modules")


def test_promises_of_the_kernel_are_kept(administrator: Administrator) -> None:
    """Each promise of role base, also those that a container can't keep, holds after a start."""
    broken = broken_promises(administrator.machine, "base")
    assert not [promise for promise in broken if not promise.startswith(NOT_HERE)], broken


def test_second_run_changes_nothing(administrator: Administrator) -> None:
    """What is as it should be is left alone."""
    assert re.search(r"changed=0\s", administrator.succeeds())


def test_names_are_answered_under_apparmor(administrator: Administrator) -> None:
    """The name server does all that it promises within Debian's profile, enforced."""
    Administrator(administrator.machine, "dns", NAMES).succeeds()

    promises, broken = promises_of(administrator.machine, "dns"), broken_promises(administrator.machine, "dns")

    assert "The name server is confined by AppArmor" in promises
    assert broken == {}


def promises_of(machine: VirtualMachine, role: str) -> dict[str, dict[str, str]]:
    """Return what a role promised, by its words."""
    found = yaml.safe_load(machine.ask(f"cat /etc/pacs/promises.d/{role}.yml"))
    return {promise["promise"]: promise for promise in found}


def broken_promises(machine: VirtualMachine, role: str) -> dict[str, str]:
    """Return the promises of a role that do not hold, each with what was found."""
    broken = {}
    for words, promise in promises_of(machine, role).items():
        said = machine.run(promise["command"])
        if said.returncode or not re.search(promise.get("expect", ""), said.stdout.strip(), re.MULTILINE):
            broken[words] = said.stdout + said.stderr
    return broken
