"""The catalog: which file is in which batch, how far the index was read, what each place has, what is broken.

SQLite in the state folder. It can be lost: `files` then packs all anew, and restores read the lists at the places.
"""

from __future__ import annotations

import json
import sqlite3
from collections.abc import Iterable, Iterator
from contextlib import contextmanager
from dataclasses import asdict, dataclass
from datetime import UTC, datetime
from pathlib import Path
from types import TracebackType
from typing import Self
from uuid import UUID

from pacs.backup.orthanc_index import Cursor

_SCHEMA = """
CREATE TABLE IF NOT EXISTS files (uuid BLOB PRIMARY KEY, pack TEXT NOT NULL, gone_at TEXT) WITHOUT ROWID;
CREATE INDEX IF NOT EXISTS ix_files_pack ON files (pack);
CREATE TABLE IF NOT EXISTS batches (
    batch TEXT PRIMARY KEY, closed INTEGER NOT NULL DEFAULT 0, pack_bytes INTEGER NOT NULL DEFAULT 0);
CREATE TABLE IF NOT EXISTS sent (
    place TEXT, batch TEXT, packs INTEGER NOT NULL, closed INTEGER NOT NULL, snapshot TEXT NOT NULL,
    PRIMARY KEY (place, batch));
CREATE TABLE IF NOT EXISTS notes (name TEXT PRIMARY KEY, value TEXT NOT NULL);
CREATE TABLE IF NOT EXISTS broken (
    uuid TEXT PRIMARY KEY, fault TEXT NOT NULL, found_at TEXT NOT NULL, study TEXT NOT NULL DEFAULT '',
    repaired_at TEXT);
"""


@dataclass(frozen=True)
class Batch:
    """Packs that are sent together and become one snapshot at each place: those of a day, or a part of them.

    Attributes
    ----------
    name : 2026-11-22.01
    closed : no pack is added any more.
    """

    name: str
    closed: bool
    pack_bytes: int


@dataclass(frozen=True)
class Broken:
    """A file of the live archive that is not what it was.

    Attributes
    ----------
    fault : "missing", "size", "hash" or "unreadable".
    study : StudyInstanceUID.
    """

    uuid: str
    fault: str
    found_at: datetime
    study: str
    repaired_at: datetime | None


