"""`Claim`: one item in the hands of one worker, until it is settled or its lease runs out."""

from __future__ import annotations

import threading
from collections.abc import Callable, Mapping
from typing import TYPE_CHECKING, Any

from sqlalchemy import Connection, RowMapping
from sqlalchemy.orm import Session

from pacs.work import settling
from pacs.work.commits import joined
from pacs.work.items import WorkItem
from pacs.work.settling import Outcome, Ticket
from pacs.work.signals import LeaseLost

if TYPE_CHECKING:
    from pacs.work.queue import WorkQueue


class Claim:
    """What a handler gets. It is settled once: by the handler in its own transaction, or by the worker afterwards.

    Every method that writes raises `LeaseLost`, and changes nothing, when the claim is no longer in force.

    Attributes
    ----------
    item : the item as it was claimed, body included.
    ticket : the item's id and the fencing token.
    """

    def __init__(self, queue: WorkQueue, item: WorkItem, token: int) -> None:
        self.item = item
        self.ticket = Ticket(item.id, token)
        self._queue = queue
        self._settled = False
        self._stop = threading.Event()

    def __repr__(self) -> str:
        return f"Claim({self._queue.name!r}, item {self.item.id}, token {self.ticket.token})"

    @property
    def is_settled(self) -> bool:
        """Whether how it ended has been committed."""
        return self._settled

    @property
    def stop_requested(self) -> bool:
        """Whether the handler should end: cancelled, lease lost, or the worker stops. Then raise `GiveBack`."""
        return self._stop.is_set()

    def wait_for_stop(self, timeout_seconds: float) -> bool:
        """Sleep up to this long, less when asked to stop; tell whether it was."""
        return self._stop.wait(timeout_seconds)

    def request_stop(self) -> None:
        """Ask the handler to end. Called from any thread."""
        self._stop.set()

    def report_progress(self, progress: Mapping[str, Any]) -> None:
        """Store how far the work is (a JSON object); a next try of the item finds it in `item.progress`."""
        with self._queue.database.transaction(durable=False) as connection:
            is_cancelled = settling.store_progress(connection, self._queue.rules, self.ticket, progress)
        if is_cancelled:
            self.request_stop()

    def renew(self) -> None:
        """Lengthen the lease by a whole one from now; learn of a cancellation."""
        with self._queue.database.transaction(durable=False) as connection:
            is_cancelled = settling.renew(connection, self._queue.rules, self.ticket, self._queue.clock())
        if is_cancelled:
            self.request_stop()

    def complete(self, result: Mapping[str, Any] | None = None, *, session: Session | None = None) -> None:
        """Mark the item done, in the caller's transaction if one is given, so that effect and state are one.

        Parameters
        ----------
        result : a JSON object kept with the item.
        """

        def settle(current: Connection) -> Outcome:
            settling.complete(current, self._queue.rules, self.ticket, result, self._queue.clock())
            return Outcome.DONE

        self._settle(settle, session)

    def note_settled(self, outcome: Outcome) -> None:
        """Take note that how it ended is committed."""
        self._settled = True
        self._queue.note(self.item.id, outcome)
        if self.item.key is not None:
            # The next item of the key may be claimable now.
            self._queue.bell.ring()

    def retry(self, reason: str, *, after_seconds: float | None = None) -> Outcome:
        """Let the item wait for its next try, or give it up, as the queue's policy says; tell which."""

        def settle(connection: Connection, row: RowMapping) -> Outcome:
            return settling.fail(
                connection, self._queue.rules, row, reason, self._queue.clock(), after_seconds=after_seconds
            )

        return self._settle_row(settle)

    def reject(self, reason: str) -> Outcome:
        """Make the item a dead letter."""

        def settle(connection: Connection, row: RowMapping) -> Outcome:
            return settling.reject(connection, self._queue.rules, row, reason, self._queue.clock())

        return self._settle_row(settle)

    def give_back(self) -> Outcome:
        """Let the item wait again at once; this try is not counted."""

        def settle(connection: Connection, row: RowMapping) -> Outcome:
            return settling.give_back(connection, row, self._queue.clock())

        return self._settle_row(settle)

    def _settle_row(self, settle: Callable[[Connection, RowMapping], Outcome]) -> Outcome:
        def locked(connection: Connection) -> Outcome:
            return settle(connection, settling.lock(connection, self._queue.rules, self.ticket))

        return self._settle(locked, None)

    def _settle(self, settle: Callable[[Connection], Outcome], session: Session | None) -> Outcome:
        try:
            with joined(self._queue.database, session) as transaction:
                outcome = settle(transaction.connection)
                transaction.after_commit(("settle", id(self)), lambda: self.note_settled(outcome))
        except LeaseLost:
            self._queue.note(self.item.id, Outcome.LEASE_LOST)
            raise
        return outcome
