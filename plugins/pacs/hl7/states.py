"""Where a message of the journal is on its way."""

from __future__ import annotations

from enum import StrEnum


class Direction(StrEnum):
    """Who sent it."""

    IN = "in"
    OUT = "out"


class MessageState(StrEnum):
    """Incoming: waiting until it is done. Outgoing: waiting until it is acknowledged."""

    WAITING = "waiting"
    DONE = "done"
    REFUSED = "refused"  # answered AE or AR: nothing was done with it
    FAILED = "failed"  # a dead letter: a person decides
    SKIPPED = "skipped"  # a person set it aside
    REPLACED = "replaced"  # a person corrected it; the corrected one names it


UNSETTLED = (MessageState.WAITING, MessageState.FAILED)
