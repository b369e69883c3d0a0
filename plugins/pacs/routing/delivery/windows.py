"""When a target may be sent to."""

from __future__ import annotations

from datetime import datetime, time, timedelta, tzinfo

from pacs.routing.orders import URGENT
from pacs.routing.targets.model import Target


def seconds_until_open(target: Target, urgency: int, now: datetime, zone: tzinfo) -> float:
    """Return how long a delivery has to wait for its target's window; 0 when it may go now.

    Parameters
    ----------
    now : aware.
    zone : in which the window is written.
    """
    hours = target.hours
    if hours is None or (target.urgent_ignores_window and urgency >= URGENT):
        return 0.0
    local = now.astimezone(zone)
    begin, end = hours
    if _is_within(local.time(), begin, end):
        return 0.0
    opens = local.replace(hour=begin.hour, minute=begin.minute, second=0, microsecond=0)
    if opens <= local:
        opens += timedelta(days=1)
    return (opens - local).total_seconds()


def _is_within(moment: time, begin: time, end: time) -> bool:
    if begin <= end:
        return begin <= moment < end
    return moment >= begin or moment < end
