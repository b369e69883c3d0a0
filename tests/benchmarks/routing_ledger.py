"""What a ledger of a million deliveries costs: `PYTHONPATH=plugins:tests python tests/benchmarks/routing_ledger.py`.

A year of twenty targets, nearly all of it proven, 5,000 deliveries under way at one that is away, 500 dead letters.
What the page Routing asks for is asked as the page does: with its background count made once before. Wall time, and in
brackets processor time of this process: with SQLite that is all there is, also on a machine that does other things.
"""

from __future__ import annotations

import argparse
import statistics
import tempfile
import time
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from pathlib import Path

from sqlalchemy import text

from fixtures.postgresql import postgresql_cluster
from pacs.database import Database
from pacs.routing.delivery.overview import UNDER_WAY, Overview
from pacs.routing.delivery.states import DeliveryState

ROWS = 1_000_000
_AT_ONCE = 20_000
_NUMBERS = {
    "sqlite": "WITH RECURSIVE numbers(n) AS (SELECT :first UNION ALL SELECT n + 1 FROM numbers WHERE n < :last)",
    "postgresql": "WITH numbers AS (SELECT generate_series(CAST(:first AS integer), CAST(:last AS integer)) AS n)",
}
# Some 400 days ago to now, in equal steps.
_MOMENT = {
    "sqlite": "strftime('%Y-%m-%d %H\\:%M\\:%f000', 'now', '-' || ((:rows - n) * 34.56) || ' seconds')",
    "postgresql": "now() - (:rows - n) * interval '34.56 seconds'",
}
_FILL = """
INSERT INTO deliveries (orthanc_study_id, study_instance_uid, target, rule, reason, urgency, state, transfer, changes,
    alternatives, has_alternatives, instances, sent, refused, confirmed, sent_bytes, seconds, ordered_at, changed_at,
    sent_at, proven_at)
{numbers}
SELECT 'study-' || n, '1.2.826.' || n, {target}, 'A rule of some length', 'study stable', 0, {state},
    '{{"syntax"\\: null, "quality"\\: null}}', '{{}}', '[]', {no}, 300, 300, 0, 300, 150000000, 12.5,
    {at}, {at}, {at}, {at}
FROM numbers
"""
_STATE = """CASE WHEN n > :rows - 5000 THEN 'waiting' WHEN n % 2000 = 0 THEN 'failed'
    WHEN n % 50 = 0 THEN 'sent' ELSE 'proven' END"""
_TARGET = "CASE WHEN n > :rows - 5000 THEN 'away' WHEN n = 77 THEN 'rare' ELSE 'target-' || (n % 20) END"


def main() -> None:
    """Print what each question takes on both databases."""
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--rows", type=int, default=ROWS)
    parser.add_argument("kinds", nargs="*", default=["sqlite", "postgresql"])
    options = parser.parse_args()
    for kind in options.kinds:
        with _filled(kind, options.rows) as database:
            overview = Overview(database)
            began = time.perf_counter()
            overview.targets()
            print(f"{kind}, {options.rows} deliveries: first look {(time.perf_counter() - began) * 1e3:.0f} ms")
            for name, ask in _questions(overview, options.rows).items():
                wall_ms, processor_ms = _medians_ms(ask)
                print(f"  {name}: {wall_ms:.1f} ms ({processor_ms:.1f} ms)")


def _questions(overview: Overview, rows: int) -> dict[str, Callable[[], object]]:
    return {
        "queues by target": overview.targets,
        "newest": lambda: overview.listed(most=51),
        "dead letters": lambda: overview.listed(states=[DeliveryState.FAILED], most=51),
        "older dead letters": lambda: overview.listed(states=[DeliveryState.FAILED], most=51, before_id=rows // 2),
        "under way": lambda: overview.listed(states=UNDER_WAY, most=51),
        "one target": lambda: overview.listed(target="target-7", most=51),
        "one target, one delivery": lambda: overview.listed(target="rare", most=51),
        "one target, done": lambda: overview.listed(
            target="target-7", states=[DeliveryState.PROVEN, DeliveryState.SENT], most=51
        ),
        "set aside, of which there is none": lambda: overview.listed(states=[DeliveryState.SKIPPED], most=51),
    }


def _medians_ms(ask: Callable[[], object]) -> tuple[float, float]:
    wall, processor = [], []
    for _ in range(15):
        began, busy = time.perf_counter(), time.process_time()
        ask()
        wall.append((time.perf_counter() - began) * 1e3)
        processor.append((time.process_time() - busy) * 1e3)
    return statistics.median(wall), statistics.median(processor)


@contextmanager
def _filled(kind: str, rows: int) -> Iterator[Database]:
    with _url(kind) as url, Database(url) as database:
        database.migrate()
        fill = _FILL.format(
            numbers=_NUMBERS[kind],
            at=_MOMENT[kind],
            state=_STATE,
            target=_TARGET,
            no="false" if kind == "postgresql" else "0",
        )
        for first in range(1, rows + 1, _AT_ONCE):
            with database.session(write=True) as session:
                session.execute(text(fill), {"rows": rows, "first": first, "last": min(rows, first + _AT_ONCE - 1)})
        if kind == "postgresql":
            with database.session(write=True) as session:
                session.execute(text("ANALYZE deliveries"))
        yield database


@contextmanager
def _url(kind: str) -> Iterator[str]:
    if kind == "sqlite":
        with tempfile.TemporaryDirectory() as folder:
            yield f"sqlite:///{Path(folder) / 'pacs.db'}"
    else:
        with postgresql_cluster() as cluster:
            yield cluster.create_database()


if __name__ == "__main__":
    main()
