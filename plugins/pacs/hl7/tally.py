"""What the receiver counts, and Prometheus is told of it."""

from __future__ import annotations

from bisect import bisect_left
from collections import Counter
from collections.abc import Iterable, Iterator, Mapping
from typing import Any

from prometheus_client.core import CounterMetricFamily, GaugeMetricFamily, HistogramMetricFamily, Metric
from prometheus_client.registry import Collector

# Seconds: from an inline commit on a good disk to a database that was away.
BOUNDS_SECONDS = (0.001, 0.002, 0.005, 0.01, 0.02, 0.03, 0.05, 0.1, 0.25, 1.0, 5.0, 15.0)
_JOINED = "\t"


class Tally:
    """The receiver's own counts since it started.

    Attributes
    ----------
    has_changed : since the last `snapshot`.
    """

    def __init__(self) -> None:
        self.has_changed = True
        self._connections = 0
        self._counts: Counter[tuple[str, ...]] = Counter()
        self._seconds = 0.0
        self._buckets = [0] * (len(BOUNDS_SECONDS) + 1)

    def answered(self, peer: str, code: str, seconds: float) -> None:
        """Count a message: AA, AE or AR, and the time from its last byte to its answer."""
        self._counts["messages", peer, code] += 1
        self._seconds += seconds
        self._buckets[bisect_left(BOUNDS_SECONDS, seconds)] += 1
        self.has_changed = True

    def count(self, *what: str, by: int = 1) -> None:
        """Count something else: ("repeated", peer), ("refused", reason), ("junk",)."""
        self._counts[what] += by
        self.has_changed = True

    def connected(self, connections: int) -> None:
        """Note how many connections there are."""
        self._connections = connections
        self.has_changed = True

    def snapshot(self) -> dict[str, Any]:
        """Return all of it as a JSON object."""
        self.has_changed = False
        return {
            "connections": self._connections,
            "counts": {_JOINED.join(what): count for what, count in self._counts.items()},
            "seconds": self._seconds,
            "buckets": self._buckets,
        }


class TallyCollector(Collector):
    """The counts of the running receiver and of those before it, as `pacs_hl7_*`."""

    def __init__(self) -> None:
        self._now: Mapping[str, Any] = Tally().snapshot()
        self._before: Mapping[str, Any] = self._now

    def update(self, snapshot: Mapping[str, Any]) -> None:
        """Take over the running receiver's counts."""
        self._now = snapshot

    def ended(self) -> None:
        """Keep the counts of a receiver that has ended: another begins from zero."""
        self._before, self._now = self._sum(), Tally().snapshot()

    def describe(self) -> Iterable[Metric]:
        """Name the metrics."""
        return self.collect()

    def collect(self) -> Iterator[Metric]:
        """Give the figures. Called in the thread that serves the scrape."""
        total = self._sum()
        yield GaugeMetricFamily(
            "pacs_hl7_connections", "Open connections of HL7 senders.", value=self._now["connections"]
        )
        yield from _families(total["counts"])
        cumulated, buckets = 0, []
        for bound, count in zip((*map(str, BOUNDS_SECONDS), "+Inf"), total["buckets"], strict=True):
            cumulated += count
            buckets.append((bound, cumulated))
        yield HistogramMetricFamily(
            "pacs_hl7_ack_seconds",
            "Time from the last byte of an HL7 message to its acknowledgment, in seconds.",
            buckets=buckets,
            sum_value=total["seconds"],
        )

    def _sum(self) -> dict[str, Any]:
        before, now = self._before, self._now
        return {
            "connections": 0,
            "counts": Counter(before["counts"]) + Counter(now["counts"]),
            "seconds": before["seconds"] + now["seconds"],
            "buckets": [sum(pair) for pair in zip(before["buckets"], now["buckets"], strict=True)],
        }


def _families(counts: Mapping[str, int]) -> list[CounterMetricFamily]:
    families = {
        "messages": CounterMetricFamily(
            "pacs_hl7_messages", "HL7 messages answered, by peer and acknowledgment.", labels=["peer", "code"]
        ),
        "repeated": CounterMetricFamily(
            "pacs_hl7_repeated", "HL7 messages that came again and were answered as before.", labels=["peer"]
        ),
        "refused": CounterMetricFamily(
            "pacs_hl7_connections_refused", "Connections of HL7 senders ended by us, by reason.", labels=["reason"]
        ),
        "junk": CounterMetricFamily("pacs_hl7_junk_bytes", "Bytes from HL7 senders outside of any message.", labels=[]),
    }
    for what, count in counts.items():
        name, *labels = what.split(_JOINED)
        families[name].add_metric(labels, count)
    return list(families.values())
