"""`Sorter`: gives every frame its entry in the journal, and every accepted one its place in the queue."""

from __future__ import annotations

import logging
import threading
import time
from dataclasses import dataclass
from typing import Any, cast

from sqlalchemy import Connection, RowMapping, Table, bindparam, func, insert, literal_column, select, text, update
from sqlalchemy.orm import Session

from pacs.database import Database
from pacs.hl7.brief import HEAD_BYTES, Brief
from pacs.hl7.inbox import Inbox
from pacs.hl7.journal import columns_of
from pacs.hl7.models import Hl7Frame, Hl7Message, Hl7Turn
from pacs.hl7.pace import Pace
from pacs.hl7.peers import Peers
from pacs.hl7.settings import PeerSettings
from pacs.hl7.states import Direction, MessageState
from pacs.hl7.turns import Candidate, assign_keys, take_turns
from pacs.work import NewItem

_log = logging.getLogger(__name__)

_AT_ONCE = 200
_HELD_BACK_AT_ONCE = 5_000
_POLL_SECONDS = 0.5
# Other processes on the same PostgreSQL commit frames with lower ids than ours a moment later than ours.
_LOOK_BACK = 2_000
# After a start, those that this or another process left behind when it died.
_LOOK_BACK_AT_START = 200_000
# Any fixed number: one process sorts at a time, so that one order holds for all.
_ADVISORY_LOCK = 7_222_446_002

_NEWEST = select(func.max(Hl7Message.id))
_IS_UNSORTED = (Hl7Frame.id > bindparam("after"), Hl7Message.id.is_(None))
_ANY_UNSORTED = (
    select(Hl7Frame.id)
    .outerjoin(Hl7Message, Hl7Message.id == Hl7Frame.id)
    .where(*_IS_UNSORTED)
    .limit(literal_column("1"))
)
_UNSORTED = (
    select(
        Hl7Frame.id,
        Hl7Frame.received_at,
        Hl7Frame.peer,
        Hl7Frame.outcome,
        Hl7Frame.error,
        Hl7Frame.error_location,
        func.substr(Hl7Frame.raw, 1, HEAD_BYTES).label("head"),
    )
    .outerjoin(Hl7Message, Hl7Message.id == Hl7Frame.id)
    .where(*_IS_UNSORTED)
    .order_by(Hl7Frame.id)
    .limit(literal_column(str(_AT_ONCE)))
)
_HELD_BACK = (
    select(Hl7Message.id)
    .where(text("direction = 'in' AND state = 'waiting' AND work_item_id IS NULL"))
    .order_by(Hl7Message.id)
    .limit(literal_column(str(_HELD_BACK_AT_ONCE)))
)
_TURNS = select(Hl7Turn.message_id, Hl7Turn.patient_key).where(
    Hl7Turn.message_id.in_(bindparam("message_ids", expanding=True))
)
_messages = cast("Table", Hl7Message.__table__)
_QUEUED = update(_messages).where(_messages.c.id == bindparam("message")).values(work_item_id=bindparam("item"))


@dataclass(frozen=True)
class _New:
    row: dict[str, Any]
    turn_keys: frozenset[str]

    @property
    def is_to_be_worked(self) -> bool:
        return bool(self.row["state"] == MessageState.WAITING)


class Sorter:
    """A thread that follows the frames. Frames, entries and items are one transaction a batch: it may die anywhere."""

    def __init__(self, database: Database, inbox: Inbox, peers: Peers, pace: Pace) -> None:
        self._database = database
        self._inbox = inbox
        self._peers = peers
        self._pace = pace
        self._look_back = _LOOK_BACK_AT_START
        self._look_at_held_back_at = 0.0

    def run(self, stop: threading.Event) -> None:
        """Sort until `stop` is set. Raises DatabaseError."""
        while not stop.is_set():
            seen = self._inbox.arrived.count
            self._pace.step_back()
            if self.sort() < _AT_ONCE:
                self._inbox.arrived.wait(seen, _POLL_SECONDS)

    def sort(self) -> int:
        """Sort one batch of frames and return how many there were."""
        held_back_too = time.monotonic() >= self._look_at_held_back_at
        if not self._has_something(held_back_too=held_back_too):
            self._look_back = _LOOK_BACK
            return 0
        with self._database.session(write=True) as session:
            if not self._database.is_sqlite:
                session.execute(text("SELECT pg_advisory_xact_lock(:lock)"), {"lock": _ADVISORY_LOCK})
            held_back = self._held_back(session) if held_back_too else []
            frames = session.execute(_UNSORTED, {"after": self._after(session)}).mappings().all()
            new = [self._read(frame) for frame in frames]
            self._write(session, new)
            self._queue(session, held_back + [_candidate(each) for each in new if each.is_to_be_worked])
        if held_back_too:
            self._look_at_held_back_at = time.monotonic() + _POLL_SECONDS
        return len(frames)

    def _has_something(self, *, held_back_too: bool) -> bool:
        """Look without SQLite's write lock."""
        with self._database.transaction(write=False) as connection:
            if connection.execute(_ANY_UNSORTED, {"after": self._after(connection)}).first():
                return True
            return held_back_too and connection.execute(_HELD_BACK).first() is not None

    def _after(self, connection: Connection | Session) -> int:
        return (connection.execute(_NEWEST).scalar() or 0) - self._look_back

    def _held_back(self, session: Session) -> list[Candidate]:
        ids = session.execute(_HELD_BACK).scalars().all()
        keys: dict[int, set[str]] = {message_id: set() for message_id in ids}
        if ids:
            for message_id, key in session.execute(_TURNS, {"message_ids": ids}):
                keys[message_id].add(key)
        return [Candidate(message_id, frozenset(found)) for message_id, found in keys.items()]

    def _read(self, frame: RowMapping) -> _New:
        brief = self._brief(frame)
        is_accepted = frame["outcome"] == "AA"
        row = columns_of(brief) | {
            "id": frame["id"],
            "direction": Direction.IN.value,
            "peer": frame["peer"],
            "received_at": frame["received_at"],
            "outcome": frame["outcome"],
            "error": frame["error"],
            "error_location": frame["error_location"],
            "state": (MessageState.WAITING if is_accepted else MessageState.REFUSED).value,
        }
        return _New(row, brief.turn_keys if is_accepted else frozenset())

    def _brief(self, frame: RowMapping) -> Brief:
        peer = self._peers.named(frame["peer"])
        try:
            return Brief.read(bytes(frame["head"]), peer.settings if peer else PeerSettings())
        except Exception:  # noqa: BLE001 (one message that we can't read must not hold up all others)
            # The message has its place in the journal nevertheless, and its processing will tell.
            _log.exception("Frame %d could not be read for the journal", frame["id"])
            return Brief()

    def _write(self, session: Session, new: list[_New]) -> None:
        if new:
            session.execute(insert(_messages), [each.row for each in new])
        for each in new:
            take_turns(session.connection(), each.row["id"], each.turn_keys)

    def _queue(self, session: Session, candidates: list[Candidate]) -> None:
        """Put those whose place is certain into the queue, oldest first."""
        assigned = assign_keys(session.connection(), candidates)
        new_items = [NewItem(payload={"message": message_id}, key=key) for message_id, key in assigned.items()]
        if not new_items:
            return
        results = self._inbox.queue.put_many(new_items, session=session)
        queued = [
            {"message": message_id, "item": result.item_id}
            for message_id, result in zip(assigned, results, strict=True)
        ]
        session.connection().execute(_QUEUED, queued)


def _candidate(new: _New) -> Candidate:
    return Candidate(new.row["id"], new.turn_keys)
