"""What Prometheus reads about the plugins, Orthanc's own figures included.

Names start with `pacs_`; figures of the process (Orthanc's, as the plugins live in it) keep the names that every
Prometheus client uses (`process_...`, `python_...`). Labels never carry patient data: names of labels that smell of
it are refused, values are short plain words, and a label takes a bounded number of distinct values.
"""

from __future__ import annotations

import logging
import platform
import re
import threading
from collections.abc import Callable, Iterable, Sequence
from typing import Any, Self

from prometheus_client import CollectorRegistry, GCCollector, PlatformCollector, ProcessCollector, generate_latest
from prometheus_client import Counter as _Counter
from prometheus_client import Gauge as _Gauge
from prometheus_client import Histogram as _Histogram
from prometheus_client.core import Metric
from prometheus_client.exposition import CONTENT_TYPE_LATEST
from prometheus_client.metrics import MetricWrapperBase
from prometheus_client.parser import text_string_to_metric_families
from prometheus_client.registry import Collector

from pacs.errors import PacsError

OTHER = "other"
DISTINCT_VALUES = 50
# Seconds: from a cached page to a ZIP file of a large study.
REQUEST_BUCKETS_SECONDS = (0.005, 0.02, 0.05, 0.1, 0.25, 0.5, 1.0, 2.5, 5.0, 10.0, 30.0, 120.0)
_NAME = re.compile(r"pacs_[a-z][a-z0-9_]*")
_REFUSED_LABELS = re.compile(r"patient|accession|birth|uid|study|series|instance|person|physician")
# Codes, endpoints, routes with <converters>, AE titles. A person's name in DICOM has ^ or spaces in it.
_PLAIN_VALUE = re.compile(r"[A-Za-z0-9_.:/<>+-]{0,64}")
_log = logging.getLogger(__name__)


class _BoundedLabels(MetricWrapperBase):
    """Adds to a metric of prometheus_client that values of labels are plain and not too many.

    Every combination of values is a time series that Prometheus keeps; a value made from a request could make
    millions. The first `DISTINCT_VALUES` values of each label are kept, what comes later counts as "other".
    """

    def labels(self, *values: object, **named: object) -> Self:
        """Return the series of these values, given in the order of the names or by name."""
        if values and not named:
            if len(values) != len(self._labelnames):
                message = f"{self._name} has {len(self._labelnames)} labels, not {len(values)}."
                raise ValueError(message)
            named = dict(zip(self._labelnames, values, strict=True))
        return super().labels(**{name: self._admitted(name, str(value)) for name, value in named.items()})

    def _admitted(self, name: str, value: str) -> str:
        if not _PLAIN_VALUE.fullmatch(value):
            return OTHER
        with self._lock:
            seen = self.__dict__.setdefault("_seen_values", {}).setdefault(name, set())
            if value in seen or len(seen) < DISTINCT_VALUES:
                seen.add(value)
                return value
        return OTHER


class Counter(_BoundedLabels, _Counter):
    """A count that only grows."""


class Gauge(_BoundedLabels, _Gauge):
    """A figure that goes up and down."""


class Histogram(_BoundedLabels, _Histogram):
    """How a figure is spread, in buckets."""


class _Families(Collector):
    """Families that are there already, as a collector."""

    def __init__(self, families: Iterable[Metric]) -> None:
        self._families = list(families)

    def collect(self) -> Iterable[Metric]:
        return self._families


