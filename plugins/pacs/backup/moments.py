"""Moments that a database can go back to, as ranges: any second between both ends of each."""

from __future__ import annotations

from collections.abc import Iterable, Sequence
from datetime import UTC, datetime

from pacs.backup.errors import BackupError

_SHOWN = "%Y-%m-%d %H:%M:%S"

type Range = tuple[datetime, datetime]


def merged(ranges: Iterable[Range]) -> list[Range]:
    """Return the same moments in as few ranges as possible, oldest first."""
    found: list[Range] = []
    for since, until in sorted(ranges):
        if found and since <= found[-1][1]:
            found[-1] = (found[-1][0], max(until, found[-1][1]))
        else:
            found.append((since, until))
    return found


def extended(copy: Sequence[Range], log: Iterable[Range]) -> list[Range]:
    """Return to what a copy goes back with the log that was sent after it.

    Parameters
    ----------
    log : to what the repository here went back when the log was sent; its newer base backups are not in the copy.
    """
    if not copy:
        return []
    first, last = copy[0][0], copy[-1][1]
    return merged([*copy, *((max(since, first), until) for since, until in log if since <= last and until >= first)])


def encoded(ranges: Iterable[Range]) -> str:
    """Return ranges as one word, for the tag of a snapshot: no commas, which part tags."""
    return "_".join("-".join(f"{one.astimezone(UTC):%Y%m%dT%H%M%SZ}" for one in pair) for pair in ranges)


def decoded(text: str) -> list[Range]:
    """Return ranges out of one word; none out of ""."""
    pairs = (pair.split("-") for pair in text.split("_") if pair)
    return [(datetime.fromisoformat(since), datetime.fromisoformat(until)) for since, until in pairs]


def tell(name: str, ranges: Iterable[Range]) -> str:
    """Return the moments in words."""
    parts = [f"from {since:{_SHOWN}} to {until:{_SHOWN}}" for since, until in ranges if since < until]
    return f"{name}: any second (UTC) {', '.join(parts)}." if parts else f"{name}: no moment yet."


def read(text: str) -> datetime:
    """Read a moment as a person writes it. Raise BackupError: it is none, or without its time zone."""
    try:
        moment = datetime.fromisoformat(text)
    except ValueError:
        raise BackupError(f"Expected a moment such as 2026-11-22 11:45:00+00:00, found {text!r}.") from None
    if moment.tzinfo is None:
        raise BackupError(f"{text!r} has no time zone.", remedy="Add it: 2026-11-22 11:45:00-03:00.")
    return moment
