"""PostgreSQL's backup: pgBackRest keeps base backups and the log in a repository here, restic sends it to every place.

pgBackRest's own repository lies on the encrypted volume, for a restore within a minute. Each place gets copies of it,
encrypted by restic like the files, whatever kind of place it is; `ship` sends the log every quarter of a minute, of
which only what changed since the copy is looked at.
"""

from __future__ import annotations

import json
import os
import shutil
from collections.abc import Mapping, Sequence
from contextlib import suppress
from dataclasses import dataclass
from datetime import UTC, datetime, timedelta
from pathlib import Path
from typing import Any

from pacs.backup import copies, moments, programs
from pacs.backup.copies import Copy
from pacs.backup.database_log import DatabaseLog
from pacs.backup.errors import BackupError
from pacs.backup.moments import Range
from pacs.backup.places import Place
from pacs.backup.settings import BackupSettings, DatabaseSettings

# Being written by PostgreSQL's archiver at this moment.
_UNFINISHED = "*.pgbackrest.tmp"
_LOCK_FILES = "*.lock"
_MARGIN = timedelta(hours=1)  # clocks, and what was being written


@dataclass(frozen=True)
class Shipped:
    """What a place has of the log; the next run goes on from it.

    Attributes
    ----------
    content : what was sent, in short: the same again need not be sent.
    since : the pieces of the log from this moment on.
    """

    repository: str
    snapshot: str
    content: str
    since: str
    added_bytes: int


class DatabaseBackup:
    """What is done with pgBackRest.

    Parameters
    ----------
    repository : pgBackRest's; None: the one that the settings name.
    """

    def __init__(self, settings: BackupSettings, repository: Path | None = None) -> None:
        self._settings: DatabaseSettings = settings.database
        self._repository = repository or settings.database.repository
        self._work = settings.work

    def save(self, *, full: bool) -> dict[str, Any]:
        """Make a base backup, as PostgreSQL's user; a first one is full. Return what pgBackRest tells of it."""
        self._pgbackrest("backup", f"--type={'full' if full else 'incr'}")
        return self.newest()

    def newest(self) -> dict[str, Any]:
        """Return what there is: {base, at, size_bytes, ..., backups, first}. Raise BackupError: nothing."""
        found = self._info()
        backups = found["backup"]
        newest = backups[-1]
        archive = found["archive"][-1] if found.get("archive") else {}
        return {
            "base": newest["label"],
            "at": datetime.fromtimestamp(newest["timestamp"]["stop"], UTC).isoformat(),
            "size_bytes": newest["info"]["size"],
            "repository_bytes": newest["info"]["repository"].get("size", newest["info"]["repository"]["delta"]),
            "log_end": archive.get("max") or "",
            "backups": len(backups),
            "first": datetime.fromtimestamp(backups[0]["timestamp"]["stop"], UTC).isoformat(),
        }

    def log(self) -> DatabaseLog:
        """Return the log as it is here. Raise BackupError: there is no base backup."""
        return DatabaseLog(self._repository, self._info())

    def check(self) -> None:
        """Have pgBackRest read its backups and the log whole, and compare checksums. Raise BackupError: damaged."""
        said = self._pgbackrest("verify", "--output=text")
        if "status: ok" not in said and "error" in said.lower():
            raise BackupError(f"pgBackRest's repository is damaged: {said[-400:]}")

    def send(self, place: Place, reached: Sequence[Range] = ()) -> int:
        """Send a place the whole repository as it is and return the bytes that were added. Raise PlaceError.

        Parameters
        ----------
        reached : to which moments it goes back.
        """
        place.require_reachable()
        repository = place.repository(f"database-{datetime.now(UTC):%Y-%m}")
        former = [one for one in repository.snapshots_if_any() if one.tags.get("database") == copies.WHOLE]
        saved = repository.save(
            self._repository,
            {"database": copies.WHOLE, copies.MOMENTS: moments.encoded(reached)},
            parent=former[-1].snapshot_id if former else None,
            compressed=True,
            leave_out=(_UNFINISHED, _LOCK_FILES),
        )
        return saved.added_bytes

    def ship(self, place: Place, since: datetime, former: Mapping[str, Any], reached: Sequence[Range] = ()) -> Shipped:
        """Send a place the day's log since a moment, by links to what changed; quick, for every quarter of a minute.

        Parameters
        ----------
        former : status of the run before at this place: what it shipped, and its last success.
        reached : to which moments the repository here goes back.
        """
        place.require_reachable()
        today = datetime.now(UTC).replace(hour=0, minute=0, second=0, microsecond=0)
        name, folder = copies.log_repository(today.date()), self._work / "log"
        goes_on = former.get("repository") == name
        # A new day's log begins where the last one that got there ended, and then stays so: the newest has all of it.
        begin = _read(former.get("since")) if goes_on else min(today, _read(former.get("last_success")) or since)
        begin = max(since, begin or since)
        shutil.rmtree(folder, ignore_errors=True)
        content = f"{self._link_log(folder, begin - _MARGIN)} {moments.encoded(reached)}"
        known = str(former.get("snapshot") or "") if goes_on else ""
        if known and content == former.get("content"):
            return Shipped(name, known, content, begin.isoformat(), 0)
        tags = {"database": copies.LOG, copies.MOMENTS: moments.encoded(reached)}
        saved = place.repository(name).save(folder, tags, parent=known or None, compressed=True)
        return Shipped(name, saved.snapshot_id, content, begin.isoformat(), saved.added_bytes)

    def _link_log(self, folder: Path, since: datetime) -> str:
        """Link the pieces that came since a moment; return how many there are, and the newest."""
        source, linked = self._repository / "archive", []
        for root, _, names in os.walk(source):
            path = Path(root)
            changed = _is_younger(path, since)
            for name in names:
                if name.endswith((".tmp", ".lock")) or not (changed or name.startswith("archive.info")):
                    continue
                if not name.startswith("archive.info"):
                    if not _is_younger(path / name, since):
                        continue
                    linked.append(name)
                target = folder / "archive" / path.relative_to(source) / name
                target.parent.mkdir(parents=True, exist_ok=True)
                _link_or_copy(path / name, target)
        return f"{len(linked)} {max(linked, default='')}"

    def _info(self) -> dict[str, Any]:
        found = json.loads(self._pgbackrest("info", "--output=json", f"--repo1-path={self._repository}"))
        if not found or not found[0].get("backup"):
            raise BackupError("There is no base backup of PostgreSQL yet.", remedy="Run `database full`.")
        return dict(found[0])

    def _pgbackrest(self, command: str, *options: str) -> str:
        return programs.run(pgbackrest(self._settings, command, *options))


