"""Restore points as a place has them, and what it holds month by month."""

from __future__ import annotations

import json
from collections.abc import Callable, Iterable, Iterator, Mapping
from dataclasses import dataclass, field
from datetime import UTC, datetime, timedelta

from pacs.backup import packs
from pacs.backup.errors import BackupError
from pacs.backup.places import Place
from pacs.backup.restic import Repository, Snapshot

# What is kept of a year may be its first month alone, and of the next one its last.
_EMPTY_MONTHS = 24
# The batch of a day may hold the point that was marked a moment before midnight.
_A_DAY = timedelta(days=1)
# The nightly point has its rows counted; three nights may have been missed.
_COUNTED_WITHIN = timedelta(days=3)


@dataclass(frozen=True)
class RestorePoint:
    """A moment to go back to.

    Attributes
    ----------
    totals : rows as they were then, where they were counted.
    timeline : of PostgreSQL's log, another one after each restore; 0: not told.
    """

    at: datetime
    lsn: str
    totals: Mapping[str, int] = field(default_factory=dict)
    timeline: int = 0

    @property
    def target(self) -> dict[str, str]:
        """What PostgreSQL is told to go back to."""
        return {"lsn": self.lsn} | ({"timeline": str(self.timeline)} if self.timeline else {})


@dataclass(frozen=True)
class StoredBatch:
    """A batch as a place has it: its newest snapshot."""

    name: str
    repository: Repository
    snapshot: Snapshot


@dataclass(frozen=True)
class Month:
    """A repository of a month, with all its snapshots, oldest first.

    Attributes
    ----------
    name : 2026-11
    """

    name: str
    repository: Repository
    snapshots: list[Snapshot]

    @property
    def is_over(self) -> bool:
        """True when nothing is added any more; but for a place that was out of reach."""
        return self.name < f"{datetime.now(UTC):%Y-%m}"

    @property
    def is_last(self) -> bool:
        """True for the month before this one."""
        return self.name == f"{datetime.now(UTC).replace(day=1) - _A_DAY:%Y-%m}"


def months() -> Iterator[str]:
    """Yield this month and those before, back to 2000."""
    now = datetime.now(UTC)
    for number in range(now.year * 12 + now.month - 1, 2000 * 12 - 1, -1):
        yield f"{number // 12}-{number % 12 + 1:02}"


def months_at(place: Place, kind: str, *, last: str = "9999-12") -> Iterator[Month]:
    """Yield the repositories of a place that hold something, newest month first.

    Parameters
    ----------
    kind : "files" or "database".
    last : months after this one are not asked for.
    """
    place.require_reachable()
    empty = 0
    for name in months():
        if name > last:
            continue
        repository = place.repository(f"{kind}-{name}")
        snapshots = repository.snapshots_if_any() if place.may_have(repository.name) else []
        if snapshots:
            yield Month(name, repository, snapshots)
        empty = 0 if snapshots else empty + 1
        if empty >= _EMPTY_MONTHS:
            return


def batches(place: Place, *, last_day: str = "9999-12-31") -> Iterator[StoredBatch]:
    """Yield the batches that a place has, newest first, none of a later day than the last."""
    for month in months_at(place, "files", last=last_day[:7]):
        newest = {one.tags["batch"]: one for one in month.snapshots if "batch" in one.tags}
        for name in sorted(newest, reverse=True):
            if name[:10] <= last_day:
                yield StoredBatch(name, month.repository, newest[name])


def of(place: Place, *, until: datetime | None = None, since: datetime | None = None) -> Iterator[RestorePoint]:
    """Yield the restore points at a place, newest first, a day's at a time.

    Parameters
    ----------
    until, since : none after, none before; None: all.
    """
    last, first = until or datetime.now(UTC) + _A_DAY, since or datetime(2000, 1, 1, tzinfo=UTC)
    for batch in batches(place, last_day=f"{last + _A_DAY:%Y-%m-%d}"):
        if batch.name[:10] < f"{first:%Y-%m-%d}":
            return
        texts = packs.texts(batch.repository, batch.snapshot.snapshot_id, packs.POINTS)
        found = [one for one in (_point(text) for _, text in texts) if first <= one.at <= last]
        yield from sorted(found, key=lambda one: one.at, reverse=True)


def newest(points: Iterable[RestorePoint], reaches: Callable[[str], bool], *, counted: bool = True) -> RestorePoint:
    """Return the newest point that a log reaches, one with totals if there is one. Raise BackupError: none.

    Parameters
    ----------
    points : newest first.
    reaches : tells of a place in the log whether it can be gone back to.
    """
    first: RestorePoint | None = None
    for one in points:
        if first and first.at - one.at > _COUNTED_WITHIN:
            break
        if not one.lsn or not reaches(one.lsn):
            continue
        if one.totals or not counted:
            return one
        first = first or one
    if first is None:
        raise BackupError(
            "No restore point is within the database's log at this place.",
            remedy="`points` tells to which moments it can go back. Has `ship` run since?",
        )
    return first


def _point(text: str) -> RestorePoint:
    one = json.loads(text)
    timeline = int(one.get("timeline") or "0", 16)
    return RestorePoint(datetime.fromisoformat(one["at"]), one["lsn"], one.get("totals", {}), timeline)
