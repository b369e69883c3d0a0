"""`WorkQueue`: the one durable queue. HL7 inbox and outbox, deliveries and jobs are all queues of this kind."""

from __future__ import annotations

import threading
from collections import Counter
from collections.abc import Callable, Sequence
from dataclasses import dataclass
from datetime import UTC, datetime, timedelta
from functools import partial

from sqlalchemy import Connection
from sqlalchemy.exc import IntegrityError
from sqlalchemy.orm import Session

from pacs.database import Database
from pacs.work import claiming, putting, review, settling, statistics
from pacs.work.bell import Bell
from pacs.work.claim import Claim
from pacs.work.commits import joined
from pacs.work.items import JsonObject, NewItem, PutResult, WorkItem
from pacs.work.retry import RetryPolicy
from pacs.work.rules import DEFAULT_LEASE_SECONDS, QueueRules
from pacs.work.settling import Outcome
from pacs.work.states import WorkState

type Clock = Callable[[], datetime]
_PROMOTE_EVERY = timedelta(seconds=0.25)
_MOST_CLAIM_TRIES = 5


def utc_now() -> datetime:
    """Return the present moment, aware, in UTC."""
    return datetime.now(UTC)


@dataclass(frozen=True)
class WorkEvent:
    """A try of an item has ended. Told to `on_event` in the worker's thread, after it is durable."""

    queue: str
    item_id: int
    outcome: Outcome


