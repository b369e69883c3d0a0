"""targets.yaml: read whole, with every fault told by its line and cure, or not at all."""

from __future__ import annotations

import difflib
import os
import re
from collections.abc import Callable, Mapping
from http import HTTPStatus
from pathlib import Path
from typing import Any, cast

import yaml
from pydantic import TypeAdapter, ValidationError
from pydantic_core import ErrorDetails

from pacs.errors import PacsError
from pacs.routing.targets.model import (
    AnyTarget,
    DicomTarget,
    FolderTarget,
    PeerTarget,
    SftpTarget,
    StowTarget,
    Target,
    Tls,
)

type Secrets = Callable[[str], str | None]

_NAME = re.compile(r"[A-Za-z0-9][A-Za-z0-9_.-]{0,39}")
_SECRET = re.compile(r"\$\{([A-Za-z0-9_.-]+)\}")
_LONGEST_FILE_CHARACTERS = 1_000_000
_KINDS: dict[str, type[Target]] = {
    "dicom": DicomTarget,
    "stow": StowTarget,
    "peer": PeerTarget,
    "folder": FolderTarget,
    "sftp": SftpTarget,
}
_MADE: TypeAdapter[Target] = TypeAdapter(AnyTarget)


class TargetsError(PacsError):
    """The file of targets can't be used. Carries every fault of it, each with its line and its cure."""

    code = "routing-targets"
    status = HTTPStatus.BAD_REQUEST

    def __init__(self, faults: list[str]) -> None:
        super().__init__(f"{len(faults)} mistake(s) in the targets:\n" + "\n".join(f"  - {fault}" for fault in faults))
        self.faults = faults


def credential(name: str) -> str | None:
    """Return a secret: a variable of this process, or a credential that systemd gives it; None for neither."""
    if name in os.environ:
        return os.environ[name]
    folder = os.environ.get("CREDENTIALS_DIRECTORY")
    if folder is None or "/" in name:
        return None
    try:
        return (Path(folder) / name).read_text(encoding="utf-8").strip()
    except OSError:
        return None


def read_targets(text: str, *, secrets: Secrets = credential) -> dict[str, Target]:
    """Return the targets of a file by their names.

    Raises
    ------
    TargetsError : with every fault.
    """
    return _Reading(secrets).read(text)