def _read(moment: object) -> datetime | None:
    return datetime.fromisoformat(moment) if isinstance(moment, str) and moment else None


def _is_younger(path: Path, moment: datetime) -> bool:
    with suppress(FileNotFoundError):  # expired at this moment
        return path.stat().st_mtime >= moment.timestamp()
    return False


def _link_or_copy(source: Path, target: Path) -> None:
    try:
        os.link(source, target)
    except FileNotFoundError:
        return  # expired, or renamed by the archiver at this moment
    except OSError:
        # No rights with it: units that own every file must have no chmod.
        shutil.copyfile(source, target)
        facts = source.stat()
        os.utime(target, ns=(facts.st_atime_ns, facts.st_mtime_ns))


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


def fetch(place: Place, folder: Path, moment: datetime | None = None) -> Copy:
    """Write pgBackRest's repository as a place has it into a folder, and return which copy it is.

    Parameters
    ----------
    moment : that it must go back to; None: the newest copy, and the log since.

    Raises
    ------
    PlaceError, BackupError : not reachable, damaged; nothing there, or nothing of that moment.
    """
    copy = copies.choose(place, moment)
    copy.write(folder)
    return copy


def recovery_options(target: Mapping[str, str]) -> list[str]:
    """Return pgBackRest's options for a point in time: {"lsn": "0/3000060"}, {"time": "2026-11-22 11:45:00+00"}, {}.

    `timeline` beside them: of the log on which the point was marked; the newest otherwise.
    """
    if not target:
        return ["--type=default"]
    kind, value = next(iter(target.items()))
    timeline = [f"--target-timeline={target['timeline']}"] if "timeline" in target else []
    return [f"--type={kind}", f"--target={value}", "--target-action=promote", *timeline]
