"""PostgreSQL's log as pgBackRest keeps it: which pieces are there, and which moments they reach without a hole."""

from __future__ import annotations

import re
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass
from datetime import UTC, datetime
from pathlib import Path
from typing import Any

# 000000010000000000000003-(SHA-1).zst in a folder 0000000100000000: timeline, and 16 MiB of the log by number.
_PIECE = re.compile(r"[0-9A-F]{24}-[0-9a-f]{40}(\.\w+)?")
_PIECE_SHIFT = 24
_PIECES_OF_A_FOLDER_SHIFT = 8


@dataclass(frozen=True)
class Base:
    """A base backup.

    Attributes
    ----------
    at : the first moment that it goes back to.
    first_piece : of the log that it needs.
    stop : its end, a place in the log.
    """

    label: str
    at: datetime
    first_piece: int
    stop: int

    @classmethod
    def of(cls, told: Mapping[str, Any]) -> Base:
        """Read what pgBackRest tells of one."""
        at = datetime.fromtimestamp(told["timestamp"]["stop"] + 1, UTC)
        return cls(told["label"], at, piece_number(told["archive"]["start"]), position(told["lsn"]["stop"]))


class DatabaseLog:
    """The pieces of the log that a repository of pgBackRest holds, and the base backups that they go on from.

    Parameters
    ----------
    repository : pgBackRest's folder.
    info : what `pgbackrest info --output=json` tells of the stanza, one base backup at least.
    """

    def __init__(self, repository: Path, info: Mapping[str, Any]) -> None:
        backups = info["backup"]
        newest = backups[-1]["database"]["id"]
        self._bases = [Base.of(one) for one in backups if one["database"]["id"] == newest]
        names = [one["id"] for one in info.get("archive", ()) if one["database"]["id"] == newest]
        self._folder = repository / "archive" / str(info.get("name", "")) / (names[-1] if names else "")

    @property
    def oldest(self) -> Base:
        """The oldest base backup."""
        return self._bases[0]

    @property
    def newest(self) -> Base:
        """The newest base backup."""
        return self._bases[-1]

    def reaches(self, lsn: str) -> bool:
        """Tell whether there is a base backup before a place in the log, and every piece from it to there."""
        before = [one for one in self._bases if one.stop <= position(lsn)]
        if not before:
            return False
        first, last = before[-1].first_piece, position(lsn) >> _PIECE_SHIFT
        return set(_pieces(self._folder, first)).issuperset(range(first, last + 1))

    def unbroken_since(self, lsn: str) -> datetime | None:
        """Return from when on every moment up to a place in the log can be gone back to; None: not even that place."""
        before, last = [one for one in self._bases if one.stop <= position(lsn)], position(lsn) >> _PIECE_SHIFT
        there = set(_pieces(self._folder, before[0].first_piece)) if before else set()
        since = None
        for base in reversed(before):
            if not there.issuperset(range(base.first_piece, last + 1)):
                break
            since, last = base.at, base.first_piece
        return since

    def gap(self) -> str:
        """Return the name of the first piece that is missing after the newest base backup, "" where none is."""
        first = self.newest.first_piece
        pieces = sorted(set(_pieces(self._folder, first)))
        missing = next((wanted for wanted, found in enumerate(pieces, first) if wanted != found), None)
        return "" if missing is None else f"{missing >> 8:08X}{missing & 0xFF:08X}"


def position(lsn: str) -> int:
    """Return a place in the log as a number of bytes: 0/3000060."""
    high, low = (int(part, 16) for part in lsn.split("/"))
    return high << 32 | low


def piece_number(name: str) -> int:
    """Return the number of a piece by its name, whatever its timeline."""
    return int(name[8:16], 16) << _PIECES_OF_A_FOLDER_SHIFT | int(name[16:24], 16)


def _pieces(folder: Path, first: int) -> Iterator[int]:
    """Yield the numbers of the pieces from one on; no folder before it is looked into."""
    if not folder.is_dir():
        return
    for one in _folders(folder, first):
        yield from (
            number
            for path in one.iterdir()
            if _PIECE.fullmatch(path.name) and (number := piece_number(path.name)) >= first
        )


def _folders(folder: Path, first: int) -> Sequence[Path]:
    oldest = first >> _PIECES_OF_A_FOLDER_SHIFT
    return [one for one in folder.iterdir() if one.is_dir() and int(one.name[8:16], 16) >= oldest]
