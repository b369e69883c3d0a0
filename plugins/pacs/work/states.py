"""The states of a work item, and which operation is allowed in which state."""

from __future__ import annotations

from enum import StrEnum


class WorkState(StrEnum):
    """Where an item is on its way."""

    RECEIVED = "received"  # may be claimed now
    BLOCKED = "blocked"  # waits for an earlier item of its key
    WAITING = "waiting"  # waits for its time: the next try, or "not before"
    WORKING = "working"  # claimed, under a lease
    DONE = "done"
    FAILED = "failed"  # given up: a dead letter, until a person replays or skips it
    SKIPPED = "skipped"  # a dead letter that a person set aside
    CANCELLED = "cancelled"  # withdrawn before it was done


PENDING = (WorkState.RECEIVED, WorkState.BLOCKED, WorkState.WAITING)
FINISHED = (WorkState.DONE, WorkState.SKIPPED, WorkState.CANCELLED)


class Operation(StrEnum):
    """What can happen to an item after it was put."""

    CLAIM = "claim"
    RENEW = "renew"
    COMPLETE = "complete"
    RETRY = "retry"
    REJECT = "reject"
    GIVE_BACK = "give back"
    EXPIRE = "expire"
    CANCEL = "cancel"
    REPLAY = "replay"
    SKIP = "skip"


# The state machine's arrows by operation: the states it may start from. Elsewhere it is refused and changes nothing.
ALLOWED: dict[Operation, frozenset[WorkState]] = {
    Operation.CLAIM: frozenset({WorkState.RECEIVED}),
    Operation.RENEW: frozenset({WorkState.WORKING}),
    Operation.COMPLETE: frozenset({WorkState.WORKING}),
    Operation.RETRY: frozenset({WorkState.WORKING}),
    Operation.REJECT: frozenset({WorkState.WORKING}),
    Operation.GIVE_BACK: frozenset({WorkState.WORKING}),
    Operation.EXPIRE: frozenset({WorkState.WORKING}),
    # A working item is only asked to stop: its worker cancels it, or the end of its lease does.
    Operation.CANCEL: frozenset({*PENDING, WorkState.WORKING}),
    Operation.REPLAY: frozenset({WorkState.FAILED, WorkState.SKIPPED, WorkState.CANCELLED}),
    Operation.SKIP: frozenset({WorkState.FAILED}),
}
