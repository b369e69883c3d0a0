"""Copies of the database at a place: to which moments each can go back, and which one a moment needs.

A copy is pgBackRest's repository as it was when it was sent: its base backups, and the log from the oldest of them on.
So it goes back to any second of a week or two before it; the newest one, with the log that was sent since, to the last
minute. Retention keeps copies; from what is kept follows what can be promised.
"""

from __future__ import annotations

import json
from collections.abc import Iterable, Iterator
from dataclasses import dataclass
from datetime import UTC, date, datetime, timedelta
from pathlib import Path

from pacs.backup import moments, points
from pacs.backup.errors import BackupError
from pacs.backup.moments import Range
from pacs.backup.overview import NOTED
from pacs.backup.places import Place
from pacs.backup.restic import Repository, Snapshot
from pacs.backup.runs import replace

WHOLE, LOG = "whole", "log"
# The tag of what the repository went back to when it was sent.
MOMENTS = "moments"
_A_DAY = timedelta(days=1)
# A server that marks a point every five minutes has log each day: after so many without, it was lost.
_EMPTY_DAYS = 10


@dataclass(frozen=True)
class Copy:
    """A copy of the whole, with the log that was sent after it.

    Attributes
    ----------
    logs : of each day since, oldest first.
    """

    repository: Repository
    snapshot: Snapshot
    logs: tuple[tuple[Repository, Snapshot], ...] = ()

    @property
    def moments(self) -> list[Range]:
        """What it surely goes back to, oldest first."""
        found = _moments(self.snapshot)
        for _, log in self.logs:
            found = moments.extended(found, _moments(log))
        return found

    @property
    def since(self) -> datetime | None:
        """The first moment that it goes back to; None: it does not tell."""
        return self.moments[0][0] if self.moments else None

    def covers(self, moment: datetime) -> bool:
        """Tell whether it goes back to a moment."""
        return any(since <= moment <= until for since, until in self.moments)

    def write(self, folder: Path) -> None:
        """Write pgBackRest's repository into a folder. Raise PlaceError: damaged, or out of reach."""
        self.repository.restore(self.snapshot.snapshot_id, folder)
        for repository, log in self.logs:
            repository.restore(log.snapshot_id, folder)


def at(place: Place) -> Iterator[Copy]:
    """Yield the copies of a place, newest first. Raise PlaceError."""
    is_newest = True
    for month in points.months_at(place, "database"):
        for one in reversed(month.snapshots):
            if one.tags.get("database") == WHOLE:
                yield Copy(month.repository, one, tuple(logs(place, one.at)) if is_newest else ())
                is_newest = False


def choose(place: Place, moment: datetime | None = None) -> Copy:
    """Return the copy that goes back to a moment; None: the newest. Raise BackupError: there is none."""
    chosen, known = None, []
    for one in at(place):
        if moment is None:
            return one
        if one.snapshot.at < moment and chosen:
            break
        known.append(one)
        # The first one after the moment: nothing was let go since.
        chosen = one if one.covers(moment) else chosen
    if chosen is None:
        if not known:
            raise BackupError(f"{place.name} has no backup of the database.")
        raise BackupError(
            f"{place.name} can't bring the database back to {moment}. " + moments.tell(place.name, ranges(known)),
            remedy="Another place may: `points`. Without --to it goes as late as its log does.",
        )
    return chosen


def ranges(copies: Iterable[Copy]) -> list[Range]:
    """Return the moments that some copies go back to, oldest first."""
    return [one for one in moments.merged(pair for copy in copies for pair in copy.moments) if one[0] < one[1]]


def note(state: Path, place: Place) -> None:
    """Write for the pages to which moments a place goes back."""
    found = moments.merged(pair for copy in at(place) for pair in copy.moments)
    replace(state / NOTED.format(place=place.name), json.dumps(moments.encoded(found)))


def log_repository(day: date) -> str:
    """Return the name of the repository with a day's log: few snapshots in each, so that a restore finds it quickly."""
    return f"log-{day:%Y-%m-%d}"


def logs(place: Place, since: datetime) -> Iterator[tuple[Repository, Snapshot]]:
    """Yield the newest log of each day since a moment, oldest first."""
    day, today, empty = since.astimezone(UTC).date(), datetime.now(UTC).date(), 0
    while day <= today and empty < _EMPTY_DAYS:
        repository = place.repository(log_repository(day))
        snapshots = repository.snapshots_if_any() if place.may_have(repository.name) else []
        if snapshots and snapshots[-1].at > since:
            yield repository, snapshots[-1]
        empty = 0 if snapshots else empty + 1
        day += _A_DAY


def _moments(snapshot: Snapshot) -> list[Range]:
    return moments.decoded(snapshot.tags.get(MOMENTS, ""))
