"""`FrameStore`: what an acknowledgment waits for. A whole group in one statement and one commit, each message once.

The statements are the driver's own, on a connection that stays: SQLAlchemy's care for transactions and for every value
of every row would take twice as long as all else that is done for a message, the disk included.
"""

from __future__ import annotations

import sqlite3
import time
from collections.abc import Callable, Sequence
from contextlib import suppress
from dataclasses import dataclass
from datetime import datetime
from typing import TYPE_CHECKING, Any

from sqlalchemy import PoolProxiedConnection, bindparam, exc, select, update

from pacs.database import Database
from pacs.database.engines import BUSY_TIMEOUT_SECONDS
from pacs.database.faults import faults_named
from pacs.hl7.models import Hl7Frame, Hl7Message
from pacs.work.queue import Clock, utc_now

if TYPE_CHECKING:
    import psycopg

_LOOK_AGAIN_SECONDS = 0.00005

_COLUMNS = ("received_at", "peer", "remote_address", "outcome", "digest", "error", "error_location", "raw", "ack")
_INSERT_SQLITE = (
    f"INSERT INTO hl7_frames ({', '.join(_COLUMNS)}) VALUES ({', '.join('?' * len(_COLUMNS))})"  # noqa: S608
    " ON CONFLICT (digest) DO NOTHING"
)
# One statement for the group, in its order: ids are given in the order in which the messages came.
_INSERT_POSTGRESQL = (
    f"INSERT INTO hl7_frames ({', '.join(_COLUMNS)}) SELECT {', '.join(_COLUMNS)} FROM unnest("  # noqa: S608
    "%s::timestamptz[], %s::text[], %s::text[], %s::text[], %b::bytea[], %s::text[], %s::text[], %b::bytea[],"
    f" %b::bytea[]) WITH ORDINALITY AS frame({', '.join(_COLUMNS)}, place) ORDER BY place"
    " ON CONFLICT (digest) DO NOTHING"
)
_KNOWN = select(Hl7Frame.id, Hl7Frame.digest, Hl7Frame.ack).where(
    Hl7Frame.digest.in_(bindparam("digests", expanding=True))
)
_COUNT_REPEAT = (
    update(Hl7Message).where(Hl7Message.id.in_(bindparam("ids", expanding=True))).values(repeats=Hl7Message.repeats + 1)
)


@dataclass(frozen=True, slots=True)
class Arrival:
    """A message as it came, and what it is to be answered; the columns of `Hl7Frame`."""

    peer: str
    remote_address: str
    outcome: str
    digest: bytes | None
    error: str | None
    error_location: str | None
    raw: bytes
    ack: bytes


