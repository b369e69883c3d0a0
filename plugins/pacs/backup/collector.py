"""The backups as Prometheus metrics."""

from __future__ import annotations

from collections.abc import Iterable, Iterator

from prometheus_client.core import GaugeMetricFamily, Metric
from prometheus_client.registry import Collector

from pacs.backup.overview import Backups, Overview, Task

_OUTCOMES = ("done", "running", "failed", "damage")


class BackupCollector(Collector):
    """Collects `pacs_backup_*` at each scrape, from the provisioning on; nothing where backups were never set up."""

    def __init__(self, backups: Backups) -> None:
        self._backups = backups

    def describe(self) -> Iterable[Metric]:
        """Name the metrics without reading anything."""
        return _families().values()

    def collect(self) -> Iterator[Metric]:
        """Read the status files. Called in the thread that serves the scrape."""
        families, overview = _families(), self._backups.overview()
        for task in (*overview.tasks, *(one for place in overview.places for one in place.tasks)):
            _add(families, task)
        _add_drill(families["drill_good"], overview)
        for place in overview.places:
            families["stored"].add_metric([place.name], place.stored_bytes)
        for task in overview.tasks:
            if task.kind == "fixity":
                families["broken"].add_metric([], float(task.facts.get("broken", 0)))
            if task.kind == "consistency":
                families["missing"].add_metric([], float(task.facts.get("missing", 0)))
            if task.kind == "files":
                families["waiting"].add_metric([], float(task.facts.get("waiting_bytes", 0)))
        yield from families.values()


def _add(families: dict[str, GaugeMetricFamily], task: Task) -> None:
    labels = [task.place, task.kind]
    if task.last_success is not None:
        families["last"].add_metric(labels, task.last_success.timestamp())
    if task.watched_since is not None:
        families["watched"].add_metric(labels, task.watched_since.timestamp())
    for outcome in _OUTCOMES:
        # While it runs, the one before counts as well: what runs each quarter of a minute would else never fail long.
        shown = {task.outcome, task.facts.get("ended_as")}
        families["outcome"].add_metric([*labels, outcome], float(outcome in shown))
    families["seconds"].add_metric(labels, float(task.facts.get("last_seconds", 0)))
    families["late"].add_metric(labels, float(task.is_late))


def _add_drill(family: GaugeMetricFamily, overview: Overview) -> None:
    if overview.drills:
        family.add_metric([overview.drills[0].place], float(overview.drills[0].is_good))


def _families() -> dict[str, GaugeMetricFamily]:
    """Return the empty families by a short name."""
    texts = {
        "last": ("last_success_timestamp_seconds", "When a task of the backups last succeeded.", ["place", "kind"]),
        "watched": (
            "watched_since_timestamp_seconds",
            "Since when a task of the backups is expected, whether or not it ever ran.",
            ["place", "kind"],
        ),
        "outcome": ("outcome", "1 for how the last run of a task ended.", ["place", "kind", "outcome"]),
        "seconds": ("last_duration_seconds", "How long the last success of a task took.", ["place", "kind"]),
        "late": ("late", "1 when a task has not succeeded for three of its periods.", ["place", "kind"]),
        "stored": ("stored_bytes", "What a place holds of the images.", ["place"]),
        "waiting": ("waiting_bytes", "Packed and not yet at every place.", []),
        "broken": ("broken_files", "Files of the live archive that are not what they were (fixity).", []),
        "missing": ("missing_files", "Files that the index names and the storage area lacks.", []),
        "drill_good": ("drill_good", "1 when the newest restore drill found everything, else 0.", ["place"]),
    }
    return {
        short: GaugeMetricFamily(f"pacs_backup_{name}", text, labels=labels)
        for short, (name, text, labels) in texts.items()
    }
