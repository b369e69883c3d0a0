"""`Sorter`: gives every frame its entry in the journal, and every accepted one its place in the queue."""

from __future__ import annotations

import logging
import threading
import time
from collections.abc import Sequence
from dataclasses import dataclass
from typing import Any, cast

from sqlalchemy import RowMapping, Table, bindparam, func, insert, literal_column, select, text, update

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

_AT_ONCE = 25
_HELD_BACK_AT_ONCE = 5_000
_POLL_SECONDS = 0.5
_GATHER_SECONDS = 0.03
# Other processes on the same PostgreSQL commit frames with lower ids than ours a moment later than ours.
_LOOK_BACK = 500
# After a start, those that this or another process left behind when it died.
_LOOK_BACK_AT_START = 200_000
# Any fixed number: one process sorts at a time, so that one order holds for all.
_ADVISORY_LOCK = 7_222_446_002

_NEWEST_ENTRY = select(func.max(Hl7Message.id))
_NEWEST_FRAME = select(func.max(Hl7Frame.id))
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
    .where(Hl7Frame.id > bindparam("after"), Hl7Message.id.is_(None))
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
        # Up to this id all frames have their entries.
        self._cursor: int | None = None
        self._look_at_held_back_at = 0.0

    def run(self, stop: threading.Event) -> None:
        """Sort until `stop` is set. Raises DatabaseError."""
        while not stop.is_set():
            seen = self._inbox.arrived.count
            self._pace.step_back()
            found = self.sort()
            if not found:
                self._inbox.arrived.wait(seen, _POLL_SECONDS)
            elif found < _AT_ONCE:
                # What comes meanwhile is sorted together: half the work, and no sender waits for it.
                stop.wait(_GATHER_SECONDS)

    def sort(self) -> int:
        """Sort one batch of frames and return how many there were."""
        frames, cursor = self._unsorted()
        new = [self._read(frame) for frame in frames]
        looks_at_held_back = time.monotonic() >= self._look_at_held_back_at
        if looks_at_held_back:
            self._look_at_held_back_at = time.monotonic() + _POLL_SECONDS
        held_back = self._held_back() if looks_at_held_back else []
        if new or held_back:
            self._write(new, held_back)
        self._cursor = cursor
        return len(new)

    def _unsorted(self) -> tuple[Sequence[RowMapping], int]:
        """Return a batch of frames that have no entry yet, and up to where all have one then."""
        with self._database.transaction(write=False) as connection:
            if self._cursor is None:
                self._cursor = (connection.execute(_NEWEST_ENTRY).scalar() or 0) - _LOOK_BACK_AT_START
            newest = connection.execute(_NEWEST_FRAME).scalar() or 0
            if newest <= self._cursor:
                return [], self._cursor
            look_back = 0 if self._database.is_sqlite else _LOOK_BACK
            frames = connection.execute(_UNSORTED, {"after": self._cursor - look_back}).mappings().all()
        return frames, newest if len(frames) < _AT_ONCE else frames[-1]["id"]

    def _held_back(self) -> list[Candidate]:
        with self._database.transaction(write=False) as connection:
            ids = connection.execute(_HELD_BACK).scalars().all()
            keys: dict[int, set[str]] = {message_id: set() for message_id in ids}
            if ids:
                for message_id, key in connection.execute(_TURNS, {"message_ids": ids}):
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

    def _write(self, new: Sequence[_New], held_back: list[Candidate]) -> None:
        """Write entries and items in one transaction: of frames, which are durable, so that it may be redone."""
        with self._database.transaction(durable=False) as connection:
            if not self._database.is_sqlite:
                connection.execute(text("SELECT pg_advisory_xact_lock(:lock)"), {"lock": _ADVISORY_LOCK})
            if new:
                connection.execute(insert(_messages), [each.row for each in new])
                turns = [(each.row["id"], key) for each in new for key in each.turn_keys]
                take_turns(connection, turns)
            candidates = held_back + [_candidate(each) for each in new if each.is_to_be_worked]
            assigned = assign_keys(connection, candidates)
            items = [NewItem(payload={"message": message_id}, key=key) for message_id, key in assigned.items()]
            results = self._inbox.put(connection, items)
            queued = [
                {"message": message_id, "item": result.item_id}
                for message_id, result in zip(assigned, results, strict=True)
            ]
            if queued:
                connection.execute(_QUEUED, queued)
        if queued:
            self._inbox.queue.bell.ring()


def _candidate(new: _New) -> Candidate:
    return Candidate(new.row["id"], new.turn_keys)
