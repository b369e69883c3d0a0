"""Orthanc's configuration: our fragments, and a site's own settings on top.

Orthanc merges fragments by itself, but refuses a key that two files hold; so the merging is done here, for `make run`
(settings.json in the data directory) and for the service on a server (/etc/pacs/orthanc/settings.json) alike.
"""

from __future__ import annotations

import json
import os
import re
from collections.abc import Mapping
from pathlib import Path
from typing import Any

from pacs.errors import PacsError

_VARIABLE = re.compile(r"\$\{(\w+)(?::-([^}]*))?\}")
# Strings are matched first so that a // inside one is left alone.
_COMMENT = re.compile(r'("(?:\\.|[^"\\])*")|//[^\n]*|/\*.*?\*/', re.DOTALL)


class ConfigurationError(PacsError):
    """A file of the configuration can't be read: which, where in it, and why."""

    code = "configuration"


def load(path: Path, environment: Mapping[str, str]) -> dict[str, Any]:
    """Return one file of Orthanc's dialect of JSON: comments dropped, ${VARIABLES} filled in.

    Raise ConfigurationError with the line at fault when it is not JSON.
    """

    def fill(match: re.Match[str]) -> str:
        name, default = match[1], match[2]
        value = environment.get(name, default)
        if value is None:
            raise ConfigurationError(f"{path}: the environment variable {name} is not set.", remedy="Set it.")
        return value or default or ""  # as in a shell, ":-" takes an empty variable for one that is not set

    def blank(match: re.Match[str]) -> str:
        return match[1] or re.sub(r"[^\n]", " ", match[0])

    text = _VARIABLE.sub(fill, _COMMENT.sub(blank, path.read_text(encoding="utf-8")))
    try:
        content = json.loads(text)
    except json.JSONDecodeError as error:
        raise ConfigurationError(
            f"{path}, line {error.lineno}, column {error.colno}: this is not JSON: {error.msg}.", remedy="Correct it."
        ) from None
    if not isinstance(content, dict):
        raise ConfigurationError(
            f"{path}: found {type(content).__name__}, expected an object in braces.", remedy="Correct it."
        )
    return content


def read_environment(path: Path) -> dict[str, str]:
    """Return the variables of a file of NAME=VALUE lines, as systemd reads it."""
    lines = path.read_text(encoding="utf-8").splitlines()
    return dict(line.split("=", 1) for line in lines if line and not line.startswith("#"))


def load_all(fragments: Path, own: Path | None, environment: Mapping[str, str]) -> dict[str, Any]:
    """Return the whole configuration: every fragment in order, then the own file, which wins."""
    merged: dict[str, Any] = {}
    for path in [*sorted(fragments.glob("*.json")), *([own] if own else [])]:
        merged = merge(merged, load(path, environment))
    return merged


def write(merged: dict[str, Any], path: Path) -> None:
    """Write a merged configuration, readable by us alone: it may hold secrets."""
    with os.fdopen(os.open(path, os.O_WRONLY | os.O_CREAT | os.O_TRUNC, 0o600), "w", encoding="utf-8") as file:
        json.dump(merged, file, indent=2, ensure_ascii=False)


def merge(base: dict[str, Any], top: dict[str, Any]) -> dict[str, Any]:
    """Return `base` with `top` laid over it, object by object."""
    merged = dict(base)
    for key, value in top.items():
        below = merged.get(key)
        merged[key] = merge(below, value) if isinstance(below, dict) and isinstance(value, dict) else value
    return merged
