"""Putting items: many in one transaction, in order, each at most once per dedupe value."""

from __future__ import annotations

from collections.abc import Iterable, Sequence
from datetime import datetime
from typing import Any

from sqlalchemy import Connection, bindparam, insert, select, text
from sqlalchemy.dialects import postgresql, sqlite

from pacs.errors import DatabaseError
from pacs.work.items import NewItem, PutResult
from pacs.work.models import WorkItemBody
from pacs.work.rules import QueueRules
from pacs.work.states import WorkState
from pacs.work.table import is_sqlite, items, unblock_next

_DEDUPE = [items.c.queue, items.c.dedupe_key]
_INSERT_SQLITE = sqlite.insert(items).on_conflict_do_nothing(index_elements=_DEDUPE)
_INSERT_POSTGRESQL = postgresql.insert(items).on_conflict_do_nothing(index_elements=_DEDUPE)
_BY_DEDUPE = select(items.c.dedupe_key, items.c.id).where(
    items.c.queue == bindparam("queue_name"), items.c.dedupe_key.in_(bindparam("dedupe_keys", expanding=True))
)
_LAST_ID_SQLITE = text("SELECT seq FROM sqlite_sequence WHERE name = 'work_items'")
_IDS_POSTGRESQL = text("SELECT nextval('work_items_id_seq') FROM generate_series(1, :count)")
_HELD_SQLITE = (
    select(items.c.ordering_key)
    .distinct()
    .where(
        items.c.queue == bindparam("queue_name"),
        text("holds_key"),
        items.c.ordering_key.in_(bindparam("ordering_keys", expanding=True)),
    )
)
# The newest holder of each key is locked until the caller commits: it can't finish in between, which would leave
# nobody to unblock the new item. One that is being finished right now is skipped: then the new item isn't blocked.
_HELD_POSTGRESQL = text(
    "SELECT wanted.ordering_key FROM unnest(CAST(:ordering_keys AS varchar[])) AS wanted(ordering_key)"
    " CROSS JOIN LATERAL (SELECT held.id FROM work_items AS held"
    " WHERE held.queue = :queue_name AND held.ordering_key = wanted.ordering_key AND held.holds_key"
    " ORDER BY held.id DESC LIMIT 1 FOR SHARE SKIP LOCKED) AS holder"
)
_MOST_TRIES = 3


def put(connection: Connection, rules: QueueRules, new_items: Sequence[NewItem], now: datetime) -> list[PutResult]:
    """Insert `new_items` in their order and return, in the same order, which item stands for each.

    Raises
    ------
    DatabaseError : an item with the same dedupe value was purged again and again while this ran.
    """
    if not new_items:
        return []
    ids = _next_ids(connection, len(new_items))
    held = _held_keys(connection, rules, {item.key for item in new_items if item.key is not None})
    records = [_record(rules, item, item_id, held, now) for item, item_id in zip(new_items, ids, strict=True)]
    results = _insert(connection, rules, records)
    _insert_bodies(connection, new_items, results)
    # An item may have been held back by one that turned out to be a duplicate.
    for key in {item.key for item, result in zip(new_items, results, strict=True) if item.key and not result.is_new}:
        unblock_next(connection, rules.name, key, now)
    return results


def _next_ids(connection: Connection, count: int) -> list[int]:
    """Reserve `count` identifiers: known beforehand, the order of a batch is certain and its insert is one round."""
    if is_sqlite(connection):
        last = connection.execute(_LAST_ID_SQLITE).scalar() or 0
        return list(range(last + 1, last + 1 + count))
    return sorted(connection.execute(_IDS_POSTGRESQL, {"count": count}).scalars())


def _held_keys(connection: Connection, rules: QueueRules, keys: set[str]) -> set[str]:
    """Return those of `keys` that an unfinished item holds."""
    if not keys:
        return set()
    statement = _HELD_SQLITE if is_sqlite(connection) else _HELD_POSTGRESQL
    return set(connection.execute(statement, {"queue_name": rules.name, "ordering_keys": sorted(keys)}).scalars())


def _record(rules: QueueRules, item: NewItem, item_id: int, held: set[str], now: datetime) -> dict[str, Any]:
    """Return the row for `item` and add its key to `held`."""
    start = max(item.not_before or now, now)
    state = WorkState.RECEIVED if start <= now else WorkState.WAITING
    if item.key is not None:
        state = WorkState.BLOCKED if item.key in held else state
        held.add(item.key)
    return {
        "id": item_id,
        "queue": rules.name,
        "ordering_key": item.key,
        "dedupe_key": item.dedupe,
        "precedence": -item.priority,
        "state": state.value,
        "holds_key": item.key is not None,
        "payload": dict(item.payload),
        "body_bytes": None if item.body is None else len(item.body),
        "attempts": 0,
        "claim_token": 0,
        "next_try_at": start,
        "cancel_requested": False,
        "received_at": now,
        "queued_at": start,
    }


def _insert(connection: Connection, rules: QueueRules, records: list[dict[str, Any]]) -> list[PutResult]:
    statement = _INSERT_SQLITE if is_sqlite(connection) else _INSERT_POSTGRESQL
    missing = records
    for _ in range(_MOST_TRIES):
        connection.execute(statement, missing)
        existing = _ids_by_dedupe(connection, rules, (record["dedupe_key"] for record in records))
        missing = [record for record in records if record["dedupe_key"] not in existing | {None: 0}]
        if not missing:
            return [_result(record, existing) for record in records]
    raise DatabaseError(f"An item of queue {rules.name} could not be put: its double came and went.")


def _ids_by_dedupe(
    connection: Connection, rules: QueueRules, dedupe_keys: Iterable[str | None]
) -> dict[str | None, int]:
    wanted = sorted({key for key in dedupe_keys if key is not None})
    if not wanted:
        return {}
    rows = connection.execute(_BY_DEDUPE, {"queue_name": rules.name, "dedupe_keys": wanted})
    return {row.dedupe_key: row.id for row in rows}


def _result(record: dict[str, Any], existing: dict[str | None, int]) -> PutResult:
    item_id = existing.get(record["dedupe_key"], record["id"])
    return PutResult(item_id, is_new=item_id == record["id"])


def _insert_bodies(connection: Connection, new_items: Sequence[NewItem], results: Sequence[PutResult]) -> None:
    bodies = [
        {"work_item_id": result.item_id, "body": item.body}
        for item, result in zip(new_items, results, strict=True)
        if result.is_new and item.body is not None
    ]
    if bodies:
        connection.execute(insert(WorkItemBody), bodies)
