"""Restore points as a place has them, and which of them its copy of PostgreSQL's log reaches."""

from __future__ import annotations

import json
from collections.abc import Iterator, Mapping
from dataclasses import dataclass, field
from datetime import UTC, datetime

from pacs.backup import packs
from pacs.backup.errors import BackupError
from pacs.backup.places import Place
from pacs.backup.restic import Repository, Snapshot

_SEGMENT_SHIFT = 24  # PostgreSQL's log in segments of 16 MiB


@dataclass(frozen=True)
class RestorePoint:
    """A moment to go back to.

    Attributes
    ----------
    totals : rows as they were then, where they were counted.
    """

    at: datetime
    lsn: str
    totals: Mapping[str, int] = field(default_factory=dict)

    @property
    def segment(self) -> tuple[int, int]:
        """Number of the log's segment that ends it."""
        high, low = (int(part, 16) for part in self.lsn.split("/"))
        return high, low >> _SEGMENT_SHIFT


@dataclass(frozen=True)
class StoredBatch:
    """A batch as a place has it: its newest snapshot."""

    name: str
    repository: Repository
    snapshot: Snapshot


def months() -> Iterator[str]:
    """Yield this month and those before, back to 2000."""
    now = datetime.now(UTC)
    for number in range(now.year * 12 + now.month - 1, 2000 * 12 - 1, -1):
        yield f"{number // 12}-{number % 12 + 1:02}"


def batches(place: Place, *, all_months: bool = True) -> Iterator[StoredBatch]:
    """Yield what a place has, newest month first; ends with the first year without any."""
    place.require_reachable()
    empty = 0
    for month in months():
        repository = place.repository(f"files-{month}")
        found = repository.snapshots_if_any()
        newest = {one.tags["batch"]: one for one in found if "batch" in one.tags}
        for name in sorted(newest, reverse=True):
            yield StoredBatch(name, repository, newest[name])
        empty = 0 if newest else empty + 1
        if empty >= 12 or (newest and not all_months):  # noqa: PLR2004 - a year without any image
            return


def of(place: Place) -> list[RestorePoint]:
    """Return the restore points of the newest month at a place, oldest first."""
    found = []
    for batch in batches(place, all_months=False):
        for _, text in packs.texts(batch.repository, batch.snapshot.snapshot_id, packs.POINTS):
            one = json.loads(text)
            found.append(RestorePoint(datetime.fromisoformat(one["at"]), one["lsn"], one.get("totals", {})))
    return sorted(found, key=lambda one: one.at)


def newest_within(points: list[RestorePoint], log_end: str, *, counted: bool = True) -> RestorePoint:
    """Return the newest point that a log reaches, one with totals if there is one. Raise BackupError: none.

    Parameters
    ----------
    log_end : name of the last segment of the log, 24 hexadecimal digits.
    """
    end = (int(log_end[8:16], 16), int(log_end[16:24], 16)) if log_end else (-1, -1)
    reached = [one for one in points if one.lsn and one.segment <= end]
    if not reached:
        raise BackupError(
            "No restore point is within the database's log at this place.", remedy="Has `ship` run since?"
        )
    with_totals = [one for one in reached if one.totals] if counted else []
    return (with_totals or reached)[-1]
