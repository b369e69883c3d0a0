"""`Processor`: what becomes of an accepted message, in one transaction with its leaving the queue."""

from __future__ import annotations

import logging
from collections.abc import Callable, Iterable, Iterator, Mapping, Sequence
from contextlib import suppress
from dataclasses import dataclass, field
from datetime import datetime
from typing import Any, cast

from sqlalchemy import Table, bindparam, delete
from sqlalchemy.orm import Session

from pacs.database import Database
from pacs.errors import DatabaseError, NotFound, PacsError
from pacs.hl7.charsets import decode
from pacs.hl7.checks import type_of
from pacs.hl7.errors import Hl7Error
from pacs.hl7.header import Header
from pacs.hl7.journal import Entry, Journal
from pacs.hl7.message import Message
from pacs.hl7.models import ERROR_LOCATION_LENGTH, Hl7Turn
from pacs.hl7.pace import Pace
from pacs.hl7.peers import Peer, Peers
from pacs.hl7.settings import PeerSettings
from pacs.hl7.states import MessageState
from pacs.metrics import Metrics
from pacs.work import Claim, GiveBack, LeaseLost, Reject, Retry, WorkQueue

_log = logging.getLogger(__name__)

# Of a fault that is not the message's: then it becomes a dead letter all the same, for a person to look at.
MOST_TRIES = 8
_END_TURNS = delete(cast("Table", Hl7Turn.__table__)).where(Hl7Turn.message_id == bindparam("message"))


@dataclass(frozen=True, kw_only=True)
class Incoming:
    """A message as a handler gets it.

    Attributes
    ----------
    peer : who sent it; its settings are those of unknown peers when it is no longer configured.
    item_id : of the queue: greater for what came later, for good.
    journal_id : of its entry in the journal.
    """

    message: Message
    header: Header
    raw: bytes
    peer: Peer
    received_at: datetime
    item_id: int
    journal_id: int


@dataclass(frozen=True)
class Result:
    """What a message became, for the journal.

    Parameters
    ----------
    kind : in one word, "worklist", "patient", "kept".
    details : a JSON object.
    """

    kind: str
    details: Mapping[str, Any] = field(default_factory=dict)


# Runs in a writing transaction; what it raises undoes what it did.
type Effect = Callable[[Session], Result]
# Reads a message and returns what it is to do, which may be asked for more than once. No transaction waits for it, so
# what takes time is done here. What either raises undoes all; an Hl7Error makes the message a dead letter.
type MessageHandler = Callable[[Incoming], Effect]

# What changes nothing here: taken, kept and found in the journal.
KEPT = Result("kept")


def keep(_incoming: Incoming) -> Effect:
    """Do nothing with a message: it is in the journal."""
    return lambda _session: KEPT


@dataclass(frozen=True)
class _Work:
    """A message that was read, and what it is to do."""

    claim: Claim
    message_id: int
    kind: str
    effect: Effect


