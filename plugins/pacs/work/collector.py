"""The queues and threads as Prometheus metrics."""

from __future__ import annotations

import logging
from collections.abc import Iterable, Iterator, Sequence
from datetime import UTC, datetime

from prometheus_client.core import CounterMetricFamily, GaugeMetricFamily, Metric
from prometheus_client.registry import Collector

from pacs.database import Database
from pacs.errors import DatabaseError
from pacs.work.queue import WorkQueue
from pacs.work.states import WorkState
from pacs.work.statistics import count_all_items, oldest_waiting_seconds
from pacs.work.supervisor import Supervisor

_LOG = logging.getLogger(__name__)


class WorkCollector(Collector):
    """Collects `pacs_work_*` and `pacs_thread_restarts_total` at each scrape.

    Counts are of the whole table, so every process on the database tells the same; attempts and restarts are of this
    process. While the database can't be used the gauges are absent: alert on that.

    Parameters
    ----------
    queues : the queues of this process; those of others appear as soon as they have an item.
    """

    def __init__(self, database: Database, queues: Sequence[WorkQueue], supervisor: Supervisor) -> None:
        self._database = database
        self._queues = queues
        self._supervisor = supervisor

    def describe(self) -> Iterable[Metric]:
        """Name the metrics without asking the database."""
        yield from (_items(), _oldest(), _attempts(), _restarts())

    def collect(self) -> Iterator[Metric]:
        """Read the figures. Called in the thread that serves the scrape."""
        try:
            yield from self._from_database()
        except DatabaseError as error:
            _LOG.warning("No figures about the queues: %s", error)
        attempts = _attempts()
        for queue in self._queues:
            for outcome, count in queue.outcomes.items():
                attempts.add_metric([queue.name, outcome.value], count)
        yield attempts
        restarts = _restarts()
        for thread in self._supervisor.status():
            restarts.add_metric([thread.name], thread.restarts)
        yield restarts

    def _from_database(self) -> list[Metric]:
        items, oldest = _items(), _oldest()
        with self._database.transaction(write=False) as connection:
            counts = count_all_items(connection)
            for name in sorted(counts.keys() | {queue.name for queue in self._queues}):
                for state, count in counts.get(name, dict.fromkeys(WorkState, 0)).items():
                    items.add_metric([name, state.value], count)
                oldest.add_metric([name], oldest_waiting_seconds(connection, name, datetime.now(UTC)))
        return [items, oldest]


def _items() -> GaugeMetricFamily:
    return GaugeMetricFamily("pacs_work_items", "Items of a work queue by state.", labels=["queue", "state"])


def _oldest() -> GaugeMetricFamily:
    text = "Seconds for which the oldest item of a work queue has been waiting."
    return GaugeMetricFamily("pacs_work_oldest_waiting_seconds", text, labels=["queue"])


def _attempts() -> CounterMetricFamily:
    text = "Tries of work items in this process by how they ended."
    return CounterMetricFamily("pacs_work_attempts", text, labels=["queue", "outcome"])


def _restarts() -> CounterMetricFamily:
    text = "Restarts of a thread of this process after it failed."
    return CounterMetricFamily("pacs_thread_restarts", text, labels=["thread"])
