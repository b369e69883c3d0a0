"""The self-check's promises of role base: they can be read in a container and on a machine of its own."""

from __future__ import annotations

import json
import re
from pathlib import Path
from typing import Any

import pytest
import yaml
from jinja2 import Environment, StrictUndefined

PROMISES = Path(__file__).parents[2] / "roles/base/templates/etc/pacs/promises.d/base.yml.j2"
RIGHT = """\
Reference ID    : C0A80001 (192.168.0.1)
Stratum         : 3
System time     : 0.000012345 seconds fast of NTP time
Leap status     : Normal
"""


def promises(*, is_container: bool) -> dict[str, dict[str, Any]]:
    """Return the promises by their words."""
    environment = Environment(undefined=StrictUndefined, autoescape=False)  # noqa: S701 (YAML, as Ansible fills it in)
    environment.filters["to_json"] = json.dumps
    values = {
        "_base_is_container": is_container,
        "ansible_managed": "Ansible managed",
        "base_usb_storage": False,
        "base_reverse_path_filter": 1,
    }
    found = yaml.safe_load(environment.from_string(PROMISES.read_text()).render(values))
    return {promise["promise"]: promise for promise in found}


@pytest.mark.parametrize("is_container", [True, False])
def test_every_promise_is_a_command_and_an_expression(*, is_container: bool) -> None:
    """Nothing that YAML or the check would stumble over."""
    for promise in promises(is_container=is_container).values():
        assert promise["command"]
        re.compile(promise.get("expect", ""))


def test_promise_of_the_clock_tells_right_from_wrong() -> None:
    """A tenth of a second off, or no time from anybody, is not right."""
    clock = promises(is_container=False)["The clock is right (within a tenth of a second)"]["expect"]
    assert re.search(clock, RIGHT, re.MULTILINE)
    assert not re.search(clock, RIGHT.replace("0.000012345", "0.100000001"), re.MULTILINE)
    assert not re.search(clock, RIGHT.replace("Normal", "Not synchronised"), re.MULTILINE)


def test_machine_of_its_own_promises_more() -> None:
    """AppArmor, the audit and the kernel's settings are the host's where this is a container."""
    more = set(promises(is_container=False)) - set(promises(is_container=True))
    assert len(more) == 3
