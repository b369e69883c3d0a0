"""`QueueWorker`: threads that claim items of a queue, hand them to its handler, and settle them."""

from __future__ import annotations

import logging
import random
import threading
import time
from collections.abc import Callable, Mapping, Sequence
from functools import partial
from typing import Any

from pacs.errors import DatabaseError, PacsError
from pacs.work.claim import Claim
from pacs.work.queue import WorkQueue
from pacs.work.signals import GiveBack, LeaseLost, Reject, Retry
from pacs.work.supervisor import Supervisor

_LOG = logging.getLogger(__name__)

# A JSON object that it returns is kept as the item's result.
type Handler = Callable[[Claim], Mapping[str, Any] | None]

_PURGE_EVERY_SECONDS = 3600.0
# Settles what it can of several claims in one transaction, or nothing; then each is worked by itself.
type HandlerTogether = Callable[[Sequence[Claim]], None]

# A cancelled item's handler learns of it within this time.
_MOST_UPKEEP_PAUSE_SECONDS = 5.0


class QueueWorker:
    """Works a queue with `threads` threads, and one more that renews leases and tidies up.

    The handler runs in a worker thread without any transaction open. What it raises decides: `Retry`, `Reject` and
    `GiveBack` as they say; any other exception is a failed try, repeated by the queue's policy.

    Parameters
    ----------
    handler : does the work of one claim; must bear being run twice for an item.
    poll_seconds : how often to look for items that other processes put; those of this process wake it at once.
    keep_days : how long finished items are kept; None for ever. Dead letters stay until a person decides.
    claims_at_once : so many items a thread takes in hand together and works one after the other: where many wait, the
        claiming costs less. Other threads and processes can't take them meanwhile.
    together : tries claims of one time first, before `handler` gets each of those that are not settled then.
    """

    def __init__(
        self,
        queue: WorkQueue,
        handler: Handler,
        *,
        threads: int = 1,
        poll_seconds: float = 1.0,
        keep_days: float | None = None,
        claims_at_once: int = 1,
        together: HandlerTogether | None = None,
    ) -> None:
        self._queue = queue
        self._handler = handler
        self._thread_count = threads
        self._poll_seconds = poll_seconds
        self._keep_days = keep_days
        self._claims_at_once = claims_at_once
        self._together = together
        self._claims: set[Claim] = set()
        self._claims_lock = threading.Lock()
        self._supervisor: Supervisor | None = None
        self._added = 0

    @property
    def queues(self) -> tuple[WorkQueue, ...]:
        """What is worked."""
        return (self._queue,)

    def add_to(self, supervisor: Supervisor) -> None:
        """Add the worker's threads to `supervisor`."""
        supervisor.add(f"{self._queue.name} upkeep", self.run_upkeep)
        self._supervisor = supervisor
        self.resize(self._thread_count)

    def resize(self, threads: int) -> None:
        """Work with so many threads from now on. More begin at once; those too many end what they have in hand.

        Called by one thread at a time, after `add_to`.
        """
        self._thread_count = threads
        while self._supervisor is not None and self._added < threads:
            self._added += 1
            self._supervisor.add(f"{self._queue.name} {self._added}", partial(self.run, number=self._added))

    def run(self, stop: threading.Event, *, number: int = 1) -> None:
        """Work items until `stop` is set; as a thread of a higher number than there are to be, wait to be needed again.

        Raises
        ------
        DatabaseError : the database can't be used. The items in hand, if any, are left to their leases.
        """
        is_idle = False
        while not stop.is_set():
            if number > self._thread_count:
                stop.wait(self._poll_seconds)
                continue
            seen = self._queue.bell.count
            # While idle, look without taking SQLite's write lock.
            most = self._claims_at_once
            claims = self._queue.claim(most) if not is_idle or self._queue.has_something() else []
            self._work_all(claims, stop)
            is_idle = not claims
            if is_idle and self._queue.bell.wait(seen, self._poll_seconds * random.uniform(0.75, 1.0)):  # noqa: S311
                is_idle = False

    def run_upkeep(self, stop: threading.Event) -> None:
        """Renew the leases of the items in hand, take back those of dead workers, purge, until `stop` is set."""
        pause_seconds = min(self._queue.rules.lease_seconds / 4, _MOST_UPKEEP_PAUSE_SECONDS)
        purge_at = time.monotonic()
        while not stop.wait(pause_seconds):
            self._renew()
            self._queue.recover_expired()
            if self._keep_days is not None and time.monotonic() >= purge_at:
                self._queue.purge(self._keep_days)
                purge_at = time.monotonic() + _PURGE_EVERY_SECONDS
        # The queue's threads end too: their handlers should, and have until the supervisor's patience ends.
        for claim in self._in_hand():
            claim.request_stop()

    def _work_all(self, claims: Sequence[Claim], stop: threading.Event) -> None:
        """Work claims one after the other; their leases are renewed while they wait their turn."""
        with self._claims_lock:
            self._claims.update(claims)
        try:
            if len(claims) > 1 and not stop.is_set():
                self._work_together(claims)
            for claim in (claim for claim in claims if not claim.is_settled):
                self.work(claim, gives_back=stop.is_set())
        finally:
            with self._claims_lock:
                self._claims.difference_update(claims)

    def _work_together(self, claims: Sequence[Claim]) -> None:
        if self._together is None:
            return
        try:
            self._together(claims)
        except PacsError as error:
            # Each is worked by itself next, and the one at fault tells.
            _LOG.info("%d items of queue %s are worked one by one: %s", len(claims), self._queue.name, error.code)
        except Exception:  # noqa: BLE001 (likewise; a fault of ours)
            _LOG.exception("%d items of queue %s are worked one by one", len(claims), self._queue.name)

    def work(self, claim: Claim, *, gives_back: bool = False) -> None:
        """Run the handler on `claim` and settle it, or let it wait again."""
        with self._claims_lock:
            self._claims.add(claim)
        try:
            settle = claim.give_back if gives_back else self._handled(claim)
            if not claim.is_settled:
                self._settle(claim, settle)
        except LeaseLost:
            _LOG.warning("Item %d of queue %s was taken over while in work", claim.item.id, self._queue.name)
        finally:
            with self._claims_lock:
                self._claims.discard(claim)

    def _handled(self, claim: Claim) -> Callable[[], object]:
        """Run the handler and return what is to be done with the claim."""
        where = f"item {claim.item.id} of queue {self._queue.name}"
        try:
            result = self._handler(claim)
        except Retry as signal:
            reason, after_seconds = signal.reason, signal.after_seconds
            return lambda: claim.retry(reason, after_seconds=after_seconds)
        except Reject as signal:
            reason = signal.reason
            return lambda: claim.reject(reason)
        except GiveBack:
            return claim.give_back
        except LeaseLost:
            raise
        except PacsError as error:
            _LOG.warning("Try %d of %s failed: %s", claim.item.attempts, where, error)
            reason = str(error)
        except Exception as error:  # noqa: BLE001 (whatever a handler does, its item is settled)
            # A fault of the handler, not of the thread: told, counted, tried again.
            _LOG.exception("Try %d of %s failed", claim.item.attempts, where)
            reason = f"{type(error).__name__}: {error}"
        else:
            return lambda: claim.complete(result)
        return lambda: claim.retry(reason)

    def _settle(self, claim: Claim, settle: Callable[[], object]) -> None:
        """Record the outcome; the work is done, so a database away for a moment is worth waiting for."""
        give_up_at = time.monotonic() + self._queue.rules.lease_seconds
        pause_seconds = 0.1
        while True:
            try:
                settle()
            except DatabaseError:
                if claim.stop_requested or time.monotonic() + pause_seconds > give_up_at:
                    raise
                time.sleep(pause_seconds)
                pause_seconds = min(pause_seconds * 2, 2.0)
            else:
                return

    def _renew(self) -> None:
        for claim in self._in_hand():
            try:
                claim.renew()
            except LeaseLost:
                # Settled this very moment, or taken over: then its handler should not go on.
                claim.request_stop()

    def _in_hand(self) -> list[Claim]:
        with self._claims_lock:
            return list(self._claims)
