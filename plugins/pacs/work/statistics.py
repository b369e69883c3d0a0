"""Figures about the queues, for the System page and the metrics."""

from __future__ import annotations

from datetime import datetime

from sqlalchemy import Connection, func, select

from pacs.work.states import PENDING, WorkState
from pacs.work.table import items


def count_items(connection: Connection, queue_name: str) -> dict[WorkState, int]:
    """Return how many items the queue has in each state (0 included)."""
    return count_all_items(connection).get(queue_name, dict.fromkeys(WorkState, 0))


def count_all_items(connection: Connection) -> dict[str, dict[WorkState, int]]:
    """Return, by queue, how many items there are in each state (0 included)."""
    statement = select(items.c.queue, items.c.state, func.count()).group_by(items.c.queue, items.c.state)
    counts: dict[str, dict[WorkState, int]] = {}
    for queue_name, state, count in connection.execute(statement):
        counts.setdefault(queue_name, dict.fromkeys(WorkState, 0))[WorkState(state)] = count
    return counts


def oldest_waiting_seconds(connection: Connection, queue_name: str, now: datetime) -> float:
    """Return for how long the oldest pending item has been waiting (seconds); 0 when none is, or only for later."""
    statement = select(func.min(items.c.queued_at)).where(
        items.c.queue == queue_name, items.c.state.in_([state.value for state in PENDING])
    )
    queued_at = connection.execute(statement).scalar()
    return 0.0 if queued_at is None else max((now - queued_at).total_seconds(), 0.0)
