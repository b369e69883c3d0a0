"""`pacs.database` on SQLite: sessions, types, and clear faults."""

from __future__ import annotations

import sqlite3
import stat
import threading
from collections.abc import Iterator
from datetime import UTC, datetime, timedelta, timezone
from pathlib import Path

import pytest
from sqlalchemy import text
from sqlalchemy.dialects import sqlite
from sqlalchemy.exc import IntegrityError

from pacs.database import Database, JsonDocument, UtcDateTime, engines
from pacs.errors import DatabaseError


@pytest.fixture
def database(tmp_path: Path) -> Iterator[Database]:
    """Return a database with one table."""
    with Database(f"sqlite:///{tmp_path / 'pacs.db'}") as made:
        with made.session(write=True) as session:
            session.execute(text("CREATE TABLE notes (id INTEGER PRIMARY KEY, words TEXT NOT NULL)"))
        yield made


def words(database: Database) -> list[str]:
    """Return what the table holds."""
    with database.session() as session:
        return list(session.execute(text("SELECT words FROM notes ORDER BY id")).scalars())


def test_session_commits_at_the_end_of_the_block(database: Database) -> None:
    """What a session wrote is there for the next."""
    with database.session(write=True) as session:
        session.execute(text("INSERT INTO notes (words) VALUES ('kept')"))
    assert words(database) == ["kept"]


def test_session_rolls_back_when_the_block_raises(database: Database) -> None:
    """Of a session that failed nothing remains, and the error is the caller's own."""
    with pytest.raises(KeyError), database.session(write=True) as session:  # noqa: PT012
        session.execute(text("INSERT INTO notes (words) VALUES ('lost')"))
        raise KeyError
    assert words(database) == []


def test_session_rolls_back_table_changes_too_when_the_block_raises(database: Database) -> None:
    """CREATE TABLE is part of the transaction, so a migration is applied as a whole or not at all."""
    with pytest.raises(KeyError), database.session(write=True) as session:  # noqa: PT012
        session.execute(text("CREATE TABLE others (id INTEGER)"))
        raise KeyError
    with database.session() as session:
        assert session.execute(text("SELECT name FROM sqlite_master WHERE name = 'others'")).all() == []


@pytest.mark.parametrize(
    ("pragma", "value"),
    [("journal_mode", "wal"), ("synchronous", 2), ("foreign_keys", 1), ("busy_timeout", 30_000)],
)
def test_connection_is_durable_and_strict(database: Database, pragma: str, value: object) -> None:
    """Every connection runs with WAL, synchronous=FULL, foreign keys and a patient lock."""
    with database.session() as session:
        assert session.execute(text(f"PRAGMA {pragma}")).scalar() == value


def test_only_transactions_that_say_so_need_not_wait_for_the_disk(database: Database) -> None:
    """A pooled connection that was used for a claim is durable again for the next message."""
    for durable, synchronous in ((True, 2), (False, 1), (True, 2)):
        with database.transaction(durable=durable) as connection:
            assert connection.exec_driver_sql("PRAGMA synchronous").scalar() == synchronous
    with database.session(write=True) as session:
        assert session.execute(text("PRAGMA synchronous")).scalar() == 2


def test_writing_session_holds_the_write_lock_from_its_first_look(database: Database, tmp_path: Path) -> None:
    """Another process can't write between what a writing session reads and what it writes."""
    with database.session(write=True) as session:
        session.execute(text("SELECT count(*) FROM notes"))
        other = sqlite3.connect(tmp_path / "pacs.db", timeout=0)
        with pytest.raises(sqlite3.OperationalError, match="locked"):
            other.execute("BEGIN IMMEDIATE")
        other.close()


def test_reading_sessions_run_beside_a_writing_one(database: Database) -> None:
    """Pages can be read while something is being written."""
    with database.session(write=True) as session:
        session.execute(text("INSERT INTO notes (words) VALUES ('not yet')"))
        found: list[list[str]] = []
        reader = threading.Thread(target=lambda: found.append(words(database)))
        reader.start()
        reader.join(10)
    assert found == [[]]


def test_writing_session_is_refused_when_the_thread_has_one_open(database: Database) -> None:
    """Waiting for oneself is told at once, not after half a minute."""
    with (
        database.session(write=True),
        pytest.raises(DatabaseError, match="Pass the open session on"),
        database.session(write=True),
    ):
        pass
    with database.session(write=True) as session:
        session.execute(text("INSERT INTO notes (words) VALUES ('afterwards')"))
    assert words(database) == ["afterwards"]


