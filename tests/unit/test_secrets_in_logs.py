"""What the vault holds reaches no log: neither Ansible's on the server nor sudo's, which has the whole command."""

from __future__ import annotations

import configparser
import json
import os
import re
import subprocess
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest
import yaml

CHECKOUT = Path(__file__).parents[2]
ROLES = CHECKOUT / "roles"
# What Ansible writes to the server's log of a command, and of a file's content.
TOLD = ("stdin", "argv", "cmd", "content")
PASSPHRASE = "a passphrase of the vault"  # noqa: S105
PLAY = """\
- hosts: localhost
  connection: local
  gather_facts: false
  tasks:
    - ansible.builtin.include_role: {name: luks, tasks_from: verify}
"""
CRYPTSETUP = f"""\
#!/bin/sh
[ "$(cat)" = "{PASSPHRASE}" ] && exit
echo "No key available with this passphrase." >&2
exit 2
"""


def tasks_in(listed: list[dict[str, Any]], inherited: dict[str, Any]) -> Iterator[dict[str, Any]]:
    """Tell the tasks of a list and of its blocks, with what blocks give to those in them."""
    for task in listed:
        whole = inherited | task
        if inner := [one for part in ("block", "rescue", "always") for one in task.get(part, [])]:
            yield from tasks_in(inner, {key: whole[key] for key in ("no_log", "environment") if key in whole})
        else:
            yield whole


def tasks() -> dict[str, list[dict[str, Any]]]:
    """Return every task of roles and playbooks, by its file."""
    found = {}
    for path in sorted([*ROLES.glob("*/tasks/*.yml"), *ROLES.glob("*/handlers/*.yml")]):
        found[str(path.relative_to(CHECKOUT))] = list(tasks_in(yaml.safe_load(path.read_text()) or [], {}))
    for path in sorted((CHECKOUT / "ansible").glob("*.yml")):
        plays = yaml.safe_load(path.read_text())
        listed = [
            task for play in plays for part in ("pre_tasks", "tasks", "post_tasks") for task in play.get(part, [])
        ]
        found[str(path.relative_to(CHECKOUT))] = list(tasks_in(listed, {}))
    return found


def names(value: object, variables: set[str]) -> bool:
    """Return whether what is written names one of some variables, or one of the vault."""
    words = set(re.findall(r"\w+", re.sub(r"\w+ \| map\(attribute='name'\)", "", json.dumps(value))))
    return bool(words & variables) or any(word.startswith("vault_") for word in words)


@pytest.fixture(scope="module")
def secret() -> set[str]:
    """Return the variables that are made of what the vault holds, however indirectly."""
    variables: list[tuple[str, Any]] = []
    for path in [*ROLES.glob("*/defaults/main.yml"), *ROLES.glob("*/vars/main.yml")]:
        variables += (yaml.safe_load(path.read_text()) or {}).items()
    for listed in tasks().values():
        variables += [variable for task in listed for variable in task.get("vars", {}).items()]
    found: set[str] = set()
    while more := {name for name, value in variables if names(value, found)} - found:
        found |= more
    return found


def test_secrets_are_in_no_tasks_environment(secret: set[str]) -> None:
    """It would stand in the command that sudo logs, whatever no_log says."""
    assert {"_luks_secret", "openvpn_ca_passphrase", "postgresql_databases"} <= secret
    told = []
    for where, listed in tasks().items():
        for task in listed:
            own = secret | ({"item"} if names(task.get("loop"), secret) else set())
            told += [f"{where}: {task['name']}"] if names(task.get("environment"), own) else []
    assert told == []


def test_tasks_that_give_secrets_away_are_not_logged(secret: set[str]) -> None:
    """Ansible writes a command's input and a file's content into the server's journal unless it is told not to."""
    seen, told = 0, []
    for where, listed in tasks().items():
        for task in listed:
            own = secret | ({"item"} if names(task.get("loop"), secret) else set())
            arguments = [value for name, value in task.items() if isinstance(value, dict) and name != "vars"]
            if any(names(value[key], own) for value in arguments for key in TOLD if key in value):
                seen += 1
                told += [] if task.get("no_log") is True else [f"{where}: {task['name']}"]
    assert seen > 10
    assert told == []


def test_modules_tell_the_servers_log_nothing() -> None:
    """What no task says of itself is not written either, where the playbooks are run from the checkout."""
    settings = configparser.ConfigParser()
    settings.read(CHECKOUT / "ansible.cfg")
    assert settings.getboolean("defaults", "no_target_syslog")


@pytest.mark.parametrize("given", [PASSPHRASE, "what the volume was never opened by"])
def test_passphrase_reaches_cryptsetup_and_nobody_else(tmp_path: Path, given: str) -> None:
    """A failure says what cryptsetup said; neither it nor all that Ansible can tell has the passphrase."""
    pytest.importorskip("ansible", reason="ansible-core is not installed here")
    for name, program in {"cryptsetup": CRYPTSETUP, "findmnt": "#!/bin/sh\necho /dev/mapper/pacs-data xfs\n"}.items():
        (tmp_path / name).write_text(program)
        (tmp_path / name).chmod(0o755)
    (tmp_path / "play.yml").write_text(PLAY)
    variables = {"luks_passphrase": given, "__luks_state": {"path": "/dev/vdz"}, "pacs_data_directory": "/srv/pacs"}
    (tmp_path / "variables.json").write_text(json.dumps(variables))
    done = subprocess.run(
        ["ansible-playbook", "-vvv", "-i", "localhost,", tmp_path / "play.yml", "-e", f"@{tmp_path}/variables.json"],
        cwd=CHECKOUT,
        capture_output=True,
        text=True,
        check=False,
        env=os.environ | {"ANSIBLE_NOCOLOR": "1", "PATH": f"{tmp_path}:{os.environ['PATH']}"},
    )
    said = done.stdout + done.stderr
    assert (done.returncode == 0) == (given == PASSPHRASE), said
    assert ("cryptsetup open failed: No key available with this passphrase." in said) == (given != PASSPHRASE), said
    assert given not in said
