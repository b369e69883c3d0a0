"""The states of a delivery and of its instances."""

from __future__ import annotations

from enum import StrEnum


class DeliveryState(StrEnum):
    """Where a delivery is on its way."""

    WAITING = "waiting"  # for its turn, its target, its window or its next try
    SENDING = "sending"
    CHECKING = "checking"  # all is sent, the target has still to prove it
    PROVEN = "proven"  # the target has said of each instance that it has it
    SENT = "sent"  # accepted, by a target that can't prove anything
    FAILED = "failed"  # a dead letter, until a person decides
    SKIPPED = "skipped"  # a dead letter that a person set aside
    DIVERTED = "diverted"  # an alternative took over while the target was away
    CUT = "cut"  # it came from there: sending it back would be a loop


# A new order of a study in one of these only adds what came since.
ENDED = frozenset(
    {DeliveryState.PROVEN, DeliveryState.SENT, DeliveryState.SKIPPED, DeliveryState.DIVERTED, DeliveryState.CUT}
)


class InstanceState(StrEnum):
    """What is known of one instance at the target."""

    SENT = "sent"  # accepted
    CONFIRMED = "confirmed"  # proven
    REFUSED = "refused"
