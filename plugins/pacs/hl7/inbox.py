"""`Inbox`: messages are durable before they are acknowledged, and each patient's are worked in their order."""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from contextlib import contextmanager

from sqlalchemy import Connection, delete, update
from sqlalchemy.orm import Session

from pacs.database import Database
from pacs.hl7.brief import Brief
from pacs.hl7.journal import Entry, Journal
from pacs.hl7.models import Hl7Message, Hl7Turn
from pacs.hl7.peers import UNKNOWN, Peers
from pacs.hl7.states import Direction, MessageState
from pacs.hl7.turns import take_turns
from pacs.work import NewItem, PutResult, RetryPolicy, StateConflict, WorkQueue, putting
from pacs.work.bell import Bell
from pacs.work.queue import Clock, utc_now

QUEUE_NAME = "hl7-inbox"
# A message is worked in some milliseconds: what a process had in hand when it died goes on soon after.
_LEASE_SECONDS = 10.0


class Inbox:
    """What came in by MLLP, from the commit before its acknowledgment to the queue of its processing.

    The commit that an acknowledgment waits for writes one row of `hl7_frames` and nothing else (`FrameStore`). `Sorter`
    then gives each frame its entry in the journal and its item in the queue; a frame that has none yet is found by
    that, so nothing is lost in between.

    Attributes
    ----------
    queue : "hl7-inbox"; payload {"message": id of the journal's entry}, key: the patient. A dead letter blocks its key.
    arrived : rung when there is something to sort.
    """

    def __init__(self, database: Database, journal: Journal, peers: Peers, *, clock: Clock = utc_now) -> None:
        self._database = database
        self._journal = journal
        self._peers = peers
        self.arrived = Bell()
        self.queue = WorkQueue(
            database,
            QUEUE_NAME,
            # The processing itself decides what is hopeless; a database that is away is waited for.
            policy=RetryPolicy(first_delay_seconds=0.5, max_delay_seconds=60, max_attempts=None),
            dead_letter_blocks_key=True,
            lease_seconds=_LEASE_SECONDS,
            clock=clock,
        )

    def put(self, connection: Connection, new_items: Sequence[NewItem]) -> list[PutResult]:
        """Put items in the caller's transaction, who rings the queue's bell once it is committed."""
        return putting.put(connection, self.queue.rules, new_items, self.queue.clock())

    def skip(self, message_id: int, *, session: Session | None = None) -> None:
        """Set a dead letter aside: what waits for it goes on.

        Raises
        ------
        NotFound, StateConflict : no such message; or it is no dead letter.
        """
        with self._in(session) as current:
            entry = self._dead(current, message_id)
            self.queue.skip(entry.work_item_id or 0, session=current)
            self._set_state(current, message_id, MessageState.SKIPPED)
            current.execute(delete(Hl7Turn).where(Hl7Turn.message_id == message_id))

    def replay(self, message_id: int, *, session: Session | None = None) -> None:
        """Try a dead letter again, in its old place before its patient's later messages. Raises as `skip`."""
        with self._in(session) as current:
            entry = self._dead(current, message_id)
            self.queue.replay(entry.work_item_id or 0, session=current)
            self._set_state(current, message_id, MessageState.WAITING)

    def correct(self, message_id: int, raw: bytes, *, session: Session | None = None) -> int:
        """Try a dead letter again with another content, in its old place; return the id of the corrected message.

        The message as it came stays in the journal, marked as replaced. Raises as `skip`.
        """
        with self._in(session) as current:
            entry = self._dead(current, message_id)
            peer = self._peers.named(entry.peer) or self._peers.named(UNKNOWN)
            brief = Brief.read(raw, peer.settings) if peer else Brief()
            corrected = self._journal.record(
                current,
                direction=Direction.IN,
                peer=entry.peer,
                remote_address=entry.remote_address,
                raw=raw,
                brief=brief,
                outcome=entry.outcome,
                work_item_id=entry.work_item_id,
                corrected_from=message_id,
            )
            # Those whom it was about wait for it as before, and from now on those whom it is about.
            current.execute(update(Hl7Turn).where(Hl7Turn.message_id == message_id).values(message_id=corrected))
            take_turns(current.connection(), [(corrected, key) for key in brief.turn_keys])
            self.queue.replay(entry.work_item_id or 0, payload={"message": corrected}, session=current)
            self._set_state(current, message_id, MessageState.REPLACED)
        return corrected

    def _dead(self, session: Session, message_id: int) -> Entry:
        entry = self._journal.get(message_id, session=session)
        if entry.direction is not Direction.IN or entry.state is not MessageState.FAILED:
            raise StateConflict(
                f"Message {message_id} is {entry.state}.", remedy="Only an incoming dead letter can be decided on."
            )
        return entry

    def _set_state(self, session: Session, message_id: int, state: MessageState) -> None:
        session.execute(update(Hl7Message).where(Hl7Message.id == message_id).values(state=state.value))

    @contextmanager
    def _in(self, session: Session | None) -> Iterator[Session]:
        """Yield the caller's transaction, or one of our own."""
        if session is not None:
            yield session
            return
        with self._database.session(write=True) as own:
            yield own
