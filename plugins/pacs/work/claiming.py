"""Claiming: which items a worker gets, by row, so that no two workers ever share one."""

from __future__ import annotations

import functools
import secrets
from collections.abc import Sequence
from datetime import datetime, timedelta
from typing import Any

from sqlalchemy import (
    ColumnElement,
    Connection,
    RowMapping,
    ScalarSelect,
    TextClause,
    and_,
    bindparam,
    exists,
    func,
    literal_column,
    not_,
    or_,
    select,
    text,
    update,
)
from sqlalchemy.sql.dml import ReturningUpdate

from pacs.database.types import UtcDateTime
from pacs.work.items import WorkItem
from pacs.work.rules import QueueRules, worker_name
from pacs.work.states import WorkState
from pacs.work.table import IS_RECEIVED, IS_WAITING, IS_WORKING, NOW, QUEUE, bodies, items

# Limits stand in the statements as numbers: for a parameter PostgreSQL would guess a tenth of the table, and read it.
_PROMOTE_AT_MOST: ColumnElement[int] = literal_column("1000")
_EXPIRE_AT_MOST: ColumnElement[int] = literal_column("100")
# A lease further ahead than this many leases was given before the clock was set back.
_IMPLAUSIBLE_LEASES = 10

_earlier = items.alias("earlier")
_in_work = items.alias("in_work")
_IS_FIRST_OF_KEY = or_(
    items.c.ordering_key.is_(None),
    and_(
        not_(
            exists(_earlier.c.id).where(
                _earlier.c.queue == items.c.queue,
                _earlier.c.ordering_key == items.c.ordering_key,
                text("earlier.holds_key"),
                _earlier.c.id < items.c.id,
            )
        ),
        # An item put by a transaction that committed late may come before the one in work.
        not_(
            exists(_in_work.c.id).where(
                _in_work.c.queue == items.c.queue,
                _in_work.c.ordering_key == items.c.ordering_key,
                text("in_work.state = 'working'"),
            )
        ),
    ),
)
_DUE = (
    select(items.c.id)
    .where(QUEUE, IS_WAITING, items.c.next_try_at <= NOW)
    .order_by(items.c.next_try_at)
    .limit(_PROMOTE_AT_MOST)
    .with_for_update(skip_locked=True)
)
# Apart from the look, which rarely finds anything: joined to it, PostgreSQL expects all 1000 and reads the table.
_PROMOTE = (
    update(items).where(items.c.id.in_(bindparam("item_ids", expanding=True))).values(state=WorkState.RECEIVED.value)
)
_lease_is_over = or_(items.c.lease_until < NOW, items.c.lease_until > bindparam("implausible", type_=UtcDateTime()))
_EXPIRED = (
    select(*items.c).where(QUEUE, IS_WORKING, _lease_is_over).limit(_EXPIRE_AT_MOST).with_for_update(skip_locked=True)
)


def _first(*conditions: ColumnElement[bool] | TextClause, order: Sequence[ColumnElement[Any]]) -> ScalarSelect[int]:
    """Return the first item by an index's own order: a mere EXISTS lets PostgreSQL bet on finding one by reading on."""
    return select(items.c.id).where(QUEUE, *conditions).order_by(*order).limit(literal_column("1")).scalar_subquery()


_by_precedence = (items.c.precedence, items.c.id)
_SOMETHING = select(
    func.coalesce(
        _first(IS_RECEIVED, order=_by_precedence),
        _first(IS_WAITING, items.c.next_try_at <= NOW, order=[items.c.next_try_at]),
        _first(IS_WORKING, _lease_is_over, order=_by_precedence),
    )
)
_BODIES = select(bodies.c.work_item_id, bodies.c.body).where(
    bodies.c.work_item_id.in_(bindparam("item_ids", expanding=True))
)


@functools.cache
def _claim_statement(most: int) -> ReturningUpdate[Any]:
    candidates = (
        select(items.c.id)
        .where(QUEUE, IS_RECEIVED, _IS_FIRST_OF_KEY)
        .order_by(items.c.precedence, items.c.id)
        .limit(literal_column(str(most)))
        .with_for_update(skip_locked=True, of=items)
        .cte("candidates")
    )
    return (
        update(items)
        .where(items.c.id == candidates.c.id)
        .values(
            state=WorkState.WORKING.value,
            attempts=items.c.attempts + 1,
            claim_token=bindparam("token"),
            claimed_by=bindparam("worker"),
            lease_until=bindparam("lease_end", type_=UtcDateTime()),
            started_at=NOW,
        )
        .returning(*items.c)
    )


def claim(connection: Connection, rules: QueueRules, most: int, now: datetime) -> list[tuple[WorkItem, int]]:
    """Claim up to `most` items: highest priority first, then oldest; never two of a key.

    Returns
    -------
    Items with their bodies, each with its fencing token.

    Raises
    ------
    sqlalchemy.exc.IntegrityError : another worker took an item of the same key at the same moment (PostgreSQL).
    """
    parameters = {
        "queue_name": rules.name,
        "worker": worker_name(),
        # Random, not counted: no two claims have the same, not even after a restore from the backup.
        "token": secrets.randbits(62),
        "lease_end": now + rules.lease,
        "now": now,
    }
    rows = connection.execute(_claim_statement(most), parameters).mappings().all()
    with_body = [row["id"] for row in rows if row["body_bytes"] is not None]
    found: dict[int, bytes] = {}
    if with_body:
        found = {row.work_item_id: row.body for row in connection.execute(_BODIES, {"item_ids": with_body})}
    ordered = sorted(rows, key=lambda row: (row["precedence"], row["id"]))
    return [(WorkItem.from_row(row, found.get(row["id"])), row["claim_token"]) for row in ordered]


def promote_due(connection: Connection, rules: QueueRules, now: datetime) -> int:
    """Make waiting items claimable whose time has come, and return how many."""
    due = connection.execute(_DUE, {"queue_name": rules.name, "now": now}).scalars().all()
    if due:
        connection.execute(_PROMOTE, {"item_ids": due})
    return len(due)


def lock_expired(connection: Connection, rules: QueueRules, now: datetime) -> list[RowMapping]:
    """Return, locked, the rows in work whose worker let the lease run out: it died, hangs, or lost the database."""
    parameters = {"queue_name": rules.name, "now": now, "implausible": _implausible(rules, now)}
    return list(connection.execute(_EXPIRED, parameters).mappings())


def has_something(connection: Connection, rules: QueueRules, now: datetime) -> bool:
    """Tell, without any lock, whether a claim could find something now."""
    parameters = {"queue_name": rules.name, "now": now, "implausible": _implausible(rules, now)}
    return connection.execute(_SOMETHING, parameters).scalar() is not None


def _implausible(rules: QueueRules, now: datetime) -> datetime:
    return now + timedelta(seconds=rules.lease_seconds * _IMPLAUSIBLE_LEASES)
