"""Where each variable is written: file and line."""

from __future__ import annotations

import shlex
from collections.abc import Iterator, Sequence
from pathlib import Path
from typing import Any

import yaml

from pacs_checks.faults import Fault, Path_


class Places:
    """Where each variable is written: files of host_vars and group_vars, and the inventory."""

    def __init__(
        self, directories: Sequence[Path], inventories: Sequence[Path], groups: Sequence[str], host: str
    ) -> None:
        self._nodes: dict[str, tuple[Path, yaml.Node, yaml.Node]] = {}
        self._lines: dict[str, tuple[Path, int]] = {}
        self.faults: list[Fault] = []
        for directory in directories:
            for name in [f"group_vars/{group}" for group in groups] + [f"host_vars/{host}"]:
                for path in _files(directory / name):
                    self._read(path)
        for path in inventories:
            self._read_inventory(path)

    def _read(self, path: Path) -> None:
        text = path.read_text(encoding="utf-8")
        if text.startswith("$ANSIBLE_VAULT"):
            return
        node = yaml.compose(text, Loader=yaml.SafeLoader)
        if isinstance(node, yaml.MappingNode):
            seen: dict[str, int] = {}
            for key, value in node.value:
                line = key.start_mark.line + 1
                if key.value in seen:
                    self.faults.append(
                        Fault((key.value,), f"it is written twice, in lines {seen[key.value]} and {line}", "Keep one.")
                    )
                seen[key.value] = line
                self._nodes[key.value] = (path, key, value)

    def _read_inventory(self, path: Path) -> None:
        if not path.is_file():
            return
        for number, line in enumerate(path.read_text(encoding="utf-8").splitlines(), 1):
            if line.startswith(("#", ";", "[")):
                continue
            for word in shlex.split(line, comments=True):
                name, equals, _ = word.partition("=")
                if equals:
                    self._lines[name] = (path, number)

    def written(self) -> set[str]:
        """Return the names of all variables that a person has written somewhere."""
        return set(self._nodes) | set(self._lines)

    def of(self, path: Path_) -> str:
        """Return `file:line` of a variable or of an item in it; empty when nobody has written it."""
        if not path or path[0] not in self.written():
            return ""
        name = str(path[0])
        if name in self._lines:
            file, line = self._lines[name]
            return f"{_short(file)}:{line}"
        file, key, node = self._nodes[name]
        line = key.start_mark.line
        for step in path[1:]:
            found = _below(node, step)
            if found is None:
                break
            line, node = found
        return f"{_short(file)}:{line + 1}"


def _files(path: Path) -> Iterator[Path]:
    if path.is_dir():
        yield from sorted(file for file in path.iterdir() if file.suffix in {"", ".yml", ".yaml"} and file.is_file())
    else:
        yield from (file for suffix in ("", ".yml", ".yaml") if (file := path.with_name(path.name + suffix)).is_file())


def _below(node: yaml.Node, step: str | int) -> tuple[int, yaml.Node] | None:
    if isinstance(node, yaml.SequenceNode) and isinstance(step, int) and step < len(node.value):
        return node.value[step].start_mark.line, node.value[step]
    if isinstance(node, yaml.MappingNode):
        for key, value in node.value:
            if key.value == step:
                return key.start_mark.line, value
    return None


def _short(path: Path) -> str:
    try:
        return str(path.resolve().relative_to(Path.cwd()))
    except ValueError:
        return str(path)


def places_of(task_vars: dict[str, Any]) -> Places:
    """Return where the variables of a host are written."""
    inventories = [
        Path(source) for source in task_vars.get("ansible_inventory_sources") or [] if not source.endswith(",")
    ]
    directories = [Path(task_vars["playbook_dir"]), *(path if path.is_dir() else path.parent for path in inventories)]
    unique = list(dict.fromkeys(directory.resolve() for directory in directories))
    return Places(unique, inventories, ["all", *task_vars.get("group_names", [])], task_vars["inventory_hostname"])
