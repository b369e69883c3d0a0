"""A queue of its own for each target: what waits for one that is away holds up no other."""

from __future__ import annotations

import threading

from pacs.database import Database
from pacs.work import RetryPolicy, WorkQueue
from pacs.work.queue import Clock, utc_now

QUEUE_PREFIX = "deliver-"
# How a delivery is tried again that its target refuses for now; when it is given up is the target's to say.
_POLICY = RetryPolicy(first_delay_seconds=30, max_delay_seconds=3600, max_attempts=None)


class Queues:
    """The queues by target. Safe to use from any thread.

    Parameters
    ----------
    lease_seconds : so long the studies wait that a process was sending when it died.
    """

    def __init__(
        self,
        database: Database,
        *,
        policy: RetryPolicy = _POLICY,
        lease_seconds: float = 60.0,
        clock: Clock = utc_now,
    ) -> None:
        self._database = database
        self._policy = policy
        self._lease_seconds = lease_seconds
        self._lock = threading.Lock()
        self._queues: dict[str, WorkQueue] = {}
        self.clock = clock

    def of(self, target: str) -> WorkQueue:
        """Return the queue of a target; payload {"delivery": id}, key: the study."""
        with self._lock:
            queue = self._queues.get(target)
            if queue is None:
                queue = self._queues[target] = WorkQueue(
                    self._database,
                    f"{QUEUE_PREFIX}{target}"[:64],
                    policy=self._policy,
                    lease_seconds=self._lease_seconds,
                    clock=self.clock,
                )
            return queue

    def all(self) -> tuple[WorkQueue, ...]:
        """Return all that were asked for so far."""
        with self._lock:
            return tuple(self._queues.values())
