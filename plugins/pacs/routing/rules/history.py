"""Every version of the rules that was ever in force: who, when, why, and the whole text, as lines of JSON."""

from __future__ import annotations

import difflib
import json
import os
from collections.abc import Sequence
from dataclasses import asdict, dataclass
from datetime import datetime
from pathlib import Path
from typing import Any

_FILE_NAME = "rules.jsonl"
_CONTEXT_LINES = 3


@dataclass(frozen=True)
class Version:
    """One version.

    Attributes
    ----------
    number : counted from 1.
    actor : "person:NAME", or "file" when somebody changed the file itself.
    restores : the version whose text this is once more, None for a new text.
    """

    number: int
    at: datetime
    actor: str
    reason: str
    text: str
    restores: int | None = None


@dataclass(frozen=True)
class DiffLine:
    """A line of a difference. `sign` is "+", "-", " ", or "@" for what is left out."""

    sign: str
    text: str


class History:
    """The versions of a folder. One thread at a time writes.

    Parameters
    ----------
    folder : made when the first version is written.
    """

    def __init__(self, folder: Path) -> None:
        self._file = folder / _FILE_NAME

    def versions(self) -> list[Version]:
        """Return all versions, oldest first. A last line that was cut short by a crash is left out."""
        try:
            lines = self._file.read_text(encoding="utf-8").splitlines()
        except FileNotFoundError:
            return []
        return [_version(fields) for fields in map(_fields, lines) if fields is not None]

    def append(self, version: Version) -> None:
        """Write a version down; it is on the disk on return. Raises OSError."""
        self._file.parent.mkdir(mode=0o750, parents=True, exist_ok=True)
        line = json.dumps(asdict(version) | {"at": version.at.isoformat()}, ensure_ascii=False)
        with self._file.open("a+b") as file:
            if file.tell():
                file.seek(-1, os.SEEK_END)
                # After a line that a crash cut short.
                line = line if file.read(1) == b"\n" else f"\n{line}"
            file.write(f"{line}\n".encode())
            file.flush()
            os.fsync(file.fileno())


def difference(before: str, after: str) -> list[DiffLine]:
    """Return what differs between two texts, with the lines around it; nothing when they are equal."""
    lines = difflib.unified_diff(before.splitlines(), after.splitlines(), n=_CONTEXT_LINES, lineterm="")
    return [DiffLine(line[0], "" if line[0] == "@" else line[1:]) for line in list(lines)[2:]]


def latest(versions: Sequence[Version]) -> Version | None:
    """Return the newest version, None when there is none."""
    return versions[-1] if versions else None


def _fields(line: str) -> dict[str, Any] | None:
    try:
        fields = json.loads(line)
    except ValueError:
        return None
    return fields if isinstance(fields, dict) else None


def _version(fields: dict[str, Any]) -> Version:
    return Version(**(fields | {"at": datetime.fromisoformat(fields["at"])}))
