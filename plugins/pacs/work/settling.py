"""Settling a claim: done, tried again, given up, given back. Refused when the claim is no longer in force."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from datetime import datetime, timedelta
from enum import StrEnum
from typing import Any

from sqlalchemy import Connection, RowMapping, bindparam, select, update

from pacs.database.types import JsonDocument, UtcDateTime
from pacs.work.rules import QueueRules
from pacs.work.signals import LeaseLost
from pacs.work.states import WorkState
from pacs.work.table import IS_WORKING, NOW, items, unblock_each, unblock_next

ERROR_LENGTH = 4000


class Outcome(StrEnum):
    """How one try ended."""

    DONE = "done"
    RETRIED = "retried"
    FAILED = "failed"
    CANCELLED = "cancelled"
    GIVEN_BACK = "given_back"
    EXPIRED = "expired"
    LEASE_LOST = "lease_lost"


@dataclass(frozen=True)
class Ticket:
    """Names one claim: the item and the fencing token, which no later claim of the item shares."""

    item_id: int
    token: int


_IN_FORCE = (items.c.id == bindparam("item_id"), items.c.claim_token == bindparam("token"), IS_WORKING)
_NO_LEASE: dict[str, Any] = {"claimed_by": None, "lease_until": None}
_COMPLETE_ALL = (
    update(items)
    .where(*_IN_FORCE)
    .values(
        state=WorkState.DONE.value,
        holds_key=False,
        finished_at=NOW,
        last_error=None,
        cancel_requested=False,
        result=bindparam("outcome", type_=JsonDocument),
        **_NO_LEASE,
    )
)
_COMPLETE = _COMPLETE_ALL.returning(items.c.ordering_key)
_RENEW = (
    update(items)
    .where(*_IN_FORCE)
    .values(lease_until=bindparam("lease_end", type_=UtcDateTime()))
    .returning(items.c.cancel_requested)
)
_PROGRESS = (
    update(items)
    .where(*_IN_FORCE)
    .values(progress=bindparam("document", type_=JsonDocument))
    .returning(items.c.cancel_requested)
)
_LOCK = select(*items.c).where(*_IN_FORCE).with_for_update()


def complete(
    connection: Connection, rules: QueueRules, ticket: Ticket, result: Mapping[str, Any] | None, now: datetime
) -> None:
    """Mark the item done.

    Raises
    ------
    LeaseLost : as all functions here, when the claim is not in force any more. Nothing is changed then.
    """
    outcome = None if result is None else dict(result)
    row = connection.execute(_COMPLETE, {**_parameters(ticket), "outcome": outcome, "now": now}).one_or_none()
    if row is None:
        raise _lost(rules, ticket)
    unblock_next(connection, rules.name, row.ordering_key, now)


def complete_all(
    connection: Connection, rules: QueueRules, tickets: Mapping[Ticket, str | None], now: datetime
) -> None:
    """Mark items done, of each of which the key is given, in as many rounds as one item takes.

    Raises
    ------
    LeaseLost : of one of them at least. Others are changed then: the transaction is to be rolled back.
    """
    rows = [{**_parameters(ticket), "outcome": None, "now": now} for ticket in tickets]
    if connection.execute(_COMPLETE_ALL, rows).rowcount != len(rows):
        raise LeaseLost(
            f"One of {len(rows)} items of queue {rules.name} is no longer held.",
            remedy="What was done is rolled back; those that are held are worked one by one.",
        )
    unblock_each(connection, rules.name, [key for key in tickets.values() if key is not None], now)


def renew(connection: Connection, rules: QueueRules, ticket: Ticket, now: datetime) -> bool:
    """Lengthen the lease; tell whether the item was asked to be cancelled."""
    row = connection.execute(_RENEW, {**_parameters(ticket), "lease_end": now + rules.lease}).one_or_none()
    if row is None:
        raise _lost(rules, ticket)
    return bool(row.cancel_requested)


def store_progress(connection: Connection, rules: QueueRules, ticket: Ticket, progress: Mapping[str, Any]) -> bool:
    """Store how far the item is; tell whether it was asked to be cancelled."""
    row = connection.execute(_PROGRESS, {**_parameters(ticket), "document": dict(progress)}).one_or_none()
    if row is None:
        raise _lost(rules, ticket)
    return bool(row.cancel_requested)


def lock(connection: Connection, rules: QueueRules, ticket: Ticket) -> RowMapping:
    """Return the claim's row, locked, for `fail`, `reject` or `give_back`."""
    row = connection.execute(_LOCK, _parameters(ticket)).mappings().one_or_none()
    if row is None:
        raise _lost(rules, ticket)
    return row


def fail(
    connection: Connection,
    rules: QueueRules,
    row: RowMapping,
    reason: str,
    now: datetime,
    *,
    after_seconds: float | None = None,
) -> Outcome:
    """Let the item of the locked `row` wait for its next try, or give it up as the policy says."""
    if row["cancel_requested"]:
        return _finish(connection, row, WorkState.CANCELLED, now)
    if rules.policy.gives_up(row["attempts"], row["queued_at"], now):
        return reject(connection, rules, row, f"Given up after {row['attempts']} tries: {reason}", now)
    delay = rules.policy.delay_seconds(row["attempts"]) if after_seconds is None else max(after_seconds, 0.0)
    next_try_at = now + timedelta(seconds=delay)
    state = WorkState.WAITING if next_try_at > now else WorkState.RECEIVED
    _update(connection, row, state=state, next_try_at=next_try_at, last_error=reason[:ERROR_LENGTH])
    return Outcome.RETRIED


def reject(connection: Connection, rules: QueueRules, row: RowMapping, reason: str, now: datetime) -> Outcome:
    """Make the item of the locked `row` a dead letter."""
    if row["cancel_requested"]:
        return _finish(connection, row, WorkState.CANCELLED, now)
    keeps_key = rules.dead_letter_blocks_key and row["ordering_key"] is not None
    return _finish(connection, row, WorkState.FAILED, now, last_error=reason[:ERROR_LENGTH], holds_key=keeps_key)


def give_back(connection: Connection, row: RowMapping, now: datetime) -> Outcome:
    """Let the item of the locked `row` wait again as if it had not been claimed."""
    if row["cancel_requested"]:
        return _finish(connection, row, WorkState.CANCELLED, now)
    _update(connection, row, state=WorkState.RECEIVED, attempts=row["attempts"] - 1)
    return Outcome.GIVEN_BACK


def _finish(connection: Connection, row: RowMapping, state: WorkState, now: datetime, **values: object) -> Outcome:
    values = {"holds_key": False, "finished_at": now, **values}
    _update(connection, row, state=state, **values)
    if not values["holds_key"]:
        unblock_next(connection, row["queue"], row["ordering_key"], now)
    return Outcome(state.value)


def _update(connection: Connection, row: RowMapping, *, state: WorkState, **values: object) -> None:
    statement = update(items).where(items.c.id == row["id"]).values(state=state.value, **_NO_LEASE, **values)
    connection.execute(statement)


def _parameters(ticket: Ticket) -> dict[str, Any]:
    return {"item_id": ticket.item_id, "token": ticket.token}


def _lost(rules: QueueRules, ticket: Ticket) -> LeaseLost:
    return LeaseLost(
        f"Item {ticket.item_id} of queue {rules.name} is no longer held by claim {ticket.token}.",
        remedy="Its lease ran out and another worker has it, or it was settled already. What was done may be redone.",
    )
