"""The pool of decoding children as Prometheus metrics."""

from __future__ import annotations

from collections.abc import Iterable, Iterator

from prometheus_client.core import GaugeMetricFamily, Metric
from prometheus_client.registry import Collector

from pacs.processes import ProcessPool


class PoolCollector(Collector):
    """Collects `pacs_decoding_processes` at each scrape."""

    def __init__(self, pool: ProcessPool) -> None:
        self._pool = pool

    def describe(self) -> Iterable[Metric]:
        """Name the metrics."""
        yield _processes()

    def collect(self) -> Iterator[Metric]:
        """Read the figures."""
        status, family = self._pool.status(), _processes()
        for state in ("busy", "idle", "waiting"):
            family.add_metric([state], getattr(status, state))
        yield family


def _processes() -> GaugeMetricFamily:
    text = "Child processes that decode images, busy and idle, and images that wait for one."
    return GaugeMetricFamily("pacs_decoding_processes", text, labels=["state"])