class _Reading:
    def __init__(self, secrets: Secrets) -> None:
        self._secrets = secrets
        self._faults: list[tuple[int, str]] = []

    def read(self, text: str) -> dict[str, Target]:
        targets = self._targets(self._parsed(text))
        if self._faults:
            raise TargetsError([f"line {line}: {told}" for line, told in sorted(self._faults)])
        return targets

    def _parsed(self, text: str) -> yaml.Node | None:
        if len(text) > _LONGEST_FILE_CHARACTERS:
            self._fault(1, f"longer than {_LONGEST_FILE_CHARACTERS} characters; no list of targets is.")
            return None
        try:
            return yaml.compose(text, Loader=yaml.SafeLoader)
        except yaml.MarkedYAMLError as error:
            mark = error.problem_mark or error.context_mark
            self._fault(mark.line + 1 if mark else 1, f"no YAML: {error.problem}; look at the indentation and quotes.")
        except (yaml.YAMLError, RecursionError, ValueError) as error:
            self._fault(1, f"no YAML: {error}".replace("\n", " "))
        return None

    def _targets(self, root: yaml.Node | None) -> dict[str, Target]:
        if root is None or _is_nothing(root):
            return {}
        found = self._entries(root, "lines of `key: value`")
        for key, (line, _) in found.items():
            if key != "targets":
                self._fault(line, f'unknown key "{key}"; the file has one: targets.')
        if "targets" not in found or _is_nothing(found["targets"][1]):
            return {}
        named = self._entries(found["targets"][1], "a name and below it what the target is")
        targets = {name: self._target(name, line, node) for name, (line, node) in named.items()}
        return {name: target for name, target in targets.items() if target is not None}

    def _target(self, name: str, line: int, node: yaml.Node) -> Target | None:
        if not _NAME.fullmatch(name):
            self._fault(line, f'"{name}" is no name; take up to 40 letters, digits, ".", "_" and "-".')
        before = len(self._faults)
        lines: dict[tuple[str, ...], int] = {(): line}
        content = self._plain(node, (), lines)
        if not isinstance(content, dict):
            self._fault(line, f'expected below "{name}" lines of `key: value`, beginning with kind.')
            return None
        kind = str(content.get("kind"))
        if kind not in _KINDS:
            self._fault(lines.get(("kind",), line), f'expected kind: {", ".join(_KINDS)}; found "{kind}".')
            return None
        if len(self._faults) > before:
            return None
        return self._made(kind, content, lines)

    def _made(self, kind: str, content: Mapping[str, Any], lines: Mapping[tuple[str, ...], int]) -> Target | None:
        try:
            return _MADE.validate_python(content)
        except ValidationError as error:
            for fault in error.errors():
                # The discriminator stands first in the place.
                place = tuple(str(step) for step in fault["loc"] if step != kind)
                line = next(lines[place[:end]] for end in range(len(place), -1, -1) if place[:end] in lines)
                self._fault(line, _described(fault, place, _KINDS[kind]))
            return None

    # -- YAML ------------------------------------------------------------------------------------------------------

    def _plain(self, node: yaml.Node, place: tuple[str, ...], lines: dict[tuple[str, ...], int]) -> Any:
        """Return what a node says as Python's own values, with the secrets in place; note the lines of its parts."""
        if isinstance(node, yaml.MappingNode):
            content = {}
            for key, (line, value) in self._entries(node, "").items():
                lines[(*place, key)] = line
                content[key] = self._plain(value, (*place, key), lines)
            return content
        if isinstance(node, yaml.SequenceNode):
            self._fault(node.start_mark.line + 1, "a list stands where one value is expected; remove the dash.")
            return None
        return self._value(cast("yaml.ScalarNode", node))

    def _value(self, node: yaml.ScalarNode) -> Any:
        kind = str(node.tag).rpartition(":")[2]
        if kind == "null":
            return None
        if kind in {"bool", "int", "float"} and ":" not in node.value:
            return yaml.safe_load(node.value)
        line = node.start_mark.line + 1
        return _SECRET.sub(lambda match: self._secret(match[1], line), str(node.value))

    def _secret(self, name: str, line: int) -> str:
        secret = self._secrets(name)
        if secret is None:
            self._fault(line, f"there is no secret {name}; on a server add it to orthanc_routing_secrets.")
        return secret or ""

    def _entries(self, node: yaml.Node, expected: str) -> dict[str, tuple[int, yaml.Node]]:
        if not isinstance(node, yaml.MappingNode):
            self._fault(node.start_mark.line + 1, f"expected {expected}.")
            return {}
        entries: dict[str, tuple[int, yaml.Node]] = {}
        for key, value in node.value:
            line = key.start_mark.line + 1
            name = str(key.value) if isinstance(key, yaml.ScalarNode) else "?"
            if name in entries:
                self._fault(line, f'"{name}" stands twice (first in line {entries[name][0]}); remove one.')
            entries.setdefault(name, (line, value))
        return entries

    def _fault(self, line: int, told: str) -> None:
        self._faults.append((line, told))


def _is_nothing(node: yaml.Node) -> bool:
    return str(node.tag) == "tag:yaml.org,2002:null"


def _described(fault: ErrorDetails, place: tuple[str, ...], kind: type[Target]) -> str:
    """Say what was found, what was expected and what to do."""
    where = ".".join(place) or "here"
    if fault["type"] == "extra_forbidden":
        known = sorted((Tls if place[0] == "tls" and len(place) > 1 else kind).model_fields)
        close = difflib.get_close_matches(place[-1], known, n=1, cutoff=0.6)
        cure = f'did you mean "{close[0]}"?' if close else f"known here: {', '.join(known)}."
        return f'unknown key "{place[-1]}"; {cure}'
    if fault["type"] == "missing":
        return f'"{place[-1]}" is missing; {kind.model_fields[place[-1]].description or "write it"}'
    message = fault["msg"].removeprefix("Value error, ")
    # What was found may be a password.
    found = "" if place[-1:] in {("password",), ("token",)} or not place else f'found "{fault["input"]}"; '
    return f"{where}: {found}{message[0].lower()}{message[1:]}."
