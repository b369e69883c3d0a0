"""`Outbox`: what happened, as messages in the queue of each destination, in the transaction in which it happened."""

from __future__ import annotations

import hashlib
import logging
from collections.abc import Iterable, Iterator, Mapping
from contextlib import contextmanager
from dataclasses import dataclass

from sqlalchemy import update
from sqlalchemy.orm import Session

from pacs.database import Database
from pacs.errors import NotFound, PacsError
from pacs.hl7.journal import Entry, Journal
from pacs.hl7.models import Hl7Message
from pacs.hl7.outbound.builder import Builder
from pacs.hl7.outbound.events import Event
from pacs.hl7.outbound.settings import DestinationSettings, OutboundSettings
from pacs.hl7.states import Direction, MessageState
from pacs.monitoring.identity import PATIENT_PREFIX, PEER
from pacs.work import Outcome, RetryPolicy, StateConflict, WorkEvent, WorkQueue

_log = logging.getLogger(__name__)

QUEUE_PREFIX = "hl7-out-"
_DAY_SECONDS = 24 * 3600


@dataclass(frozen=True)
class Destination:
    """A system that is told, and the queue of what it is still to be told.

    Attributes
    ----------
    queue : payload {"message": id of the journal's entry}, body: the message, key: the patient.
    """

    name: str
    settings: DestinationSettings
    queue: WorkQueue


class Outbox:
    """Messages on their way out. Safe to use from any thread and several processes at once.

    Parameters
    ----------
    golden_signal : where the golden signal is told of its own orders; no other system is. None: nobody is.
    """

    def __init__(
        self,
        database: Database,
        journal: Journal,
        settings: OutboundSettings,
        golden_signal: DestinationSettings | None = None,
    ) -> None:
        self.builder = Builder(settings)
        self.golden_signal = (
            Destination(PEER, golden_signal, self._queue(database, PEER, golden_signal)) if golden_signal else None
        )
        self.destinations = {
            name: Destination(name, each, self._queue(database, name, each))
            for name, each in settings.destinations.items()
        }
        self._database = database
        self._journal = journal

    @property
    def queues(self) -> Iterable[WorkQueue]:
        """The queues of all destinations."""
        return [destination.queue for destination in self.all_destinations]

    @property
    def all_destinations(self) -> list[Destination]:
        """Those of the settings, and the golden signal's own."""
        return [*self.destinations.values(), *([self.golden_signal] if self.golden_signal else [])]

    def tell(self, session: Session, event: Event) -> None:
        """Put the messages about an event into the queues of those who want it, in the caller's transaction."""
        is_probe = event.patient_id.startswith(PATIENT_PREFIX)
        for destination in self.all_destinations:
            if event.kind in destination.settings.events and is_probe == (destination is self.golden_signal):
                self._put(session, destination, event)

    def tell_one(self, session: Session, event: Event, name: str) -> None:
        """Put the message about an event into one destination's queue, wanted or not. Raises NotFound."""
        destination = self.destinations.get(name)
        if destination is None:
            raise NotFound(f"No destination is called {name}.", remedy="Add it to Pacs.Outbound.Destinations.")
        self._put(session, destination, event)

    def skip(self, message_id: int, *, session: Session | None = None) -> None:
        """Set a dead letter aside.

        Raises
        ------
        NotFound, StateConflict : no such message; or it is no outgoing dead letter.
        """
        with self._in(session) as current:
            entry, queue = self._dead(current, message_id)
            queue.skip(entry.work_item_id or 0, session=current)
            _set_state(current, message_id, MessageState.SKIPPED)

    def replay(self, message_id: int, *, session: Session | None = None) -> None:
        """Send a dead letter again, as it is. Raises as `skip`."""
        with self._in(session) as current:
            entry, queue = self._dead(current, message_id)
            queue.replay(entry.work_item_id or 0, session=current)
            _set_state(current, message_id, MessageState.WAITING)

    def _put(self, session: Session, destination: Destination, event: Event) -> None:
        built = self.builder.build(event, destination.settings)
        message_id = self._journal.record(
            session,
            direction=Direction.OUT,
            peer=destination.name,
            raw=built.raw,
            brief=built.brief,
            remote_address=destination.settings.host[:64],
        )
        item_id = destination.queue.put(
            {"message": message_id, "control_id": built.brief.control_id},
            body=built.raw,
            key=_key(event.patient_key),
            session=session,
        )
        self._journal.queued(session, message_id, item_id)

    def _queue(self, database: Database, name: str, settings: DestinationSettings) -> WorkQueue:
        return WorkQueue(
            database,
            f"{QUEUE_PREFIX}{name}",
            policy=RetryPolicy(max_attempts=None, max_age_seconds=settings.retry_days * _DAY_SECONDS),
            dead_letter_blocks_key=settings.refusal_holds_patient,
            on_event=self._on_event,
        )

    def _on_event(self, event: WorkEvent) -> None:
        """Have the journal know of a message that was given up after its last try."""
        if event.outcome is Outcome.FAILED:
            try:
                self._mark_failed(event.item_id, self._error_of(event))
            except PacsError:
                # The dead letter is there all the same.
                _log.exception("the journal could not be told that item %d of %s failed", event.item_id, event.queue)

    def _error_of(self, event: WorkEvent) -> str:
        (queue,) = (queue for queue in self.queues if queue.name == event.queue)
        return queue.get(event.item_id).last_error or ""

    def _mark_failed(self, item_id: int, error: str) -> None:
        with self._database.session(write=True) as session:
            session.execute(
                update(Hl7Message)
                .where(Hl7Message.work_item_id == item_id, Hl7Message.direction == Direction.OUT.value)
                .where(Hl7Message.state == MessageState.WAITING.value)
                .values(state=MessageState.FAILED.value, error=error)
            )

    def _dead(self, session: Session, message_id: int) -> tuple[Entry, WorkQueue]:
        entry = self._journal.get(message_id, session=session)
        if entry.direction is not Direction.OUT or entry.state is not MessageState.FAILED:
            raise StateConflict(
                f"Message {message_id} is {entry.state}.", remedy="Only an outgoing dead letter can be decided on."
            )
        destination = self.destinations.get(entry.peer)
        if destination is None:
            raise NotFound(f"No destination is called {entry.peer} any more.", remedy="Add it to the settings.")
        return entry, destination.queue

    @contextmanager
    def _in(self, session: Session | None) -> Iterator[Session]:
        """Yield the caller's transaction, or one of our own."""
        if session is not None:
            yield session
            return
        with self._database.session(write=True) as own:
            yield own


def _set_state(session: Session, message_id: int, state: MessageState) -> None:
    values: Mapping[str, object] = {"state": state.value, "error": None, "error_location": None}
    session.execute(update(Hl7Message).where(Hl7Message.id == message_id).values(values))


def _key(patient: str) -> str:
    """Return the ordering key of a patient; identifiers may be longer than a key or hold anything."""
    return hashlib.sha256(patient.encode("utf-8", "surrogatepass")).hexdigest()
