"""What a handler may raise to say how its item goes on, and the queue's own faults."""

from __future__ import annotations

from datetime import timedelta

from pacs.errors import Conflict


class Retry(Exception):  # an order to the queue, not a fault
    """Raised by a handler: try this item again.

    Parameters
    ----------
    reason : what failed, stored as the item's last error.
    after : time until the next try, seconds or a timedelta; None: as the queue's RetryPolicy says.
    """

    def __init__(self, reason: str = "", *, after: float | timedelta | None = None) -> None:
        super().__init__(reason)
        self.reason = reason
        self.after_seconds = after.total_seconds() if isinstance(after, timedelta) else after


class Reject(Exception):
    """Raised by a handler: trying again is useless, make it a dead letter at once."""

    def __init__(self, reason: str) -> None:
        super().__init__(reason)
        self.reason = reason


class GiveBack(Exception):
    """Raised by a handler that was asked to stop before it was done: the item waits again, the try is not counted.

    An item that was asked to be cancelled is cancelled instead.
    """


class LeaseLost(Conflict):
    """The item is no longer this worker's: its lease ran out and it was taken over, or a person decided on it."""

    code = "lease-lost"


class StateConflict(Conflict):
    """The item is in a state in which this can't be done to it."""

    code = "work-state"