def test_threads_that_write_take_turns(database: Database) -> None:
    """Many writing threads all get through, and none of their writes is lost."""

    def write() -> None:
        for _ in range(20):
            with database.session(write=True) as session:
                count = session.execute(text("SELECT count(*) FROM notes")).scalar()
                session.execute(text("INSERT INTO notes (words) VALUES (:words)"), {"words": str(count)})

    threads = [threading.Thread(target=write) for _ in range(6)]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()
    assert words(database) == [str(number) for number in range(120)]


def test_broken_constraint_stays_an_integrity_error_without_the_values(database: Database) -> None:
    """A caller can tell a duplicate from a database out of order, and no patient's name is in the message."""
    with pytest.raises(IntegrityError) as caught, database.session(write=True) as session:  # noqa: PT012
        statement = text("INSERT INTO notes (id, words) VALUES (1, :words)")
        session.execute(statement, {"words": "GARCIA^ANA"})
        session.execute(statement, {"words": "GARCIA^ANA"})
    assert "GARCIA" not in str(caught.value)


def test_schema_file_is_readable_by_its_owner_alone(tmp_path: Path) -> None:
    """Patients' data in the file are not for every user of the machine."""
    path = tmp_path / "fresh.db"
    with Database(f"sqlite:///{path}") as database:
        database.migrate()
    assert stat.S_IMODE(path.stat().st_mode) == 0o600


@pytest.mark.parametrize(
    ("url", "words"),
    [
        ("", "is not a URL"),
        ("pacs.db", "is not a URL"),
        ("mysql://user:secret@host/pacs", "'mysql' is not supported"),
        ("postgresql+asyncpg://user:secret@host/pacs", "'postgresql+asyncpg' is not supported"),
        ("sqlite://", "in memory"),
        ("sqlite:///:memory:", "in memory"),
    ],
)
def test_database_refuses_an_address_it_does_not_run_on(url: str, words: str) -> None:
    """A wrong address is told before anything starts, with what was expected, without the password."""
    with pytest.raises(DatabaseError) as caught:
        Database(url)
    assert words in str(caught.value)
    assert "secret" not in str(caught.value)


def test_database_names_a_folder_that_is_not_there(tmp_path: Path) -> None:
    """The message names the file and what to check."""
    database = Database(f"sqlite:///{tmp_path}/missing/pacs.db")
    with pytest.raises(DatabaseError, match=r"missing/pacs.db can't be used.*folder exists"):
        database.migrate()


def test_database_names_a_file_that_is_none_of_its_own(tmp_path: Path) -> None:
    """A damaged file is told as such."""
    (tmp_path / "pacs.db").write_bytes(b"This is a letter, not a database. " * 100)
    with Database(f"sqlite:///{tmp_path / 'pacs.db'}") as database, pytest.raises(DatabaseError, match="backup"):
        database.migrate()


def test_unreachable_server_is_named_without_its_password() -> None:
    """When PostgreSQL does not answer, the message tells where it was looked for, and keeps the secrets."""
    database = Database("postgresql+psycopg://pacs:topsecret@127.0.0.1:1/pacs?password=alsosecret&connect_timeout=2")
    with pytest.raises(DatabaseError) as caught:
        database.migrate()
    assert "postgresql+psycopg://pacs@127.0.0.1:1/pacs can't be used" in str(caught.value)
    assert "Check that the database server runs" in str(caught.value)
    assert "secret" not in str(caught.value)
    assert "secret" not in repr(database)


@pytest.mark.parametrize("zone", [UTC, timezone(timedelta(hours=2)), timezone(timedelta(hours=-3, minutes=-30))])
def test_utc_date_time_returns_the_same_moment_in_utc(zone: timezone) -> None:
    """A moment stored in any zone comes back as the same moment, aware and in UTC."""
    dialect, moment = sqlite.dialect(), datetime(2026, 3, 29, 1, 30, 15, 123456, tzinfo=zone)  # type: ignore[no-untyped-call]
    stored = UtcDateTime().process_bind_param(moment, dialect)
    assert stored is not None
    read = UtcDateTime().process_result_value(stored.replace(tzinfo=None), dialect)
    assert read == moment
    assert read.tzinfo is UTC


def test_utc_date_time_refuses_a_naive_datetime() -> None:
    """A time without zone is a mistake of the program, not a guess of ours."""
    with pytest.raises(ValueError, match="time zone"):
        UtcDateTime().process_bind_param(datetime(2026, 1, 1), sqlite.dialect())  # type: ignore[no-untyped-call] # noqa: DTZ001


def test_json_is_refused_that_postgresql_could_not_store() -> None:
    """Both databases refuse numbers that are no JSON."""
    assert engines.serialize_json({"ñ": [1, None]}) == '{"ñ":[1,null]}'
    with pytest.raises(ValueError, match="JSON compliant"):
        engines.serialize_json({"x": float("nan")})
    assert JsonDocument.none_as_null
