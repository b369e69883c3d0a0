"""How fast what was queued goes out: `PYTHONPATH=plugins:tests python tests/benchmarks/hl7_outbox.py [--messages N]`.

Messages are queued while the HIS is away; then it is back and acknowledges at once. Every message is checked to have
come, each patient's in order. `tests/soak/test_hl7_outbox_soak.py` does it with 100,000.
"""

from __future__ import annotations

import argparse
import tempfile
import time
from collections.abc import Callable, Iterator
from contextlib import contextmanager

from fixtures.hospital_system import hospital_system
from fixtures.outboxes import accessions, fill, in_order_within_patients, sending
from fixtures.ports import free_port
from fixtures.postgresql import postgresql_cluster
from pacs.database import Database
from pacs.work import WorkState


def main() -> None:
    """Measure on both databases and print the table."""
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--messages", type=int, default=5000)
    parser.add_argument("--connections", type=int, default=1)
    options = parser.parse_args()
    print("| outbox | queued/s | sent and acknowledged/s |\n|---|---|---|")
    for name, start in (("SQLite", _sqlite), ("PostgreSQL", _postgresql)):
        with start() as url, Database(url) as database:
            database.migrate()
            queued, sent = _measure(database, options.messages, options.connections)
        print(f"| {name}, {options.messages} messages | {queued:.0f} | {sent:.0f} |", flush=True)


def _measure(database: Database, count: int, connections: int) -> tuple[float, float]:
    port = free_port()
    outbox = sending(database, port, Connections=connections)
    began = time.perf_counter()
    fill(outbox, count)
    queued = count / (time.perf_counter() - began)
    with hospital_system(port=port) as system:
        began = time.perf_counter()
        with outbox.running():
            while len(system.received) < count:
                time.sleep(0.01)
            sent = count / (time.perf_counter() - began)
            _wait_for(lambda: outbox.counts() == {WorkState.DONE: count})
    assert len(set(accessions(system))) == len(system.received) == count, "messages are missing or came twice"
    assert in_order_within_patients(system), "messages are out of order"
    return queued, sent


def _wait_for(condition: Callable[[], bool]) -> None:
    while not condition():
        time.sleep(0.05)


@contextmanager
def _sqlite() -> Iterator[str]:
    # Not in memory: a commit must reach a disk.
    with tempfile.TemporaryDirectory(dir="/checkout") as folder:
        yield f"sqlite:///{folder}/pacs.db"


@contextmanager
def _postgresql() -> Iterator[str]:
    with postgresql_cluster(fsync=True) as cluster:
        yield cluster.create_database()


if __name__ == "__main__":
    main()
