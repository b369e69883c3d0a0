"""How far the change feed has come, in the database, and the right to move it on, which one process has at a time."""

from __future__ import annotations

import contextlib
import os
import socket
import uuid
from collections.abc import Callable
from dataclasses import dataclass
from datetime import UTC, datetime, timedelta

from sqlalchemy import CursorResult, Update, or_, select, update
from sqlalchemy.dialects import postgresql, sqlite
from sqlalchemy.orm import Session

from pacs.database import Database
from pacs.errors import Conflict, DatabaseError
from pacs.studies.models import ChangeCursorRecord

type Clock = Callable[[], datetime]
_MOST_HOLDER = 255


def utc_now() -> datetime:
    """Return the present moment, aware, in UTC."""
    return datetime.now(UTC)


class CursorMoved(Conflict):
    """Another process has read on. Whatever was to be committed together with the cursor is not."""

    code = "cursor-moved"


@dataclass(frozen=True)
class Position:
    """A place in Orthanc's /changes. Members as in `models.ChangeCursorRecord`."""

    sequence: int
    last_resource_id: str
    last_change_at: datetime
    skip_before: datetime | None = None


class Cursor:
    """The row of a feed in `change_cursors`.

    One process at a time holds it, so that several Orthancs on one PostgreSQL don't all do the reading. That is for
    economy: what makes sure that nothing is lost or committed twice is that `advance` moves the row only from where
    the caller found it. On SQLite there is one Orthanc, and it does not wait for its own dead predecessor.
    """

    def __init__(self, database: Database, name: str, *, hold_seconds: float, clock: Clock) -> None:
        self._database = database
        self._name = name
        self._hold = timedelta(seconds=hold_seconds)
        self._clock = clock
        self._holder = f"{socket.gethostname()} {os.getpid()} {uuid.uuid4()}"[:_MOST_HOLDER]
        self._held_until = datetime.min.replace(tzinfo=UTC)

    def load(self) -> Position | None:
        """Return where the feed is, None when it never ran."""
        record = ChangeCursorRecord
        columns = (record.sequence, record.last_resource_id, record.last_change_at, record.skip_before)
        with self._database.session() as session:
            found = session.execute(select(*columns).where(record.name == self._name)).first()
        return Position(*found) if found else None

    def begin(self, position: Position) -> None:
        """Store where the feed begins, unless another process has done so."""
        insert = sqlite.insert if self._database.is_sqlite else postgresql.insert
        statement = insert(ChangeCursorRecord).values(name=self._name, **vars(position))
        with self._database.session(write=True) as session:
            session.execute(statement.on_conflict_do_nothing(index_elements=["name"]))

    def hold(self) -> bool:
        """Become or stay the one who reads; False while another process does."""
        if self._database.is_sqlite:
            return True
        now = self._clock()
        if self._held_until > now + self._hold / 2:
            return True
        record = ChangeCursorRecord
        is_free = or_(record.holder.is_(None), record.holder == self._holder, record.held_until < now)
        with self._database.session(write=True) as session:
            is_held = self._changed(session, self._row().where(is_free).values(**self._holding(now)))
        if is_held:
            self._held_until = now + self._hold
        return is_held

    def advance(self, session: Session, old: Position, new: Position) -> None:
        """Move on within the caller's transaction.

        Raises
        ------
        CursorMoved : the feed is not at `old` any more.
        """
        statement = self._row().where(ChangeCursorRecord.sequence == old.sequence).values(**vars(new))
        if not self._changed(session, statement):
            raise CursorMoved(f"The feed {self._name} is no longer at change {old.sequence}: another process read on.")

    def give_back(self) -> None:
        """Let another process read at once. Without this it waits until the hold runs out."""
        self._held_until = datetime.min.replace(tzinfo=UTC)
        if self._database.is_sqlite:
            return
        statement = self._row().where(ChangeCursorRecord.holder == self._holder).values(holder=None, held_until=None)
        # The database may be the reason for ending.
        with contextlib.suppress(DatabaseError), self._database.session(write=True) as session:
            session.execute(statement)

    def _row(self) -> Update:
        return update(ChangeCursorRecord).where(ChangeCursorRecord.name == self._name)

    def _holding(self, now: datetime) -> dict[str, object]:
        return {"holder": self._holder, "held_until": now + self._hold}

    @staticmethod
    def _changed(session: Session, statement: Update) -> bool:
        result = session.execute(statement)
        return isinstance(result, CursorResult) and result.rowcount == 1
