"""What is fixed for a queue: its name, how it retries, how long a claim lasts."""

from __future__ import annotations

import os
import socket
import threading
from dataclasses import dataclass, field
from datetime import timedelta

from pacs.work.models import QUEUE_LENGTH
from pacs.work.retry import RetryPolicy

DEFAULT_LEASE_SECONDS = 60.0


@dataclass(frozen=True)
class QueueRules:
    """The rules of one queue.

    Parameters
    ----------
    dead_letter_blocks_key : later items of a key wait until its dead letter is replayed or skipped.
    lease_seconds : a claim ends after this time unless renewed; then another worker may take the item. Clocks of
        several machines on one database must agree within a part of it.

    Raises
    ------
    ValueError : no name, too long a name, or no lease.
    """

    name: str
    policy: RetryPolicy = field(default_factory=RetryPolicy)
    dead_letter_blocks_key: bool = False
    lease_seconds: float = DEFAULT_LEASE_SECONDS

    def __post_init__(self) -> None:
        if not 0 < len(self.name) <= QUEUE_LENGTH:
            message = f"A queue's name has 1 to {QUEUE_LENGTH} characters, found {self.name!r}."
            raise ValueError(message)
        if self.lease_seconds <= 0:
            message = f"lease_seconds must be above 0, found {self.lease_seconds}."
            raise ValueError(message)

    @property
    def lease(self) -> timedelta:
        """How long a claim lasts without being renewed."""
        return timedelta(seconds=self.lease_seconds)


def worker_name() -> str:
    """Name the calling thread across machines, for `claimed_by`."""
    return f"{socket.gethostname()}:{os.getpid()}:{threading.current_thread().name}"[:255]
