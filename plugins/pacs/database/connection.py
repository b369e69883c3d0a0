"""`Database`: sessions on the plugins' own database, and its schema brought up to date."""

from __future__ import annotations

import threading
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from types import TracebackType
from typing import Self

from sqlalchemy import Connection, Engine
from sqlalchemy.orm import Session

from pacs.database import engines, schema
from pacs.database.faults import faults_named
from pacs.errors import DatabaseError


class Database:
    """The plugins' own tables in SQLite or PostgreSQL. Safe to use from any thread.

    Parameters
    ----------
    url : `sqlite:////path/pacs.db` or `postgresql+psycopg://user:password@host/name`.

    Attributes
    ----------
    name : the address without the password, for messages.
    is_sqlite : tells SQLite (one writer at a time) from PostgreSQL.

    Raises
    ------
    DatabaseError : the URL can't be used. Nothing is connected before the first session.
    """

    def __init__(self, url: str) -> None:
        self._url = engines.parse_url(url)
        self.engine: Engine = engines.create(self._url)
        self._writing_engine = self.engine.execution_options(**{engines.WRITES: True})
        self._passing_engine = self._writing_engine.execution_options(**{engines.NOT_DURABLE: True})
        self._writer = _Writer()
        self.name = engines.shown(self._url)
        self.is_sqlite = self._url.get_backend_name() == "sqlite"

    def __repr__(self) -> str:
        return f"Database({self.name!r})"

    def __enter__(self) -> Self:
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        self.close()

    def migrate(self) -> None:
        """Bring the schema up to date. Several processes may call this at once: one does the work.

        Raises
        ------
        DatabaseError : unreachable, or the schema is newer than this program.
        """
        if self.is_sqlite and self._url.database is not None and Path(self._url.database).parent.is_dir():
            # Patients' data: only the owner reads the file (SQLite's own default follows the umask).
            Path(self._url.database).touch(mode=0o600)
        with faults_named(self.name), self._turn(write=True):
            schema.upgrade(self._writing_engine)

    def migrate_back(self, migrations: Path) -> None:
        """Bring the schema back to what an older release knows, whose folder of migrations this is.

        Raises
        ------
        DatabaseError : unreachable, or see `schema.downgrade`.
        """
        with faults_named(self.name), self._turn(write=True):
            schema.downgrade(self._writing_engine, migrations)

    @contextmanager
    def session(self, *, write: bool = False, durable: bool = True) -> Iterator[Session]:
        """Open a session: committed at the end, rolled back when the block raises.

        Parameters
        ----------
        write : take SQLite's write lock at the first statement, be it a SELECT. Whoever reads and then writes needs
            it: without, SQLite refuses the write ("database is locked") when someone else wrote in between. No effect
            on PostgreSQL.
        durable : as of `transaction`.

        Raises
        ------
        DatabaseError : the database is unreachable, too slow, full, or locked for too long.
        """
        engine = self._engine(write=write, durable=durable)
        with faults_named(self.name), self._turn(write=write):
            session = Session(engine, expire_on_commit=False)
            try:
                yield session
                session.commit()
            except BaseException:
                session.rollback()
                raise
            finally:
                session.close()

    @contextmanager
    def transaction(self, *, write: bool = True, durable: bool = True) -> Iterator[Connection]:
        """Open a transaction without the object-relational part: half the processor time for a few statements.

        Committed, rolled back and raising as `session`.

        Parameters
        ----------
        durable : False for what a power cut may undo: on SQLite the commit then does not wait for the disk. It is
            never torn, and durable as soon as a later durable commit is; the end of this process undoes nothing.
            On PostgreSQL every commit is durable: its server may crash while our threads go on.
        """
        engine = self._engine(write=write, durable=durable)
        with faults_named(self.name), self._turn(write=write), engine.begin() as connection:
            yield connection

    def _engine(self, *, write: bool, durable: bool) -> Engine:
        if not write:
            return self.engine
        return self._writing_engine if durable else self._passing_engine

    def close(self) -> None:
        """Close the pooled connections. A session opened later connects anew."""
        self.engine.dispose()

    @contextmanager
    def _turn(self, *, write: bool) -> Iterator[None]:
        """Let this process's writers of SQLite queue here: SQLite itself makes them sleep and try again."""
        if not (write and self.is_sqlite):
            yield
            return
        self._writer.take(self.name)
        try:
            yield
        finally:
            self._writer.give_back()


class _Writer:
    """The turn to write to SQLite among this process's threads."""

    def __init__(self) -> None:
        self._lock = threading.Lock()
        self._owner: int | None = None

    def take(self, name: str) -> None:
        """Wait for the turn. Raise DatabaseError when this thread has it already, or it does not come in time."""
        if self._owner == threading.get_ident():
            raise DatabaseError(
                f"This thread is already writing to {name} and would wait for itself.",
                remedy="Pass the open session on instead of opening a second one for writing.",
            )
        if not self._lock.acquire(timeout=engines.BUSY_TIMEOUT_SECONDS):
            raise DatabaseError(f"Another thread has been writing to {name} for too long.", remedy="Try again.")
        self._owner = threading.get_ident()

    def give_back(self) -> None:
        self._owner = None
        self._lock.release()
