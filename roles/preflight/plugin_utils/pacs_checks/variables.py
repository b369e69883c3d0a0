"""The variables of a server, and what the roles say of each."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import yaml
from ansible.errors import AnsibleError
from ansible.template import Templar


class Variables:
    """The variables of one server, filled in."""

    def __init__(self, task_vars: dict[str, Any], templar: Templar) -> None:
        self._task_vars = task_vars
        self._templar = templar

    def __contains__(self, name: str) -> bool:
        return name in self._task_vars

    def __getitem__(self, name: str) -> Any:
        return self._templar.template(self._task_vars[name])

    def get(self, name: str, default: Any = None) -> Any:
        """Return a variable's value, or `default` where it is missing or can't be filled in."""
        try:
            return self[name] if name in self else default  # noqa: SIM401 (that would be this method)
        except AnsibleError:
            return default


def declared(roles: Path) -> dict[str, dict[str, Any]]:
    """Return every variable that some role reads, with what it says of it."""
    options: dict[str, dict[str, Any]] = {}
    for path in sorted(roles.glob("*/meta/argument_specs.yml")):
        specs = yaml.safe_load(path.read_text(encoding="utf-8"))["argument_specs"]
        for entry in specs.values():
            options |= entry.get("options", {})
    return options