class Catalog:
    """The catalog in a file. Two may write, `files` or `nightly` and `prune`, each what the other leaves alone."""

    def __init__(self, path: Path) -> None:
        path.parent.mkdir(parents=True, exist_ok=True)
        self._database = sqlite3.connect(path, autocommit=True, timeout=30)
        self._database.execute("PRAGMA journal_mode = WAL")
        self._database.execute("PRAGMA synchronous = FULL")
        self._database.executescript(_SCHEMA)

    def __enter__(self) -> Self:
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, traceback: TracebackType | None
    ) -> None:
        self._database.close()

    @contextmanager
    def transaction(self) -> Iterator[None]:
        """Commit what the block writes, all of it or nothing."""
        self._database.execute("BEGIN IMMEDIATE")
        try:
            yield
        except BaseException:
            self._database.execute("ROLLBACK")
            raise
        self._database.execute("COMMIT")

    # -- files ------------------------------------------------------------------------------------------------------
    def add_files(self, uuids: Iterable[str], pack: str) -> None:
        """Note files as packed; `pack` is batch/name."""
        rows = ((_key(uuid), pack) for uuid in uuids)
        self._database.executemany("INSERT OR IGNORE INTO files (uuid, pack) VALUES (?, ?)", rows)

    def has(self, uuid: str) -> bool:
        """Tell whether a file was packed."""
        return self.pack_of(uuid) is not None

    def pack_of(self, uuid: str) -> tuple[str, str] | None:
        """Return batch and pack that a file is in."""
        row = self._database.execute("SELECT pack FROM files WHERE uuid = ?", (_key(uuid),)).fetchone()
        return tuple(row[0].split("/")) if row else None

    def files_of(self, batch: str) -> list[str]:
        """Return the files of a batch."""
        rows = self._database.execute("SELECT uuid FROM files WHERE pack >= ? AND pack < ?", (f"{batch}/", f"{batch}0"))
        return [str(UUID(bytes=row[0])) for row in rows]

    def note_gone(self, named: set[bytes], now: datetime) -> int:
        """Note which files the index no longer names (`named`: keys of those that it does); return how many are new.

        Those that it names again, after a restore, count as never gone.
        """
        back = [
            row for row in self._database.execute("SELECT uuid FROM files WHERE gone_at IS NOT NULL") if row[0] in named
        ]
        self._database.executemany("UPDATE files SET gone_at = NULL WHERE uuid = ?", back)
        rows = self._database.execute("SELECT uuid FROM files WHERE gone_at IS NULL")
        gone = [row[0] for row in rows if row[0] not in named]
        self._database.executemany(
            "UPDATE files SET gone_at = ? WHERE uuid = ?", ((now.isoformat(), key) for key in gone)
        )
        return len(gone)

    def gone_before(self, moment: datetime) -> dict[str, list[str]]:
        """Return files that the index has not named since a moment, by batch."""
        found: dict[str, list[str]] = {}
        query = "SELECT uuid, pack FROM files WHERE gone_at < ?"
        for key, pack in self._database.execute(query, (moment.isoformat(),)):
            found.setdefault(pack.partition("/")[0], []).append(str(UUID(bytes=key)))
        return found

    def forget_files(self, uuids: Iterable[str]) -> None:
        """Forget files that no place has any more."""
        self._database.executemany("DELETE FROM files WHERE uuid = ?", ((_key(uuid),) for uuid in uuids))

    # -- batches ----------------------------------------------------------------------------------------------------
    def batches(self) -> list[Batch]:
        """Return all batches, oldest first."""
        rows = self._database.execute("SELECT batch, closed, pack_bytes FROM batches ORDER BY batch")
        return [Batch(name, bool(closed), size) for name, closed, size in rows]

    def grow_batch(self, name: str, pack_bytes: int) -> None:
        """Note a batch, or that it has grown."""
        self._database.execute(
            "INSERT INTO batches (batch, pack_bytes) VALUES (?, ?) "
            "ON CONFLICT (batch) DO UPDATE SET pack_bytes = pack_bytes + excluded.pack_bytes",
            (name, pack_bytes),
        )

    def close_batch(self, name: str) -> None:
        """Note that nothing is added any more."""
        self._database.execute("UPDATE batches SET closed = 1 WHERE batch = ?", (name,))

    def sent(self, place: str) -> dict[str, tuple[int, bool, str]]:
        """Return what a place has: by batch how many packs, whether all that ever will be, and the snapshot."""
        rows = self._database.execute("SELECT batch, packs, closed, snapshot FROM sent WHERE place = ?", (place,))
        return {batch: (packs, bool(closed), snapshot) for batch, packs, closed, snapshot in rows}

    def note_sent(self, place: str, batch: str, packs: int, *, closed: bool, snapshot: str) -> None:
        """Note what a place has now."""
        row = (place, batch, packs, closed, snapshot)
        self._database.execute(
            "INSERT OR REPLACE INTO sent (place, batch, packs, closed, snapshot) VALUES (?, ?, ?, ?, ?)", row
        )

    def forget_sent(self, place: str) -> None:
        """Forget what a place had: it has nothing any more."""
        self._database.execute("DELETE FROM sent WHERE place = ?", (place,))

    # -- notes ------------------------------------------------------------------------------------------------------
    def note(self, name: str, value: object) -> None:
        """Keep a value under a name."""
        self._database.execute("INSERT OR REPLACE INTO notes (name, value) VALUES (?, ?)", (name, json.dumps(value)))

    def noted(self, name: str) -> object:
        """Return the value under a name, None where there is none."""
        row = self._database.execute("SELECT value FROM notes WHERE name = ?", (name,)).fetchone()
        return json.loads(row[0]) if row else None

    @property
    def cursor(self) -> Cursor:
        """How far the index was read."""
        found = self.noted("cursor")
        return Cursor(**found) if isinstance(found, dict) else Cursor()

    @cursor.setter
    def cursor(self, cursor: Cursor) -> None:
        self.note("cursor", asdict(cursor))

    # -- what is broken ---------------------------------------------------------------------------------------------
    def note_broken(self, uuid: str, fault: str, study: str) -> bool:
        """Note a broken file; tell whether it was not known."""
        row = (uuid, fault, datetime.now(UTC).isoformat(), study)
        self._database.execute("DELETE FROM broken WHERE uuid = ? AND repaired_at IS NOT NULL", (uuid,))
        done = self._database.execute(
            "INSERT OR IGNORE INTO broken (uuid, fault, found_at, study) VALUES (?, ?, ?, ?)", row
        )
        return done.rowcount > 0

    def note_repaired(self, uuid: str) -> None:
        """Note that a broken file is whole again."""
        self._database.execute(
            "UPDATE broken SET repaired_at = ? WHERE uuid = ?", (datetime.now(UTC).isoformat(), uuid)
        )

    def forget_broken(self, uuid: str) -> None:
        """Forget a broken file that the archive no longer has."""
        self._database.execute("DELETE FROM broken WHERE uuid = ?", (uuid,))

    def broken(self, *, repaired: bool = False) -> list[Broken]:
        """Return the files that are broken now, or those that were and are repaired."""
        condition = "IS NOT NULL" if repaired else "IS NULL"
        columns = "uuid, fault, found_at, study, repaired_at"
        query = f"SELECT {columns} FROM broken WHERE repaired_at {condition} ORDER BY found_at"  # noqa: S608
        rows = self._database.execute(query)
        return [
            Broken(
                uuid, fault, datetime.fromisoformat(found), study, datetime.fromisoformat(mended) if mended else None
            )
            for uuid, fault, found, study, mended in rows
        ]


def _key(uuid: str) -> bytes:
    return UUID(uuid).bytes
