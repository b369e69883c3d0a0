"""What can be wrong with a file, told with its line and the cure, all faults together."""

from __future__ import annotations

import difflib
from collections.abc import Iterable, Sequence
from dataclasses import dataclass
from http import HTTPStatus
from typing import ClassVar

from pacs.errors import PacsError

_MOST_LISTED = 30


@dataclass(frozen=True)
class Place:
    """A line of a file, counted from 1."""

    file: str
    line: int

    def __str__(self) -> str:
        return f"{self.file}, line {self.line}"


class FileError(PacsError):
    """A file of settings can't be used. Carries every fault of it, each with its line and its cure."""

    subject: ClassVar[str]
    """What the file holds, as the message names it."""
    status = HTTPStatus.BAD_REQUEST

    def __init__(self, faults: Sequence[str]) -> None:
        listed = "\n".join(f"  - {fault}" for fault in faults)
        super().__init__(f"{len(faults)} mistake(s) in the {self.subject}:\n{listed}")
        self.faults = list(faults)


class Faults:
    """Collects what is wrong, so that all of it is told at once."""

    def __init__(self) -> None:
        self._told: list[tuple[Place, str]] = []

    def add(self, place: Place, message: str) -> None:
        """Note a fault: what was found, what was expected, what to do."""
        self._told.append((place, message))

    def raise_if_any(self, error: type[FileError]) -> None:
        """Raise this error with everything that was noted, in the order of the lines."""
        if self._told:
            in_order = sorted(self._told, key=lambda fault: (fault[0].file, fault[0].line))
            raise error([f"{place}: {message}" for place, message in in_order])


def did_you_mean(found: str, known: Iterable[str]) -> str:
    """Return the cure for an unknown word: the known one that looks most like it, or all of them."""
    candidates = sorted(known)
    close = difflib.get_close_matches(found, candidates, n=1, cutoff=0.6)
    if close:
        return f'did you mean "{close[0]}"?'
    return f"known here: {', '.join(candidates)}." if len(candidates) <= _MOST_LISTED else ""
