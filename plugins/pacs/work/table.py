"""The table as the statements of this package see it, and the one statement that several of them share.

Conditions that a partial index needs are written as text: SQLite uses such an index only for a query with literally
the same condition, and PostgreSQL only for one without a parameter in it.
"""

from __future__ import annotations

from collections.abc import Sequence
from datetime import datetime
from typing import cast

from sqlalchemy import Connection, Table, bindparam, case, literal_column, select, text, update

from pacs.database.types import UtcDateTime
from pacs.work.models import WorkItemBody, WorkItemRecord
from pacs.work.states import PENDING, WorkState

items = cast("Table", WorkItemRecord.__table__)
bodies = cast("Table", WorkItemBody.__table__)

NOW = bindparam("now", type_=UtcDateTime())
QUEUE = items.c.queue == bindparam("queue_name")
IS_RECEIVED = text("work_items.state = 'received'")
IS_WAITING = text("work_items.state = 'waiting'")
IS_WORKING = text("work_items.state = 'working'")

# Where an item goes that nothing but its time holds back.
STATE_BY_TIME = case((items.c.next_try_at <= NOW, WorkState.RECEIVED.value), else_=WorkState.WAITING.value)

_first = items.alias("first_pending")
_UNBLOCK_NEXT = (
    update(items)
    .where(
        items.c.id
        == select(_first.c.id)
        .where(
            _first.c.queue == bindparam("queue_name"),
            _first.c.ordering_key == bindparam("held_key"),
            text("first_pending.holds_key"),
            # In words: a list of parameters would be written anew at every use.
            _first.c.state.in_([literal_column(f"'{state}'") for state in PENDING]),
        )
        .order_by(_first.c.id)
        .limit(literal_column("1"))
        .scalar_subquery(),
        items.c.state == WorkState.BLOCKED.value,
    )
    .values(state=STATE_BY_TIME)
)


def is_sqlite(connection: Connection) -> bool:
    """Tell which database this is."""
    return connection.dialect.name == "sqlite"


def unblock_next(connection: Connection, queue_name: str, key: str | None, now: datetime) -> None:
    """Free the first pending item of `key`, after an item before it was finished. None: nothing to free.

    It is not claimed before all earlier ones are finished: claims look themselves. This only spares them from looking
    at the thousands behind it.
    """
    if key is not None:
        unblock_each(connection, queue_name, [key], now)


def unblock_each(connection: Connection, queue_name: str, keys: Sequence[str], now: datetime) -> None:
    """Free the first pending item of each of `keys`, as `unblock_next`."""
    if keys:
        connection.execute(_UNBLOCK_NEXT, [{"queue_name": queue_name, "held_key": key, "now": now} for key in keys])