class Metrics:
    """The registry of the plugins and the figures that every part shares. Every method may be called on any thread.

    Parameters
    ----------
    version : of this project, for `pacs_build_info`.
    orthanc_metrics : returns Orthanc's text (GET /tools/metrics-prometheus); None where there is no Orthanc.

    Attributes
    ----------
    http_requests : `pacs_http_requests_total` by endpoint, method and status.
    http_request_seconds : `pacs_http_request_seconds` by endpoint.
    errors : `pacs_errors_total` by code of the `PacsError`; "internal" for any other exception.
    content_type : of what `render` returns.
    """

    content_type = CONTENT_TYPE_LATEST

    def __init__(self, version: str, orthanc_metrics: Callable[[], bytes] | None = None) -> None:
        self.registry = CollectorRegistry(auto_describe=True)
        self._orthanc_metrics = orthanc_metrics
        self._lock = threading.Lock()
        self._ours: dict[str, MetricWrapperBase] = {}
        ProcessCollector(registry=self.registry)
        PlatformCollector(registry=self.registry)
        GCCollector(registry=self.registry)
        build = self.gauge("pacs_build_info", "Always 1; its labels tell what runs.", ("version", "python"))
        build.labels(version, platform.python_version()).set(1)
        self.http_requests = self.counter(
            "pacs_http_requests_total", "Requests answered by our pages.", ("endpoint", "method", "status")
        )
        self.http_request_seconds = self.histogram(
            "pacs_http_request_seconds",
            "Time until a request was answered, in seconds.",
            ("endpoint",),
            buckets=REQUEST_BUCKETS_SECONDS,
        )
        self.errors = self.counter("pacs_errors_total", "Errors answered or logged, by their code.", ("code",))
        self._orthanc_up = self.gauge("pacs_orthanc_metrics_up", "1 if Orthanc's own metrics could be read, else 0.")

    def counter(self, name: str, documentation: str, labels: Sequence[str] = ()) -> Counter:
        """Return the counter `name` (it ends in _total), made the first time it is asked for.

        Raises
        ------
        ValueError : the name does not start with `pacs_`, a label may hold patient data, or the name is taken by
            another kind of metric or with other labels.
        """
        if not name.endswith("_total"):
            message = f"The counter {name} must end in _total."
            raise ValueError(message)
        return self._metric(Counter, name, documentation, labels)

    def gauge(self, name: str, documentation: str, labels: Sequence[str] = ()) -> Gauge:
        """Return the gauge `name`; otherwise like `counter`."""
        return self._metric(Gauge, name, documentation, labels)

    def histogram(
        self,
        name: str,
        documentation: str,
        labels: Sequence[str] = (),
        *,
        buckets: Sequence[float] = _Histogram.DEFAULT_BUCKETS,
    ) -> Histogram:
        """Return the histogram `name` with upper bounds `buckets`; otherwise like `counter`."""
        return self._metric(Histogram, name, documentation, labels, buckets=buckets)

    def _metric[Kind: MetricWrapperBase](
        self, kind: type[Kind], name: str, documentation: str, labels: Sequence[str], **options: Any
    ) -> Kind:
        _check_names(name, labels)
        with self._lock:
            found = self._ours.get(name)
            if found is None:
                found = self._ours[name] = kind(name, documentation, labels, registry=self.registry, **options)
            if not isinstance(found, kind) or found._labelnames != tuple(labels):  # noqa: SLF001 - has no public name
                message = f"The metric {name} exists already as {type(found).__name__} with other labels or kind."
                raise ValueError(message)
            return found

    def count_request(self, endpoint: str, method: str, status: int, seconds: float) -> None:
        """Count one request of our pages; `endpoint` is the name of the route, never the path that was asked for."""
        self.http_requests.labels(endpoint, method, status).inc()
        self.http_request_seconds.labels(endpoint).observe(seconds)

    def count_error(self, error: BaseException) -> None:
        """Count `error` under its code."""
        self.errors.labels(error.code if isinstance(error, PacsError) else PacsError.code).inc()

    def render(self) -> bytes:
        """Return everything in Prometheus' text format, ours first.

        Orthanc's families come after ours as far as ours don't have their names. If they can't be read, ours are
        given nevertheless and `pacs_orthanc_metrics_up` is 0.
        """
        theirs = self._orthanc_families()
        text = generate_latest(self.registry)
        if not theirs:
            return text
        taken = {family.name for family in self.registry.collect()}
        others = CollectorRegistry()
        others.register(_Families(family for family in theirs if family.name not in taken))
        return text + generate_latest(others)

    def _orthanc_families(self) -> list[Metric]:
        if self._orthanc_metrics is None:
            return []
        try:
            families = _joined(text_string_to_metric_families(self._orthanc_metrics().decode()))
        except Exception as fault:  # noqa: BLE001 - whatever is wrong with Orthanc, our own figures are wanted now
            _log.warning("Orthanc's metrics can't be read", extra={"fault": type(fault).__name__})
            self._orthanc_up.set(0)
            return []
        self._orthanc_up.set(1)
        return families


def _joined(families: Iterable[Metric]) -> list[Metric]:
    """Put samples of one name together: the format wants each family once."""
    by_name: dict[str, Metric] = {}
    for family in families:
        first = by_name.setdefault(family.name, family)
        if first is not family:
            first.samples.extend(family.samples)
    return list(by_name.values())


def _check_names(name: str, labels: Sequence[str]) -> None:
    if not _NAME.fullmatch(name):
        message = f"The metric {name!r} must be named pacs_... in lower case."
        raise ValueError(message)
    for label in labels:
        if _REFUSED_LABELS.search(label):
            message = f"The label {label!r} of {name} would carry what belongs to a patient."
            raise ValueError(message)
