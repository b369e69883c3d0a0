"""Looks through all that is written for a server and through the server itself, and tells all faults at once.

It runs on the control machine, changes nothing, and names for each fault the file and line, what was expected, what was
found, and what to do.
"""

from __future__ import annotations

import sys
from pathlib import Path
from typing import Any

from ansible.plugins.action import ActionBase

# Ansible knows a role's plugins, but no package that they share.
sys.path.insert(0, str(Path(__file__).resolve().parents[1] / "plugin_utils"))

from pacs_checks.backups import check_backups
from pacs_checks.faults import report
from pacs_checks.hospital import check_domain, check_networks, check_peers
from pacs_checks.machine import check_key_device, check_listeners, check_machine, check_ports
from pacs_checks.places import places_of
from pacs_checks.reach import check_reach
from pacs_checks.variables import Variables, declared
from pacs_checks.written import check_names, check_placeholders, check_types


class ActionModule(ActionBase):
    """The task `pacs_preflight`; returns `faults` as text, never fails by a fault itself.

    Arguments: `roles_directory`, `machine` (root_free_mb, clock_ahead_seconds, listening, key_device_path).
    """

    _requires_connection = False

    def run(self, tmp: str | None = None, task_vars: dict[str, Any] | None = None) -> dict[str, Any]:
        """Return the faults found."""
        result: dict[str, Any] = super().run(tmp, task_vars)
        task_vars = task_vars or {}
        variables = Variables(task_vars, self._templar)
        options = declared(Path(self._task.args["roles_directory"]))
        places = places_of(task_vars)
        written = places.written()
        faults = [
            *places.faults,
            *check_types(variables, options, written),
            *check_names(options, written),
            *check_placeholders(variables, written),
            *check_networks(variables),
            *check_peers(variables),
            *check_ports(variables),
            *check_domain(variables),
            *check_reach(variables),
            *check_backups(variables),
            *check_machine(task_vars["ansible_facts"], self._task.args["machine"]),
            *check_key_device(variables, self._task.args["machine"]["key_device_path"]),
            *check_listeners(variables, self._task.args["machine"]["listening"]),
        ]
        return result | {"changed": False, "faults": report(faults, places).splitlines()}
