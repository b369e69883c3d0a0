"""Figures and golden signal as Prometheus metrics. What is not known is absent: no figure stands in for it."""

from __future__ import annotations

import re
from collections.abc import Callable, Iterable, Iterator
from datetime import datetime

from prometheus_client.core import GaugeMetricFamily, Metric
from prometheus_client.registry import Collector

from pacs.errors import DatabaseError
from pacs.monitoring.figures import Modality, Snapshot
from pacs.monitoring.golden_signal import Run

_PLAIN = re.compile(r"[A-Za-z0-9_.:/<>+-]{1,64}")
_OF_STATIONS: tuple[tuple[str, str, Callable[[Modality], float | None]], ...] = (
    (
        "pacs_modality_last_image_timestamp_seconds",
        "When the last image of a station came.",
        lambda one: _seconds(one.last_image_at),
    ),
    (
        "pacs_modality_longest_silence_seconds",
        "Longest silence of a station that covered this hour of this weekday in the last 26 weeks.",
        lambda one: one.longest_silence.total_seconds() if one.longest_silence is not None else None,
    ),
    (
        "pacs_modality_last_worklist_question_timestamp_seconds",
        "When a station last asked for its worklist.",
        lambda one: _seconds(one.last_question_at),
    ),
    ("pacs_modality_studies", "Studies of a station in the last 24 hours.", lambda one: one.studies),
    (
        "pacs_modality_studies_without_order",
        "Studies of a station in the last 24 hours that no entry of the worklist knows.",
        lambda one: one.without_order,
    ),
)


class MonitoringCollector(Collector):
    """Tells what was gathered last and how the last golden signal went.

    Parameters
    ----------
    snapshot, runs : return the newest; None and nothing before there is one.
    last_success : returns when the golden signal last went the whole way.
    interval_seconds : of the golden signal, None when it is off.
    """

    def __init__(
        self,
        snapshot: Callable[[], Snapshot | None],
        runs: Callable[[], list[Run]],
        last_success: Callable[[], datetime | None],
        interval_seconds: float | None,
    ) -> None:
        self._snapshot = snapshot
        self._runs = runs
        self._last_success = last_success
        self._interval_seconds = interval_seconds

    def describe(self) -> Iterable[Metric]:
        """Name none: what is told depends on what is known."""
        return ()

    def collect(self) -> Iterator[Metric]:
        """Yield the figures. Called in the thread that serves the scrape."""
        snapshot = self._snapshot()
        if snapshot is not None:
            yield from _of_snapshot(snapshot)
        yield _gauge(
            "pacs_golden_enabled", "1 if the golden signal is switched on.", self._interval_seconds is not None
        )
        if self._interval_seconds is not None:
            yield _gauge("pacs_golden_interval_seconds", "How often the golden signal goes.", self._interval_seconds)
            try:
                yield from self._of_golden_signal()
            except DatabaseError:
                return

    def _of_golden_signal(self) -> Iterator[Metric]:
        for name, words, at in (
            ("run", "was last tried.", next((run.began_at for run in self._runs()), None)),
            ("success", "last went the whole way.", self._last_success()),
        ):
            if at is not None:
                yield _gauge(
                    f"pacs_golden_last_{name}_timestamp_seconds", f"When the golden signal {words}", at.timestamp()
                )
        is_good = GaugeMetricFamily("pacs_golden_ok", "1 if a step of the last golden signal passed.", labels=["step"])
        seconds = GaugeMetricFamily("pacs_golden_step_seconds", "How long a step of it took.", labels=["step"])
        for step in (step for run in self._runs() for step in run.steps if step.is_good is not None):
            is_good.add_metric([step.name], bool(step.is_good))
            seconds.add_metric([step.name], step.seconds)
        yield from (is_good, seconds)


def _of_snapshot(snapshot: Snapshot) -> Iterator[Metric]:
    plain = [one for one in snapshot.modalities if _PLAIN.fullmatch(one.station)]
    for name, words, value_of in _OF_STATIONS:
        family = GaugeMetricFamily(name, words, labels=["station"])
        for one in plain:
            if (value := value_of(one)) is not None:
                family.add_metric([one.station], value)
        yield family
    yield _gauge("pacs_figures_last_success_timestamp_seconds", "When these were gathered.", snapshot.at.timestamp())
    disk = snapshot.disk
    if disk is not None and disk.growth_bytes_per_day is not None and disk.years_left is not None:
        yield _gauge("pacs_disk_growth_bytes_per_day", "Images a day in four weeks.", disk.growth_bytes_per_day)
        yield _gauge("pacs_disk_years_left", "Until the images' disk is full at this growth.", disk.years_left)


def _gauge(name: str, words: str, value: float) -> GaugeMetricFamily:
    return GaugeMetricFamily(name, words, value=float(value))


def _seconds(at: datetime | None) -> float | None:
    return at.timestamp() if at is not None else None
