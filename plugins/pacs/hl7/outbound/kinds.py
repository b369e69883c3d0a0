"""The events that other systems can be told of."""

from __future__ import annotations

from enum import StrEnum


class EventKind(StrEnum):
    """The events, as they are called in the settings."""

    SCHEDULED = "scheduled"
    ARRIVED = "arrived"
    STARTED = "started"
    COMPLETED = "completed"
    DISCONTINUED = "discontinued"
    CANCELED = "canceled"
    STUDY_AVAILABLE = "study available"
    REPORT_STORED = "report stored"