class Processor:
    """Hands accepted messages to the handlers of their types. Called from the threads of the queue's worker."""

    def __init__(  # noqa: PLR0917 the parts of one bridge
        self,
        database: Database,
        journal: Journal,
        queue: WorkQueue,
        peers: Peers,
        pace: Pace,
        metrics: Metrics,
    ) -> None:
        self._database = database
        self._journal = journal
        self._queue = queue
        self._peers = peers
        self._pace = pace
        self._handlers: dict[str, MessageHandler] = {}
        self._processed = metrics.counter(
            "pacs_hl7_processed_total", "Incoming messages worked, by kind and how it ended.", ("type", "outcome")
        )

    def register(self, types: Iterable[str], handler: MessageHandler) -> None:
        """Have `handler` called for messages of these types: "ORM^O01", or "SIU" for all its events.

        Raises
        ------
        ValueError : another handler has the type.
        """
        for each in types:
            if self._handlers.setdefault(each, handler) is not handler:
                message = f"There is a handler of {each} already."
                raise ValueError(message)

    def __call__(self, claim: Claim) -> None:
        """Work one item of the queue "hl7-inbox"."""
        self._pace.step_back()
        message_id = _message_of(claim)
        try:
            kind = self._work(claim, message_id)
        except (Hl7Error, NotFound) as error:
            self._give_up(message_id, str(error), getattr(error, "locations", ()))
            raise Reject(str(error)) from error
        except DatabaseError as error:
            raise Retry(str(error)) from error
        except (LeaseLost, GiveBack, Retry, Reject):
            raise
        except Exception as error:
            self._judge(claim, message_id, error)
            raise
        self._processed.labels(kind, "done").inc()

    def together(self, claims: Sequence[Claim]) -> None:
        """Work several items of the queue in one transaction: all that can be read, or none if one of those fails.

        Of different patients, so their order does not matter. While senders wait for our answers nothing is done:
        one long transaction would keep them waiting.
        """
        self._pace.step_back()
        if self._pace.is_pressed:
            return
        works = list(self._read_each(claims))
        if not works:
            return
        with self._database.session(write=True, durable=False) as session:
            results = {work.message_id: _document(work.effect(session)) for work in works}
            self._journal.settle_done(session, results)
            session.connection().execute(_END_TURNS, [{"message": message_id} for message_id in results])
            self._queue.complete([work.claim for work in works], session=session)
        for work in works:
            self._processed.labels(work.kind, "done").inc()

    def _read_each(self, claims: Sequence[Claim]) -> Iterator[_Work]:
        """Yield the messages that can be read; what is wrong with another is told when it is worked by itself."""
        entries = self._journal.get_each([_message_of(claim) for claim in claims])
        for claim in claims:
            with suppress(Hl7Error, KeyError):
                yield self._read(claim, entries[_message_of(claim)])

    def _read(self, claim: Claim, entry: Entry) -> _Work:
        incoming = self._incoming(entry, claim.item.id)
        kind = type_of(incoming.header, incoming.message)
        handler = self._handlers.get(kind) or self._handlers.get(incoming.header.message_type) or keep
        return _Work(claim, entry.id, incoming.header.message_type, handler(incoming))

    def _work(self, claim: Claim, message_id: int) -> str:
        work = self._read(claim, self._journal.get(message_id))
        # The message is durable already: after a power cut it would be found waiting, and worked once more.
        with self._database.session(write=True, durable=False) as session:
            result = _document(work.effect(session))
            self._journal.settle(session, message_id, MessageState.DONE, result=result)
            session.connection().execute(_END_TURNS, {"message": message_id})
            claim.complete(session=session)
        return work.kind

    def _incoming(self, entry: Entry, item_id: int) -> Incoming:
        header = Header.scan(entry.raw)
        peer = self._peers.named(entry.peer) or Peer(entry.peer, PeerSettings())
        settings = peer.settings
        text = decode(entry.raw, header, default=settings.charset, sniff_utf8=settings.sniff_utf8).text
        return Incoming(
            message=Message.parse(text),
            header=header,
            raw=entry.raw,
            peer=peer,
            received_at=entry.received_at,
            item_id=item_id,
            journal_id=entry.id,
        )

    def _judge(self, claim: Claim, message_id: int, error: Exception) -> None:
        """Give up what failed often enough; the queue tries again otherwise."""
        if claim.item.attempts < MOST_TRIES:
            return
        words = str(error) if isinstance(error, PacsError) else f"{type(error).__name__} in this program; see its log"
        _log.exception("Message %d is given up after %d tries", message_id, claim.item.attempts)
        self._give_up(message_id, words)
        raise Reject(words) from error

    def _give_up(self, message_id: int, reason: str, locations: Sequence[str] = ()) -> None:
        """Let the journal tell of the dead letter that the queue makes of it next; dying in between, it is redone."""
        with self._database.session(write=True) as session:
            self._journal.settle(
                session,
                message_id,
                MessageState.FAILED,
                result={"kind": "unusable", "locations": list(locations)} if locations else None,
                error=reason,
                error_location=locations[0][:ERROR_LOCATION_LENGTH] if locations else None,
            )
        self._processed.labels("", "failed").inc()


def _message_of(claim: Claim) -> int:
    return int(claim.item.payload["message"])


def _document(result: Result) -> dict[str, Any]:
    return {"kind": result.kind, **result.details}
