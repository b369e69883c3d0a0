"""How fast the work queue is: `PYTHONPATH=plugins:tests python tests/benchmarks/work_queue.py [sqlite] [postgresql]`.

Commits are durable (synchronous=FULL, fsync on). Prints items per second, and the processor time that this process
spends on one: the former suffers when the machine is busy with other things.
"""

from __future__ import annotations

import argparse
import sys
import tempfile
import threading
import time
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from datetime import timedelta
from pathlib import Path

from sqlalchemy import text

from fixtures.postgresql import postgresql_cluster
from pacs.database import Database
from pacs.work import NewItem, QueueWorker, WorkQueue
from pacs.work.queue import utc_now

BACKLOG = 100_000
MEASURED = 1000


def main() -> None:
    """Measure the databases named on the command line."""
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("kinds", nargs="*", default=["sqlite", "postgresql"])
    options = parser.parse_args()
    for kind in options.kinds:
        for name, fill in BACKLOGS.items():
            with _database(kind) as database:
                _measure(f"{kind:10} {name:34}", database, fill)
        with _database(kind) as database:
            _measure_threads(f"{kind:10} worker, 4 threads", database)


def _measure(name: str, database: Database, fill: Callable[[WorkQueue], None]) -> None:
    queue = WorkQueue(database, "measured")
    fill(queue)
    _analyze(database)
    figures = {
        "put": _rate(lambda: [queue.put({"n": n}, key=f"new {n}", dedupe=f"d {n}") for n in range(MEASURED)]),
        "put in groups of 50": _rate(lambda: _put_groups(queue)),
        "claim+complete": _rate(lambda: _work(queue)),
        "counts": f"{1000 * _seconds(queue.counts):.1f} ms",
        "oldest": f"{1000 * _seconds(queue.oldest_waiting_seconds):.1f} ms",
    }
    sys.stdout.write(f"{name} " + "  ".join(f"{label} {value:16}" for label, value in figures.items()) + "\n")
    sys.stdout.flush()


def _put_groups(queue: WorkQueue) -> None:
    for group in range(MEASURED // 50):
        queue.put_many([NewItem(payload={"n": n}, key=f"group {group} {n}") for n in range(50)])


def _work(queue: WorkQueue) -> None:
    for _ in range(MEASURED):
        [claim] = queue.claim()
        claim.complete()


def _measure_threads(name: str, database: Database) -> None:
    queue = WorkQueue(database, "measured")
    queue.put_many([NewItem(payload={}, key=f"k{n % 500}") for n in range(MEASURED * 4)])
    stop, left = threading.Event(), [MEASURED * 4]
    lock = threading.Lock()

    def handle(_claim: object) -> None:
        with lock:
            left[0] -= 1
            if left[0] == 0:
                stop.set()

    worker = QueueWorker(queue, handle)
    threads = [threading.Thread(target=worker.run, args=(stop,)) for _ in range(4)]
    began = time.perf_counter()
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()
    sys.stdout.write(f"{name}: {MEASURED * 4 / (time.perf_counter() - began):.1f} items/s\n")


def _rate(run: Callable[[], object]) -> str:
    """Return items per second, and the processor time that this process spends on one (microseconds)."""
    before = time.process_time()
    rate = MEASURED / _seconds(run)
    return f"{rate:.0f}/s {(time.process_time() - before) / MEASURED * 1e6:.0f}us"


def _seconds(run: Callable[[], object]) -> float:
    began = time.perf_counter()
    run()
    return time.perf_counter() - began


def _fill(queue: WorkQueue, make: Callable[[int], NewItem]) -> None:
    for start in range(0, BACKLOG, 5000):
        queue.put_many([make(n) for n in range(start, start + 5000)])


def _ready(queue: WorkQueue) -> None:
    _fill(queue, lambda n: NewItem(payload={"n": n}, key=f"key {n % 20_000}", dedupe=f"old {n}"))


def _waiting(queue: WorkQueue) -> None:
    later = utc_now() + timedelta(days=1)
    _fill(queue, lambda n: NewItem(payload={"n": n}, key=f"key {n}", not_before=later))


def _one_key(queue: WorkQueue) -> None:
    later = utc_now() + timedelta(days=1)
    queue.put({}, key="jammed", not_before=later)
    _fill(queue, lambda n: NewItem(payload={"n": n}, key="jammed", priority=9))


def _in_state(state: str) -> Callable[[WorkQueue], None]:
    def fill(queue: WorkQueue) -> None:
        _fill(queue, lambda n: NewItem(payload={"n": n}, key=f"key {n % 100}", priority=9))
        with queue.database.session(write=True) as session:
            change = "UPDATE work_items SET state = :state, holds_key = false, finished_at = queued_at"
            session.execute(text(change), {"state": state})

    return fill


BACKLOGS: dict[str, Callable[[WorkQueue], None]] = {
    "empty": lambda _queue: None,
    "100 000 ready, 20 000 keys": _ready,
    "100 000 waiting for a retry": _waiting,
    "100 000 behind one key": _one_key,
    "100 000 done": _in_state("done"),
    "100 000 dead letters, 100 keys": _in_state("failed"),
}


def _analyze(database: Database) -> None:
    # What autovacuum does within its minute.
    with database.engine.connect() as connection:
        if not database.is_sqlite:
            connection.execution_options(isolation_level="AUTOCOMMIT").execute(text("VACUUM ANALYZE work_items"))


@contextmanager
def _database(kind: str) -> Iterator[Database]:
    if kind == "sqlite":
        with tempfile.TemporaryDirectory(dir="/var/tmp") as folder, Database(f"sqlite:///{Path(folder)}/x.db") as made:
            made.migrate()
            yield made
    else:
        with postgresql_cluster(fsync=True) as cluster, Database(cluster.create_database()) as made:
            made.migrate()
            yield made


if __name__ == "__main__":
    main()
