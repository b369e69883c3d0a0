"""Deliveries as Prometheus metrics, by target and rule."""

from __future__ import annotations

from collections.abc import Iterable, Iterator

from prometheus_client.core import GaugeMetricFamily, Metric
from prometheus_client.registry import Collector

from pacs.metrics import Metrics
from pacs.routing.delivery.overview import Overview
from pacs.routing.rules.figures import rule_label


class Figures:
    """What is counted while deliveries are made."""

    def __init__(self, metrics: Metrics) -> None:
        self._ends = metrics.counter(
            "pacs_delivery_ended_total", "Deliveries that came to an end, by how.", ("target", "rule", "state")
        )
        self._faults = metrics.counter(
            "pacs_delivery_faults_total", "Tries that a target or a fault of ours ended.", ("target", "kind")
        )
        self._bytes = metrics.counter("pacs_delivery_bytes_total", "Bytes that targets accepted.", ("target",))

    def count(self, target: str, rule: str, state: str) -> None:
        """Count a delivery that came to an end."""
        self._ends.labels(target, rule_label(rule), state).inc()

    def count_fault(self, target: str, kind: str) -> None:
        """Count a try that failed."""
        self._faults.labels(target, kind).inc()

    def count_bytes(self, target: str, number: int) -> None:
        """Count what a target accepted."""
        self._bytes.labels(target).inc(max(0, number))


class DeliveryCollector(Collector):
    """Collects what is in the ledger at each scrape."""

    def __init__(self, overview: Overview) -> None:
        self._overview = overview

    def describe(self) -> Iterable[Metric]:
        """Name the metrics."""
        return _families().values()

    def collect(self) -> Iterator[Metric]:
        """Read the figures."""
        families = _families()
        for one in self._overview.targets():
            for state, number in sorted(one.counts.items()):
                families["count"].add_metric([one.name, state], number)
            families["oldest"].add_metric([one.name], one.oldest_seconds)
            families["away"].add_metric([one.name], one.away_seconds)
            if one.succeeded_at is not None:
                families["success"].add_metric([one.name], one.succeeded_at.timestamp())
        yield from families.values()


def _families() -> dict[str, GaugeMetricFamily]:
    def family(name: str, text: str, *labels: str) -> GaugeMetricFamily:
        return GaugeMetricFamily(name, text, labels=["target", *labels])

    return {
        "count": family("pacs_deliveries", "Deliveries in the ledger, by state.", "state"),
        "oldest": family("pacs_delivery_oldest_waiting_seconds", "Age of the oldest delivery that is not at its end."),
        "away": family("pacs_delivery_target_away_seconds", "For how long nobody has answered there; 0: it answers."),
        "success": family("pacs_delivery_last_success_timestamp_seconds", "When it last took a study whole."),
    }
