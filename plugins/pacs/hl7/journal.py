"""`Journal`: every message in and out, found by patient, accession, control id, type, state and time."""

from __future__ import annotations

from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass
from datetime import datetime, timedelta
from typing import Any, cast

from sqlalchemy import (
    ColumnElement,
    Connection,
    LargeBinary,
    RowMapping,
    Table,
    bindparam,
    delete,
    func,
    insert,
    or_,
    select,
    update,
)
from sqlalchemy.orm import Session

from pacs.database import Database, JsonDocument
from pacs.errors import NotFound
from pacs.hl7.brief import Brief
from pacs.hl7.models import Hl7Frame, Hl7Message
from pacs.hl7.states import UNSETTLED, Direction, MessageState
from pacs.work.queue import Clock, utc_now

_PURGE_AT_ONCE = 500


@dataclass(frozen=True, kw_only=True)
class Entry:
    """A message of the journal. See `Hl7Message` for its columns.

    Attributes
    ----------
    raw : the bytes as they came or went; b"" in lists.
    ack : the answer as it went or came; None without one, and in lists.
    """

    id: int
    direction: Direction
    peer: str
    remote_address: str
    received_at: datetime
    work_item_id: int | None
    control_id: str
    message_type: str
    trigger_event: str
    version: str
    charset: str
    patient_ids: str
    patient_name: str
    accession_numbers: str
    outcome: str
    state: MessageState
    result: Mapping[str, Any] | None
    error: str | None
    error_location: str | None
    repeats: int
    corrected_from: int | None
    raw: bytes = b""
    ack: bytes | None = None


@dataclass(frozen=True, kw_only=True)
class Search:
    """What entries are asked for; what is None or "" does not matter.

    Attributes
    ----------
    text : begins the patient's identifier, accession number or control id, or stands in the patient's name.
    since, until : of `received_at` (aware).
    before_id : continues a list: entries older than this one.
    """

    text: str = ""
    direction: Direction | None = None
    peer: str | None = None
    message_type: str = ""
    trigger_event: str = ""
    states: tuple[MessageState, ...] = ()
    since: datetime | None = None
    until: datetime | None = None
    before_id: int | None = None
    most: int = 100


_SHORT = [column for column in Hl7Message.__table__.c if column.name != "ack"]
_LISTED = select(*_SHORT, Hl7Frame.remote_address).join(Hl7Frame, Hl7Frame.id == Hl7Message.id)
_WITH_BYTES = _LISTED.add_columns(Hl7Frame.raw, func.coalesce(Hl7Message.ack, Hl7Frame.ack).label("ack"))
_WHOLE = _WITH_BYTES.where(Hl7Message.id == bindparam("message"))
_EACH_WHOLE = _WITH_BYTES.where(Hl7Message.id.in_(bindparam("messages", expanding=True)))
_frames = cast("Table", Hl7Frame.__table__)
_messages = cast("Table", Hl7Message.__table__)
_INSERT_FRAME = insert(_frames).returning(_frames.c.id)
_INSERT_MESSAGE = insert(_messages)
_OF_MESSAGE = update(_messages).where(_messages.c.id == bindparam("message"))
_QUEUED = _OF_MESSAGE.values(work_item_id=bindparam("item"))
_SETTLE = _OF_MESSAGE.values(
    state=bindparam("new_state"),
    result=bindparam("new_result", type_=JsonDocument),
    error=bindparam("new_error"),
    error_location=bindparam("new_location"),
    outcome=func.coalesce(bindparam("new_outcome"), _messages.c.outcome),
    ack=func.coalesce(bindparam("new_ack", type_=LargeBinary), _messages.c.ack),
)
_SETTLE_DONE = _OF_MESSAGE.values(
    state=MessageState.DONE.value,
    result=bindparam("new_result", type_=JsonDocument),
    error=None,
    error_location=None,
)


