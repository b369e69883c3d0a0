"""PostgreSQL's backup: pgBackRest keeps base backups and the log in a repository here, restic sends it to every place.

pgBackRest's own repository lies on the encrypted volume, for a restore within a minute. Each place gets a copy of it,
encrypted by restic like the files, whatever kind of place it is; `ship` sends the log every half minute, of which only
what changed since the night is looked at.
"""

from __future__ import annotations

import json
import os
import shutil
from collections.abc import Mapping
from datetime import UTC, datetime, timedelta
from pathlib import Path
from typing import Any

from pacs.backup import points, programs
from pacs.backup.errors import BackupError
from pacs.backup.places import Place
from pacs.backup.restic import Repository, Snapshot
from pacs.backup.settings import BackupSettings, DatabaseSettings

# Being written by PostgreSQL's archiving at this moment.
_UNFINISHED = "*.pgbackrest.tmp"
_LOCK_FILES = "*.lock"
_MARGIN = timedelta(hours=1)  # a copy of the whole may take so long


class DatabaseBackup:
    """What is done with pgBackRest.

    Parameters
    ----------
    settings : of the database.
    work : folder of ours on the file system of pgBackRest's repository.
    """

    def __init__(self, settings: BackupSettings) -> None:
        self._settings: DatabaseSettings = settings.database
        self._work = settings.work

    def save(self, *, full: bool) -> dict[str, Any]:
        """Make a base backup, as PostgreSQL's user; a first one is full. Return what pgBackRest tells of it."""
        self._pgbackrest("backup", f"--type={'full' if full else 'incr'}")
        return self.newest()

    def newest(self) -> dict[str, Any]:
        """Return what there is: {at, size_bytes, repository_bytes, log_end, backups}. Raise BackupError: nothing."""
        found = json.loads(self._pgbackrest("info", "--output=json"))
        backups = found[0].get("backup", []) if found else []
        if not backups:
            raise BackupError("There is no base backup of PostgreSQL yet.", remedy="Run `database full`.")
        newest = backups[-1]
        archive = found[0]["archive"][-1] if found[0].get("archive") else {}
        return {
            "at": datetime.fromtimestamp(newest["timestamp"]["stop"], UTC).isoformat(),
            "size_bytes": newest["info"]["size"],
            "repository_bytes": newest["info"]["repository"].get("size", newest["info"]["repository"]["delta"]),
            "log_end": archive.get("max") or "",
            "backups": len(backups),
            "first": datetime.fromtimestamp(backups[0]["timestamp"]["stop"], UTC).isoformat(),
        }

    def check(self) -> None:
        """Have pgBackRest read its backups and the log whole, and compare checksums. Raise BackupError: damaged."""
        said = self._pgbackrest("verify", "--output=text")
        if "status: ok" not in said and "error" in said.lower():
            raise BackupError(f"pgBackRest's repository is damaged: {said[-400:]}")

    def send(self, place: Place) -> int:
        """Send a place the whole repository as it is and return the bytes that were added. Raise PlaceError."""
        return self._send(place, self._settings.repository, "whole")

    def ship(self, place: Place, since: datetime) -> int:
        """Send a place the log since a moment, by links to its folders that changed; quick, for every half minute."""
        place.require_reachable()
        folder = self._work / "log"
        shutil.rmtree(folder, ignore_errors=True)
        self._link_log(folder, since - _MARGIN)
        return self._send(place, folder, "log")

    def _send(self, place: Place, folder: Path, what: str) -> int:
        place.require_reachable()
        repository = place.repository(f"database-{datetime.now(UTC):%Y-%m}")
        former = [one for one in repository.snapshots_if_any() if one.tags.get("database") == what]
        leave_out = (_UNFINISHED, _LOCK_FILES)
        saved = repository.save(
            folder,
            {"database": what},
            parent=former[-1].snapshot_id if former else None,
            compressed=True,
            leave_out=leave_out,
        )
        return saved.added_bytes

    def _link_log(self, folder: Path, since: datetime) -> None:
        source = self._settings.repository / "archive"
        for root, _, names in os.walk(source):
            path = Path(root)
            changed = path.stat().st_mtime >= since.timestamp()
            for name in names:
                if name.endswith((".tmp", ".lock")) or not (changed or name.startswith("archive.info")):
                    continue
                target = folder / "archive" / path.relative_to(source) / name
                target.parent.mkdir(parents=True, exist_ok=True)
                _link_or_copy(path / name, target)

    def _pgbackrest(self, command: str, *options: str) -> str:
        return programs.run(pgbackrest(self._settings, command, *options))


def _link_or_copy(source: Path, target: Path) -> None:
    try:
        os.link(source, target)
    except FileNotFoundError:
        return  # expired, or renamed by the archiving at this moment
    except OSError:
        shutil.copy2(source, target)


def pgbackrest(settings: DatabaseSettings, command: str, *options: str | Path) -> list[str | Path]:
    """Return a command line of pgBackRest."""
    return [
        "pgbackrest",
        f"--config={settings.configuration}",
        f"--stanza={settings.stanza}",
        "--log-level-file=off",
        command,
        *options,
    ]


def fetch(place: Place, folder: Path) -> None:
    """Write pgBackRest's repository as a place has it into a folder: the newest whole copy, and the log since.

    Raises
    ------
    PlaceError, BackupError : not reachable, damaged; nothing there.
    """
    place.require_reachable()
    logs: list[tuple[Repository, Snapshot]] = []
    for month in points.months():
        repository = place.repository(f"database-{month}")
        snapshots = repository.snapshots_if_any()
        whole = [one for one in snapshots if one.tags.get("database") == "whole"]
        # Of a month that has just begun there may be nothing but the log.
        logs += [(repository, one) for one in reversed(snapshots) if one.tags.get("database") == "log"][:1]
        if whole:
            break
    else:
        raise BackupError(f"{place.name} has no backup of the database.")
    repository.restore(whole[-1].snapshot_id, folder)
    for holder, log in reversed(logs):
        if log.at > whole[-1].at:
            holder.restore(log.snapshot_id, folder)


def recovery_options(target: Mapping[str, str]) -> list[str]:
    """Return pgBackRest's options for a point in time: {"lsn": "0/3000060"}, {"time": "2026-11-22 11:45:00+00"}, {}."""
    if not target:
        return ["--type=default"]
    kind, value = next(iter(target.items()))
    return [f"--type={kind}", f"--target={value}", "--target-action=promote"]
