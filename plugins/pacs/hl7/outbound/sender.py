"""Sending a destination its messages: one after the other over a kept connection, each until it is acknowledged."""

from __future__ import annotations

import logging
import random
import threading
import time
from collections.abc import Mapping
from typing import Any

from pacs.database import Database
from pacs.errors import PeerError
from pacs.hl7.acknowledgments import AckReceived
from pacs.hl7.errors import Hl7Error
from pacs.hl7.journal import Journal
from pacs.hl7.outbound.client import MllpClient, NoAnswer, Stopped, Unreachable
from pacs.hl7.outbound.outbox import Destination
from pacs.hl7.states import MessageState
from pacs.work import Claim, GiveBack, QueueWorker, Reject, Supervisor

_log = logging.getLogger(__name__)

_ACCEPTED = frozenset({"AA", "CA"})
_REFUSED = frozenset({"AE", "AR", "CR"})
# A destination that is away is looked for this often.
_FIRST_PAUSE_SECONDS = 1.0
_LONGEST_PAUSE_SECONDS = 30.0
_KEEP_DONE_DAYS = 7
_CLAIMS_AT_ONCE = 10


class Sender:
    """Works the queue of one destination.

    While it can't be reached nothing is tried: the message in hand waits, the others stay in the queue, and all go out
    in their order when it is back.
    """

    def __init__(self, database: Database, journal: Journal, destination: Destination) -> None:
        self._database = database
        self._journal = journal
        self._destination = destination
        self._clients = threading.local()
        self._lock = threading.Lock()
        self._away_until = 0.0
        self._pause_seconds = _FIRST_PAUSE_SECONDS

    def add_to(self, supervisor: Supervisor) -> None:
        """Add the threads that send."""
        threads = self._destination.settings.connections
        queue = self._destination.queue
        at_once = _CLAIMS_AT_ONCE if threads == 1 else 1
        QueueWorker(queue, self.send, threads=threads, keep_days=_KEEP_DONE_DAYS, claims_at_once=at_once).add_to(
            supervisor
        )

    def send(self, claim: Claim) -> Mapping[str, Any] | None:
        """Send the message of a claim and settle it. The handler of the queue.

        Raises
        ------
        Reject : it was refused.
        PeerError : it may work later.
        GiveBack : the program ends.
        """
        if self._waits(claim):
            raise GiveBack
        try:
            answer = self._client().ask(claim.item.body or b"", lambda: claim.stop_requested)
        except Stopped:
            raise GiveBack from None
        except Unreachable as error:
            self._note_away(error)
            raise
        self._note_there()
        self._judge(claim, answer)
        return None

    def _judge(self, claim: Claim, answer: bytes) -> None:
        """Take the answer for what it is: only an acknowledgment of this very message is one."""
        ack = self._read(answer)
        sent = claim.item.payload["control_id"]
        if ack.control_id != sent:
            self._client().close()
            raise NoAnswer(f"{self._name} acknowledged message {ack.control_id!r}, which was not sent now ({sent}).")
        if ack.code in _ACCEPTED:
            self._settle(claim, answer, ack.code)
        elif ack.code in _REFUSED:
            reason = f"{self._name} refused it with {ack.code}: {_words(ack)}"
            self._note_refusal(claim, answer, ack.code, reason)
            raise Reject(reason)
        else:
            # CE: it could not be kept just now.
            raise NoAnswer(f"{self._name} answered {ack.code}: it could not take the message.")

    def _read(self, answer: bytes) -> AckReceived:
        try:
            return AckReceived.parse(answer)
        except Hl7Error as error:
            self._client().close()
            raise NoAnswer(f"{self._name} answered with what is no acknowledgment: {error}") from error

    def _settle(self, claim: Claim, answer: bytes, code: str) -> None:
        with self._database.session(write=True) as session:
            claim.complete({"answer": code}, session=session)
            self._journal.settle(
                session, claim.item.payload["message"], MessageState.DONE, outcome=code[-2:], ack=answer
            )

    def _note_refusal(self, claim: Claim, answer: bytes, code: str, reason: str) -> None:
        with self._database.session(write=True) as session:
            self._journal.settle(
                session, claim.item.payload["message"], MessageState.FAILED, error=reason, outcome=code, ack=answer
            )

    # -- a destination that is away --------------------------------------------------------------------------------

    def _waits(self, claim: Claim) -> bool:
        """Wait until the destination is to be tried again; tell whether the program ends first."""
        while (seconds := self._away_until - time.monotonic()) > 0:
            if claim.wait_for_stop(min(seconds, 1.0)):
                return True
        return claim.stop_requested

    def _note_away(self, error: PeerError) -> None:
        with self._lock:
            if time.monotonic() < self._away_until:
                return
            if self._pause_seconds == _FIRST_PAUSE_SECONDS:
                _log.warning("%s is away: %s", self._name, error)
            self._away_until = time.monotonic() + self._pause_seconds * random.uniform(0.8, 1.2)  # noqa: S311
            self._pause_seconds = min(self._pause_seconds * 2, _LONGEST_PAUSE_SECONDS)

    def _note_there(self) -> None:
        if self._pause_seconds != _FIRST_PAUSE_SECONDS:
            _log.info("%s is back", self._name)
            self._pause_seconds = _FIRST_PAUSE_SECONDS

    # -- one connection a thread -----------------------------------------------------------------------------------

    def _client(self) -> MllpClient:
        client: MllpClient | None = getattr(self._clients, "client", None)
        if client is None:
            settings = self._destination.settings
            client = MllpClient(settings.host, settings.port, answer_seconds=settings.answer_seconds, tls=settings.tls)
            self._clients.client = client
        return client

    @property
    def _name(self) -> str:
        return self._destination.name


def _words(ack: AckReceived) -> str:
    return " ".join(filter(None, (ack.text, *map(str, ack.errors)))) or "no reason given"