class WorkQueue:
    """A durable queue in the table `work_items`. Safe to use from any thread and from several processes at once.

    An item is worked at least once: when a process dies in the middle, its lease runs out and another worker gets
    the item. Handlers are therefore written so that doing a thing twice does no harm.

    Parameters
    ----------
    database : where the items are; its schema is migrated.
    name : items belong to the queue of this name. Within a process share one object a name: it wakes its workers.
    policy : when a failed item is tried again and when it becomes a dead letter.
    dead_letter_blocks_key : whether later items of a key wait until its dead letter is replayed or skipped.
    lease_seconds : how long a claim lasts unless renewed; also how long a dead process's items wait.
    on_event : called after each try; must be quick and not raise.
    clock : tells the present (aware); replaced in tests.
    """

    def __init__(
        self,
        database: Database,
        name: str,
        *,
        policy: RetryPolicy | None = None,
        dead_letter_blocks_key: bool = False,
        lease_seconds: float = DEFAULT_LEASE_SECONDS,
        on_event: Callable[[WorkEvent], None] | None = None,
        clock: Clock = utc_now,
    ) -> None:
        self.database = database
        self.rules = QueueRules(name, policy or RetryPolicy(), dead_letter_blocks_key, lease_seconds)
        self.bell = Bell()
        self.clock = clock
        self._on_event = on_event
        self._outcomes: Counter[Outcome] = Counter()
        self._outcomes_lock = threading.Lock()
        self._promote_after = datetime.min.replace(tzinfo=UTC)

    @property
    def name(self) -> str:
        """The queue's name."""
        return self.rules.name

    # -- putting ---------------------------------------------------------------------------------------------------

    def put(
        self,
        payload: JsonObject,
        *,
        body: bytes | None = None,
        key: str | None = None,
        dedupe: str | None = None,
        priority: int = 0,
        not_before: datetime | None = None,
        session: Session | None = None,
    ) -> int:
        """Put one item and return its id, or the id of the item that has the same `dedupe` value. See `NewItem`.

        Parameters
        ----------
        session : put it in this transaction (a writing one); otherwise it is durably committed on return.

        Raises
        ------
        InvalidInput : what can't be stored.
        DatabaseError : the database can't be used; nothing was put.
        """
        item = NewItem(payload=payload, body=body, key=key, dedupe=dedupe, priority=priority, not_before=not_before)
        return self.put_many([item], session=session)[0].item_id

    def put_many(self, new_items: Sequence[NewItem], *, session: Session | None = None) -> list[PutResult]:
        """Put all of `new_items` in one transaction, in their order; results in the same order. Raises as `put`."""
        with joined(self.database, session) as transaction:
            results = putting.put(transaction.connection, self.rules, new_items, self.clock())
            transaction.after_commit(("ring", id(self)), self.bell.ring)
        return results

    # -- working ---------------------------------------------------------------------------------------------------

    def claim(self, most: int = 1) -> list[Claim]:
        """Claim up to `most` items for the calling thread: highest priority first, then oldest, never two of a key.

        With SQLite a claim need not survive a power cut: the worker does not either, and the item is found unclaimed.
        """
        for _ in range(_MOST_CLAIM_TRIES):
            try:
                return self._claim(most)
            except IntegrityError:
                # Another process took an item of the same key at this very moment: look again.
                continue
        return []

    def _claim(self, most: int) -> list[Claim]:
        with self.database.transaction(durable=False) as connection:
            now = self.clock()
            # Also when the clock was set back: then "after" lies far ahead.
            if not timedelta() < self._promote_after - now <= _PROMOTE_EVERY:
                claiming.promote_due(connection, self.rules, now)
                self._promote_after = now + _PROMOTE_EVERY
            found = claiming.claim(connection, self.rules, most, now)
            if not found and claiming.promote_due(connection, self.rules, now):
                found = claiming.claim(connection, self.rules, most, now)
        return [Claim(self, item, token) for item, token in found]

    def complete(self, claims: Sequence[Claim], *, session: Session) -> None:
        """Mark several items done in the caller's transaction, in as many rounds to the database as one takes.

        Raises
        ------
        LeaseLost : one of the claims is no longer in force; the transaction is to be rolled back.
        """
        with joined(self.database, session) as transaction:
            tickets = {claim.ticket: claim.item.key for claim in claims}
            settling.complete_all(transaction.connection, self.rules, tickets, self.clock())
            for claim in claims:
                transaction.after_commit(("settle", id(claim)), partial(claim.note_settled, Outcome.DONE))

    def has_something(self) -> bool:
        """Tell whether a claim could find something now: a cheap look without any lock."""
        with self.database.transaction(write=False) as connection:
            return claiming.has_something(connection, self.rules, self.clock())

    def recover_expired(self) -> int:
        """Let items whose worker vanished be tried again (or given up, as any failed try), and return how many."""
        with self.database.transaction(durable=False) as connection:
            now = self.clock()
            rows = claiming.lock_expired(connection, self.rules, now)
            for row in rows:
                reason = f"The worker {row['claimed_by']} vanished while working on it."
                settling.fail(connection, self.rules, row, reason, now, after_seconds=0.0)
        for row in rows:
            self.note(row["id"], Outcome.EXPIRED)
        if rows:
            self.bell.ring()
        return len(rows)

    # -- review ----------------------------------------------------------------------------------------------------

    def get(self, item_id: int) -> WorkItem:
        """Return an item with its body. Raises NotFound."""
        with self.database.transaction(write=False) as connection:
            return review.get(connection, self.rules, item_id)

    def list_items(self, *states: WorkState, most: int = 100, before_id: int | None = None) -> list[WorkItem]:
        """Return items in any of `states`, newest first, without bodies; `before_id` continues an earlier list."""
        with self.database.transaction(write=False) as connection:
            return review.listed(connection, self.rules, states, most, before_id)

    def dead_letters(self, most: int = 100, before_id: int | None = None) -> list[WorkItem]:
        """Return the items that were given up, newest first."""
        return self.list_items(WorkState.FAILED, most=most, before_id=before_id)

    def cancel(self, item_id: int, *, session: Session | None = None) -> WorkState:
        """Withdraw an item and return its state: `working` when its worker has still to stop.

        Raises
        ------
        NotFound, StateConflict : as `skip` and `replay`: no such item; or its state (see `states.ALLOWED`) forbids it.
        """
        return self._reviewed(session, lambda current: review.cancel(current, self.rules, item_id, self.clock()))

    def skip(self, item_id: int, *, session: Session | None = None) -> WorkState:
        """Set a dead letter aside; what it blocked goes on."""
        return self._reviewed(session, lambda current: review.skip(current, self.rules, item_id, self.clock()))

    def replay(
        self,
        item_id: int,
        *,
        payload: JsonObject | None = None,
        body: bytes | None = None,
        session: Session | None = None,
    ) -> WorkState:
        """Let a dead letter (or a skipped or cancelled item) begin anew, with another payload or body if given."""
        return self._reviewed(
            session,
            lambda current: review.replay(current, self.rules, item_id, self.clock(), payload=payload, body=body),
        )

    def purge(self, older_than_days: float) -> int:
        """Delete items finished longer ago than this (dead letters stay) and return how many. May take a while."""
        finished_before = self.clock() - timedelta(days=older_than_days)
        purged = 0
        while True:
            # In small transactions: others write in between.
            with self.database.transaction() as connection:
                count = review.purge(connection, self.rules, finished_before)
            purged += count
            if not count:
                return purged

    def counts(self) -> dict[WorkState, int]:
        """Return how many items there are in each state (0 included)."""
        with self.database.transaction(write=False) as connection:
            return statistics.count_items(connection, self.name)

    def oldest_waiting_seconds(self) -> float:
        """Return for how long the oldest item has been waiting to be worked (seconds)."""
        with self.database.transaction(write=False) as connection:
            return statistics.oldest_waiting_seconds(connection, self.name, self.clock())

    @property
    def outcomes(self) -> dict[Outcome, int]:
        """How many tries ended how, in this process since its start."""
        with self._outcomes_lock:
            return {outcome: self._outcomes[outcome] for outcome in Outcome}

    def note(self, item_id: int, outcome: Outcome) -> None:
        """Count a try that ended and tell `on_event`."""
        with self._outcomes_lock:
            self._outcomes[outcome] += 1
        if self._on_event is not None:
            self._on_event(WorkEvent(self.name, item_id, outcome))

    def _reviewed(self, session: Session | None, action: Callable[[Connection], WorkState]) -> WorkState:
        with joined(self.database, session) as transaction:
            state = action(transaction.connection)
            transaction.after_commit(("ring", id(self)), self.bell.ring)
        return state
