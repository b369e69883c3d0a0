"""The statuses of a scheduled procedure step."""

from __future__ import annotations

from enum import StrEnum


class StepStatus(StrEnum):
    """Scheduled Procedure Step Status (0040,0020): PS3.3 C.4.10, and how MPPS says that a step ended (PS3.3 C.4.14)."""

    SCHEDULED = "SCHEDULED"
    ARRIVED = "ARRIVED"
    READY = "READY"
    STARTED = "STARTED"
    COMPLETED = "COMPLETED"
    DISCONTINUED = "DISCONTINUED"
    CANCELED = "CANCELED"


NOT_BEGUN = frozenset({StepStatus.SCHEDULED, StepStatus.ARRIVED, StepStatus.READY})
# An order that is sent once more says SCHEDULED: no news of a step that went further.
BEGUN = frozenset(
    {StepStatus.ARRIVED, StepStatus.READY, StepStatus.STARTED, StepStatus.COMPLETED, StepStatus.DISCONTINUED}
)