class Journal:
    """The journal in the plugins' database. Safe to use from any thread."""

    def __init__(self, database: Database, *, clock: Clock = utc_now) -> None:
        self._database = database
        self._clock = clock

    def record(
        self,
        session: Session,
        *,
        direction: Direction,
        peer: str,
        raw: bytes,
        brief: Brief,
        remote_address: str = "",
        outcome: str = "",
        state: MessageState = MessageState.WAITING,
        work_item_id: int | None = None,
        corrected_from: int | None = None,
    ) -> int:
        """Write down a message, in the caller's transaction, and return its id.

        Incoming messages are written down by `Sorter`; this is for outgoing and for corrected ones.
        """
        now = self._clock()
        frame = {"received_at": now, "peer": peer, "remote_address": remote_address, "outcome": outcome, "raw": raw}
        # Without the object-relational part, which would take twice as long as the database.
        connection = session.connection()
        frame_id: int = connection.execute(_INSERT_FRAME, frame).scalar_one()
        row = columns_of(brief) | {
            "id": frame_id,
            "direction": direction.value,
            "peer": peer,
            "received_at": now,
            "outcome": outcome,
            "state": state.value,
            "work_item_id": work_item_id,
            "corrected_from": corrected_from,
        }
        connection.execute(_INSERT_MESSAGE, row)
        return frame_id

    def settle(
        self,
        session: Session,
        message_id: int,
        state: MessageState,
        *,
        result: Mapping[str, Any] | None = None,
        error: str | None = None,
        error_location: str | None = None,
        outcome: str | None = None,
        ack: bytes | None = None,
    ) -> None:
        """Write down, in the caller's transaction, how a message ended.

        Parameters
        ----------
        outcome, ack : of an outgoing message, the receiver's MSA-1 and its whole answer; None leaves what is there.
        """
        parameters = {
            "message": message_id,
            "new_state": state.value,
            "new_result": None if result is None else dict(result),
            "new_error": error,
            "new_location": error_location,
            "new_outcome": outcome,
            "new_ack": ack,
        }
        session.connection().execute(_SETTLE, parameters)

    def settle_done(self, session: Session, results: Mapping[int, Mapping[str, Any]]) -> None:
        """Write down, in the caller's transaction, what messages became, by their ids."""
        rows = [{"message": message_id, "new_result": dict(result)} for message_id, result in results.items()]
        session.connection().execute(_SETTLE_DONE, rows)

    def queued(self, session: Session, message_id: int, work_item_id: int) -> None:
        """Write down which item of a queue a message has."""
        session.connection().execute(_QUEUED, {"message": message_id, "item": work_item_id})

    def get(self, message_id: int, *, session: Session | None = None) -> Entry:
        """Return one entry with its bytes. Raises NotFound."""
        if session is not None:
            row = session.connection().execute(_WHOLE, {"message": message_id}).mappings().one_or_none()
        else:
            with self._database.transaction(write=False) as connection:
                row = connection.execute(_WHOLE, {"message": message_id}).mappings().one_or_none()
        if row is None:
            raise NotFound(f"The journal has no message {message_id}.", remedy="It may have been purged.")
        return _entry(row)

    def get_each(self, message_ids: Sequence[int]) -> dict[int, Entry]:
        """Return entries with their bytes, by id; what is not there is left out."""
        with self._database.transaction(write=False) as connection:
            rows = connection.execute(_EACH_WHOLE, {"messages": list(message_ids)}).mappings()
            return {row["id"]: _entry(row) for row in rows}

    def find(self, search: Search) -> list[Entry]:
        """Return the entries that fit, newest first, without their bytes."""
        statement = _LISTED.where(*_conditions(search)).order_by(Hl7Message.id.desc()).limit(search.most)
        with self._database.transaction(write=False) as connection:
            return [_entry(row) for row in connection.execute(statement).mappings()]

    def counts(self, *, since: datetime | None = None) -> dict[tuple[Direction, MessageState], int]:
        """Return how many entries there are by direction and state."""
        statement = select(Hl7Message.direction, Hl7Message.state, func.count()).group_by(
            Hl7Message.direction, Hl7Message.state
        )
        if since is not None:
            statement = statement.where(Hl7Message.received_at >= since)
        with self._database.transaction(write=False) as connection:
            rows = connection.execute(statement).all()
        return {(Direction(direction), MessageState(state)): count for direction, state, count in rows}

    def purge(self, older_than_days: float) -> int:
        """Delete settled messages older than this, bytes and all, and return how many. May take a while."""
        before = self._clock() - timedelta(days=older_than_days)
        purged = 0
        while True:
            # In small transactions: others write in between.
            with self._database.transaction() as connection:
                count = _purge_some(connection, before)
            purged += count
            if not count:
                return purged


def columns_of(brief: Brief) -> dict[str, Any]:
    """Return the columns of an entry that tell what the message says, and those that every new entry begins with."""
    return {
        "control_id": brief.control_id,
        "message_type": brief.message_type,
        "trigger_event": brief.trigger_event,
        "version": brief.version,
        "charset": brief.charset,
        "patient_ids": brief.patient_ids,
        "patient_name": brief.patient_name,
        "accession_numbers": brief.accession_numbers,
        "repeats": 0,
    }


def _purge_some(connection: Connection, before: datetime) -> int:
    old = (
        select(Hl7Message.id)
        .where(Hl7Message.received_at < before, Hl7Message.state.not_in([state.value for state in UNSETTLED]))
        .limit(_PURGE_AT_ONCE)
    )
    ids = connection.execute(old).scalars().all()
    if ids:
        # Their entries go with them (ON DELETE CASCADE).
        connection.execute(delete(Hl7Frame).where(Hl7Frame.id.in_(ids)))
    return len(ids)


def _conditions(search: Search) -> Iterable[ColumnElement[bool]]:
    if search.text:
        yield _text_condition(search.text)
    if search.states:
        yield Hl7Message.state.in_([state.value for state in search.states])
    if search.since is not None:
        yield Hl7Message.received_at >= search.since
    if search.until is not None:
        yield Hl7Message.received_at < search.until
    if search.before_id is not None:
        yield Hl7Message.id < search.before_id
    if search.peer is not None:
        yield Hl7Message.peer == search.peer
    for column, value in (
        (Hl7Message.direction, search.direction),
        (Hl7Message.message_type, search.message_type.upper()),
        (Hl7Message.trigger_event, search.trigger_event.upper()),
    ):
        if value:
            yield column == str(value)


def _text_condition(text: str) -> ColumnElement[bool]:
    begins = [Hl7Message.control_id, Hl7Message.patient_ids, Hl7Message.accession_numbers]
    words = [Hl7Message.patient_ids, Hl7Message.accession_numbers]
    return or_(
        *(column.istartswith(text, autoescape=True) for column in begins),
        # The second of several numbers.
        *(column.icontains(f" {text}", autoescape=True) for column in words),
        Hl7Message.patient_name.icontains(text, autoescape=True),
    )


def _entry(row: RowMapping) -> Entry:
    values = dict(row)
    return Entry(
        **{**values, "direction": Direction(values["direction"]), "state": MessageState(values["state"])},
    )
