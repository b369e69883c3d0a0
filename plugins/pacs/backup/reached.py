"""To which moments pgBackRest's repository here goes back: from a base backup to a restore point, unbroken."""

from __future__ import annotations

import json
from datetime import datetime
from pathlib import Path

from pacs.backup import moments
from pacs.backup.database_log import DatabaseLog
from pacs.backup.moments import Range
from pacs.backup.runs import STATUS, read_status, replace

_NOTES = "reached.json"
# Whose runs mark restore points.
_MARKING = ("files", "nightly")


def reached(state: Path, log: DatabaseLog) -> list[Range]:
    """Return the moments, oldest first, and note them for the next time.

    The last restore point that the log has counts, not the last piece: PostgreSQL goes back to moments before a commit
    alone, and each point has one. The moments after a piece that is missing begin with the next base backup.
    """
    notes = read_status(state / _NOTES)
    known = moments.decoded(str(notes.get("moments", "")))
    base = str(notes.get("base", ""))
    if point := _newest_point(state, log, known[-1][1] if known else None):
        at, lsn = point
        # Only a new base backup can begin something new.
        since = known[-1][0] if base == log.newest.label and known else log.unbroken_since(lsn)
        known, base = moments.merged([*known, (since or at, at)]), log.newest.label
    if not any(since <= log.newest.at <= until for since, until in known):
        known = moments.merged([*known, (log.newest.at, log.newest.at)])
    found = [(max(since, log.oldest.at), until) for since, until in known if until >= log.oldest.at]
    replace(state / _NOTES, json.dumps({"moments": moments.encoded(found), "base": base}))
    return found


def _newest_point(state: Path, log: DatabaseLog, after: datetime | None) -> tuple[datetime, str] | None:
    told = [read_status(state / STATUS / f"{name}.json") for name in _MARKING]
    marked = [(datetime.fromisoformat(one["point"]), str(one["lsn"])) for one in told if one.get("point")]
    found = [one for one in sorted(marked) if one[1] and (after is None or one[0] > after) and log.reaches(one[1])]
    return found[-1] if found else None
