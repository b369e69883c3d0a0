"""Engines: how a connection to SQLite or PostgreSQL is set up so that a commit is durable on both."""

from __future__ import annotations

import json
import sqlite3
import time
from typing import Any

from sqlalchemy import URL, Connection, Engine, create_engine, event, make_url
from sqlalchemy.exc import ArgumentError

from pacs.errors import DatabaseError

# Execution option of a connection whose transactions write: SQLite then takes the write lock at BEGIN.
WRITES = "pacs_writes"
# Execution option of a connection whose commits need not have reached the disk when they return (SQLite).
NOT_DURABLE = "pacs_not_durable"
APPLICATION_NAME = "pacs"
BUSY_TIMEOUT_SECONDS = 30.0
_WAL_TIMEOUT_SECONDS = 10.0
_POOL_SIZE = 10
_POOL_OVERFLOW = 20
_POSTGRESQL_SETTINGS = {
    "timezone": "UTC",
    "statement_timeout": "60s",
    "lock_timeout": "30s",
    # A worker that hangs between two statements must not hold its row locks for ever.
    "idle_in_transaction_session_timeout": "5min",
}


def parse_url(url: str) -> URL:
    """Read `url` and refuse what this project does not run on.

    Raises
    ------
    DatabaseError : not a URL, a database other than SQLite and PostgreSQL, or SQLite in memory.
    """
    try:
        parsed = make_url(url)
    except ArgumentError as error:
        # The text itself is left out: it may hold a password.
        raise DatabaseError("The address of the database is not a URL.", remedy=_URL_REMEDY) from error
    if parsed.drivername in {"postgresql", "postgres"}:
        parsed = parsed.set(drivername="postgresql+psycopg")
    if parsed.drivername not in {"sqlite", "sqlite+pysqlite", "postgresql+psycopg"}:
        raise DatabaseError(f"The database kind {parsed.drivername!r} is not supported.", remedy=_URL_REMEDY)
    if parsed.get_backend_name() == "sqlite" and parsed.database in {None, "", ":memory:"}:
        raise DatabaseError("A SQLite database in memory can't be shared by threads.", remedy="Give it a file.")
    return parsed


_URL_REMEDY = "Expected sqlite:////path/pacs.db or postgresql+psycopg://user:password@host/name."


def shown(url: URL) -> str:
    """Return `url` without password and options, for messages and logs."""
    return URL.create(url.drivername, url.username, None, url.host, url.port, url.database).render_as_string()


def create(url: URL) -> Engine:
    """Make the engine for `url`; nothing is connected yet.

    Values bound to statements never appear in errors or logs: they may be a patient's.
    """
    is_sqlite = url.get_backend_name() == "sqlite"
    engine = create_engine(
        url,
        hide_parameters=True,
        pool_size=_POOL_SIZE,
        max_overflow=_POOL_OVERFLOW,
        pool_pre_ping=not is_sqlite,
        pool_recycle=-1 if is_sqlite else 1800,
        connect_args={"timeout": BUSY_TIMEOUT_SECONDS} if is_sqlite else _postgresql_arguments(url),
        json_serializer=serialize_json,
    )
    if is_sqlite:
        event.listen(engine, "connect", _prepare_sqlite)
        event.listen(engine, "begin", _begin_sqlite)
    return engine


def serialize_json(document: object) -> str:
    """Write `document` as JSON that PostgreSQL accepts as well: no NaN, no lone surrogates (refused when encoded)."""
    return json.dumps(document, ensure_ascii=False, allow_nan=False, separators=(",", ":"))


def _postgresql_arguments(url: URL) -> dict[str, Any]:
    arguments: dict[str, Any] = {
        "connect_timeout": 10,
        "application_name": APPLICATION_NAME,
        "keepalives_idle": 60,
        "options": " ".join(f"-c {name}={value}" for name, value in _POSTGRESQL_SETTINGS.items()),
    }
    return {name: value for name, value in arguments.items() if name not in url.query}


def _prepare_sqlite(connection: sqlite3.Connection, _record: object) -> None:
    # None: sqlite3 begins no transaction by itself; _begin_sqlite does, so that DDL is transactional too.
    connection.isolation_level = None
    _switch_to_wal(connection)
    connection.execute("PRAGMA foreign_keys = ON")


def _switch_to_wal(connection: sqlite3.Connection) -> None:
    """Turn on write-ahead logging; SQLite does not wait for its lock here when several processes start at once."""
    give_up_at = time.monotonic() + _WAL_TIMEOUT_SECONDS
    while connection.execute("PRAGMA journal_mode").fetchone() != ("wal",):
        try:
            connection.execute("PRAGMA journal_mode = WAL")
        except sqlite3.OperationalError:
            if time.monotonic() > give_up_at:
                raise
            time.sleep(0.05)


def _begin_sqlite(connection: Connection) -> None:
    options = connection.get_execution_options()
    # FULL: a commit has reached the disk when it returns, so an acknowledged message survives a power cut.
    synchronous = "NORMAL" if options.get(NOT_DURABLE, False) else "FULL"
    if connection.info.get("synchronous") != synchronous:
        # Not possible any more once the transaction has begun.
        connection.exec_driver_sql(f"PRAGMA synchronous = {synchronous}")
        connection.info["synchronous"] = synchronous
    connection.exec_driver_sql("BEGIN IMMEDIATE" if options.get(WRITES, False) else "BEGIN")