class FrameStore:
    """Writes frames durably. Used by one thread at a time; holds one connection of its own.

    Parameters
    ----------
    database : its schema is migrated.
    """

    def __init__(self, database: Database, *, clock: Clock = utc_now) -> None:
        self._database = database
        self._clock = clock
        self._connection: PoolProxiedConnection | None = None
        driver = database.engine.dialect.loaded_dbapi
        self._faults = (driver.OperationalError, driver.InterfaceError)

    def store(self, arrivals: Sequence[Arrival]) -> list[tuple[bytes, bool]]:
        """Commit `arrivals` durably, in their order, those that came before not again.

        Returns
        -------
        For each the acknowledgment to be sent, which is the first one's for a repeated message, and whether it is
        repeated.

        Raises
        ------
        DatabaseError : the database can't be used; nothing may be acknowledged. What was stored in spite of it is
            known by its digest when it comes again.
        """
        fresh = _without_repeats_among(arrivals)
        first: dict[bytes, bytes] = {}
        if self._insert(fresh) != len(arrivals):
            first = self._first_acknowledgments(arrivals)
        answers = []
        for arrival in arrivals:
            ack = arrival.ack if arrival.digest is None else first.get(arrival.digest, arrival.ack)
            answers.append((ack, ack != arrival.ack))
        return answers

    def close(self) -> None:
        """Give the connection back; a later `store` takes another."""
        if self._connection is not None:
            # Broken or in whatever state: the pool shall not give it to anybody.
            with suppress(Exception):
                self._connection.invalidate()
            self._connection = None

    def _insert(self, arrivals: Sequence[Arrival]) -> int:
        """Return how many rows are new."""
        write = _write_to_sqlite if self._database.is_sqlite else _write_to_postgresql
        with faults_named(self._database.name):
            try:
                return write(self._driver_connection(), self._clock(), arrivals)
            except self._faults as error:
                self.close()
                raise exc.OperationalError("INSERT INTO hl7_frames", None, error, hide_parameters=True) from error
            except BaseException:
                self.close()
                raise

    def _driver_connection(self) -> Any:
        if self._connection is None:
            self._connection = self._database.engine.raw_connection()
            connection: Any = self._connection.driver_connection
            if self._database.is_sqlite:
                # A commit has reached the disk when it returns.
                connection.execute("PRAGMA synchronous = FULL")
                # See _in_turn.
                connection.execute("PRAGMA busy_timeout = 0")
                # The plugin's commits bring the log back into the database, before this many pages; no sender waits.
                connection.execute("PRAGMA wal_autocheckpoint = 10000")
            else:
                connection.autocommit = True
        return self._connection.driver_connection

    def _first_acknowledgments(self, arrivals: Sequence[Arrival]) -> dict[bytes, bytes]:
        """Return the stored acknowledgment of each that was there before, and count it in the journal."""
        ours = {arrival.digest: arrival.ack for arrival in reversed(arrivals) if arrival.digest is not None}
        with self._database.transaction() as connection:
            found = connection.execute(_KNOWN, {"digests": list(ours)}).all()
            before = [row.id for row in found if row.ack != ours[row.digest]]
            if before:
                connection.execute(_COUNT_REPEAT, {"ids": before})
        return {row.digest: row.ack for row in found}


def _without_repeats_among(arrivals: Sequence[Arrival]) -> list[Arrival]:
    seen: set[bytes] = set()
    fresh = []
    for arrival in arrivals:
        if arrival.digest is not None:
            if arrival.digest in seen:
                continue
            seen.add(arrival.digest)
        fresh.append(arrival)
    return fresh


def _values(arrival: Arrival) -> tuple[Any, ...]:
    return (
        arrival.peer,
        arrival.remote_address,
        arrival.outcome,
        arrival.digest,
        arrival.error,
        arrival.error_location,
        arrival.raw,
        arrival.ack,
    )


def _write_to_sqlite(connection: sqlite3.Connection, now: datetime, arrivals: Sequence[Arrival]) -> int:
    # As SQLAlchemy stores a moment there.
    moment = now.replace(tzinfo=None).isoformat(" ", "microseconds")
    rows = [(moment, *_values(arrival)) for arrival in arrivals]
    if len(rows) == 1:
        # A statement alone is a transaction.
        return _in_turn(lambda: connection.execute(_INSERT_SQLITE, rows[0])).rowcount
    _in_turn(lambda: connection.execute("BEGIN IMMEDIATE"))
    count = connection.executemany(_INSERT_SQLITE, rows).rowcount
    connection.execute("COMMIT")
    return count


def _in_turn(begin: Callable[[], sqlite3.Cursor]) -> sqlite3.Cursor:
    """Begin as soon as no other process writes.

    SQLite would sleep 1, 2, 5 and up to 100 ms between two looks, and the plugin's threads, who write one after the
    other, leave gaps of some tenths of a millisecond only.
    """
    give_up_at = time.monotonic() + BUSY_TIMEOUT_SECONDS
    while True:
        try:
            return begin()
        except sqlite3.OperationalError as error:
            if error.sqlite_errorcode != sqlite3.SQLITE_BUSY or time.monotonic() > give_up_at:
                raise
        time.sleep(_LOOK_AGAIN_SECONDS)


def _write_to_postgresql(connection: psycopg.Connection[Any], now: datetime, arrivals: Sequence[Arrival]) -> int:
    # One statement is one transaction: no round trips to begin and to commit it.
    rows = [(now, *_values(arrival)) for arrival in arrivals]
    return connection.execute(_INSERT_POSTGRESQL, [list(column) for column in zip(*rows, strict=True)]).rowcount
