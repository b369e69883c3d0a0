"""What a person does with items: look at them, cancel, replay, skip; and the purge of old ones."""

from __future__ import annotations

from collections.abc import Iterable, Mapping
from datetime import datetime
from typing import Any

from sqlalchemy import Connection, RowMapping, delete, insert, select, update

from pacs.errors import NotFound
from pacs.work.items import NewItem, WorkItem
from pacs.work.rules import QueueRules
from pacs.work.signals import StateConflict
from pacs.work.states import ALLOWED, FINISHED, Operation, WorkState
from pacs.work.table import bodies, items, unblock_next

_PURGE_AT_ONCE = 1000


def get(connection: Connection, rules: QueueRules, item_id: int) -> WorkItem:
    """Return an item with its body.

    Raises
    ------
    NotFound : the queue has no such item (any more).
    """
    row = connection.execute(_by_id(rules, item_id)).mappings().one_or_none()
    if row is None:
        raise _not_found(rules, item_id)
    body = connection.execute(select(bodies.c.body).where(bodies.c.work_item_id == item_id)).scalar()
    return WorkItem.from_row(row, body)


def listed(
    connection: Connection, rules: QueueRules, states: Iterable[WorkState], most: int, before_id: int | None
) -> list[WorkItem]:
    """Return up to `most` items in `states`, newest first, without bodies; `before_id` continues a list."""
    statement = (
        select(items)
        .where(items.c.queue == rules.name, items.c.state.in_([state.value for state in states]))
        .order_by(items.c.id.desc())
        .limit(most)
    )
    if before_id is not None:
        statement = statement.where(items.c.id < before_id)
    return [WorkItem.from_row(row) for row in connection.execute(statement).mappings()]


def cancel(connection: Connection, rules: QueueRules, item_id: int, now: datetime) -> WorkState:
    """Withdraw an item; one in work is only asked to stop, and stays in work until its worker does."""
    row = _lock(connection, rules, item_id, Operation.CANCEL)
    if row["state"] == WorkState.WORKING:
        connection.execute(_by_row(row).values(cancel_requested=True))
        return WorkState.WORKING
    _set_aside(connection, row, WorkState.CANCELLED, now)
    return WorkState.CANCELLED


def skip(connection: Connection, rules: QueueRules, item_id: int, now: datetime) -> WorkState:
    """Set a dead letter aside, so that the items behind it go on."""
    row = _lock(connection, rules, item_id, Operation.SKIP)
    _set_aside(connection, row, WorkState.SKIPPED, now)
    return WorkState.SKIPPED


def replay(
    connection: Connection,
    rules: QueueRules,
    item_id: int,
    now: datetime,
    *,
    payload: Mapping[str, Any] | None,
    body: bytes | None,
) -> WorkState:
    """Let an item that ended without being done begin anew, with its own or another payload and body."""
    row = _lock(connection, rules, item_id, Operation.REPLAY)
    values: dict[str, Any] = {}
    if payload is not None:
        values["payload"] = dict(NewItem(payload=payload).payload)
    if body is not None:
        connection.execute(delete(bodies).where(bodies.c.work_item_id == item_id))
        connection.execute(insert(bodies).values(work_item_id=item_id, body=body))
        values["body_bytes"] = len(body)
    connection.execute(
        _by_row(row).values(
            state=WorkState.RECEIVED.value,
            holds_key=row["ordering_key"] is not None,
            attempts=0,
            next_try_at=now,
            queued_at=now,
            finished_at=None,
            cancel_requested=False,
            **values,
        )
    )
    return WorkState.RECEIVED


def purge(connection: Connection, rules: QueueRules, finished_before: datetime) -> int:
    """Delete up to 1000 items that were finished before this moment; dead letters stay. Return how many."""
    old = (
        select(items.c.id)
        .where(
            items.c.queue == rules.name,
            items.c.finished_at < finished_before,
            items.c.state.in_([state.value for state in FINISHED]),
        )
        .limit(_PURGE_AT_ONCE)
        .with_for_update(skip_locked=True)
    )
    ids = connection.execute(old).scalars().all()
    if ids:
        # Their bodies go with them (ON DELETE CASCADE).
        connection.execute(delete(items).where(items.c.id.in_(ids)))
    return len(ids)


def _lock(connection: Connection, rules: QueueRules, item_id: int, operation: Operation) -> RowMapping:
    row = connection.execute(_by_id(rules, item_id).with_for_update()).mappings().one_or_none()
    if row is None:
        raise _not_found(rules, item_id)
    if row["state"] not in ALLOWED[operation]:
        raise StateConflict(
            f"Can't {operation} item {item_id} of queue {rules.name}: it is {row['state']}.",
            remedy=f"Possible when it is {' or '.join(sorted(ALLOWED[operation]))}.",
        )
    return row


def _set_aside(connection: Connection, row: RowMapping, state: WorkState, now: datetime) -> None:
    connection.execute(_by_row(row).values(state=state.value, holds_key=False, finished_at=now))
    unblock_next(connection, row["queue"], row["ordering_key"], now)


def _by_id(rules: QueueRules, item_id: int) -> Any:
    return select(items).where(items.c.id == item_id, items.c.queue == rules.name)


def _by_row(row: RowMapping) -> Any:
    return update(items).where(items.c.id == row["id"])


def _not_found(rules: QueueRules, item_id: int) -> NotFound:
    return NotFound(f"Queue {rules.name} has no item {item_id}.", remedy="It may have been purged.")
