"""The children, the memory and the shelf of 3D models as Prometheus metrics."""

from __future__ import annotations

from collections.abc import Iterable, Iterator

from prometheus_client.core import GaugeMetricFamily, Metric
from prometheus_client.registry import Collector

from pacs.mesh.jobs.memory import MemoryBudget
from pacs.mesh.jobs.shelf import Shelf
from pacs.processes import ProcessPool


class ModelCollector(Collector):
    """Collects `pacs_mesh_processes`, `pacs_mesh_memory_bytes` and `pacs_mesh_shelf_bytes` at each scrape."""

    def __init__(self, making: ProcessPool, looking: ProcessPool, budget: MemoryBudget, shelf: Shelf) -> None:
        self._pools = {"making": making, "looking": looking}
        self._budget = budget
        self._shelf = shelf

    def describe(self) -> Iterable[Metric]:
        """Name the metrics."""
        yield from (_processes(), _memory(), _size())

    def collect(self) -> Iterator[Metric]:
        """Read the figures."""
        processes, memory, size = _processes(), _memory(), _size()
        for task, pool in self._pools.items():
            status = pool.status()
            for state in ("busy", "idle", "waiting"):
                processes.add_metric([task, state], getattr(status, state))
        memory.add_metric(["reserved"], self._budget.reserved_bytes)
        memory.add_metric(["total"], self._budget.total_bytes)
        size.add_metric([], self._shelf.size_bytes())
        yield from (processes, memory, size)


def _processes() -> GaugeMetricFamily:
    text = "Child processes for 3D models, busy and idle, and jobs that wait for one."
    return GaugeMetricFamily("pacs_mesh_processes", text, labels=["task", "state"])


def _memory() -> GaugeMetricFamily:
    text = "Memory for 3D models: given to jobs now, and in total."
    return GaugeMetricFamily("pacs_mesh_memory_bytes", text, labels=["kind"])


def _size() -> GaugeMetricFamily:
    return GaugeMetricFamily("pacs_mesh_shelf_bytes", "Disk space of finished 3D models.", labels=[])
