"""No statement of a queue's daily life looks through the whole table, on either database."""

from __future__ import annotations

import re
from collections.abc import Iterator
from contextlib import contextmanager
from datetime import timedelta
from typing import Any

import pytest
from sqlalchemy import event, text

from pacs.database import Database
from pacs.work import NewItem, WorkQueue
from pacs.work.queue import utc_now

pytest_plugins = ("fixtures.postgresql", "fixtures.databases")

type Executed = list[tuple[str, Any]]


@pytest.fixture
def queue(database: Database) -> WorkQueue:
    """Return a queue with thousands of items: done, waiting, blocked, dead letters, ready."""
    filled = WorkQueue(database, "filled")
    later = utc_now() + timedelta(days=1)
    for start in (0, 10_000):
        filled.put_many([NewItem(payload={}, key=f"done {n}", dedupe=f"{n}") for n in range(start, start + 2000)])
        state = "done" if start else "failed"
        with database.transaction() as connection:
            change = "UPDATE work_items SET state = :state, holds_key = false, finished_at = queued_at"
            connection.execute(text(f"{change} WHERE state = 'received'"), {"state": state})
    filled.put_many([NewItem(payload={}, key=f"w {n}", not_before=later) for n in range(2000)])
    filled.put_many([NewItem(payload={}, key="jammed", not_before=later), *[NewItem(payload={}, key="jammed")] * 2000])
    filled.put_many([NewItem(payload={}, key=f"r {n // 10}", priority=n % 3) for n in range(2000)])
    if not database.is_sqlite:
        with database.engine.connect().execution_options(isolation_level="AUTOCOMMIT") as connection:
            connection.execute(text("VACUUM ANALYZE work_items"))
    return filled


@contextmanager
def recorded(database: Database) -> Iterator[Executed]:
    """Record the statements on `work_items` that run inside the block."""
    executed: Executed = []

    def record(_connection: object, _cursor: object, statement: str, parameters: Any, *_rest: object) -> None:
        if "work_items" in statement:
            executed.append((statement, parameters[0] if isinstance(parameters, list) else parameters))

    event.listen(database.engine, "before_cursor_execute", record)
    try:
        yield executed
    finally:
        event.remove(database.engine, "before_cursor_execute", record)


def plan(database: Database, statement: str, parameters: Any) -> str:
    """Return how the database would run the statement."""
    with database.transaction() as connection:
        explain = "EXPLAIN QUERY PLAN" if database.is_sqlite else "EXPLAIN"
        rows = connection.exec_driver_sql(f"{explain} {statement}", parameters).all()
    return "\n".join(str(row[-1]) for row in rows)


def test_daily_statements_use_the_indexes(queue: WorkQueue) -> None:
    """Put, claim, renew, complete, fail, recover, look: each finds its rows by an index."""
    with recorded(queue.database) as executed:
        queue.put({}, key="new", dedupe="new")
        queue.put({}, key="jammed", dedupe="also new")
        for act in ("complete", "renew", "give_back"):
            getattr(queue.claim()[0], act)()
        queue.claim()[0].reject("x")
        queue.claim()[0].retry("x")
        queue.claim()[0].report_progress({"x": 1})
        queue.recover_expired()
        queue.has_something()
    assert len(executed) > 20
    for statement, parameters in executed:
        found = plan(queue.database, statement, parameters)
        assert "Seq Scan on work_items" not in found, f"{statement}\n{found}"
        assert "SCAN work_items" not in found, f"{statement}\n{found}"
        assert not re.search(r"Filter: (?!.*SubPlan).*ordering_key\S* =", found), f"{statement}\n{found}"
        assert "USE TEMP B-TREE FOR ORDER BY" not in found, f"{statement}\n{found}"
