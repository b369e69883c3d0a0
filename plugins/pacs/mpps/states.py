"""The states of a performed procedure step, and what they mean for the step that was scheduled."""

from __future__ import annotations

from collections.abc import Collection
from enum import StrEnum

from pacs.worklist.statuses import StepStatus


class PerformedStatus(StrEnum):
    """Performed Procedure Step Status (0040,0252), PS3.3 C.4.14."""

    IN_PROGRESS = "IN PROGRESS"
    COMPLETED = "COMPLETED"
    DISCONTINUED = "DISCONTINUED"


FINAL = frozenset({PerformedStatus.COMPLETED, PerformedStatus.DISCONTINUED})


def scheduled_status(performed: Collection[PerformedStatus]) -> StepStatus:
    """Return the status of a scheduled step from those of all that was performed of it (at least one).

    A step may be performed in several parts, also one after the other: as long as one goes on it is started, and one
    part that was completed makes it completed, whatever was broken off before.
    """
    if PerformedStatus.IN_PROGRESS in performed:
        return StepStatus.STARTED
    if PerformedStatus.COMPLETED in performed:
        return StepStatus.COMPLETED
    return StepStatus.DISCONTINUED
