"""`pacs.metrics`: what Prometheus gets is readable, complete, bounded and free of patients."""

from __future__ import annotations

from collections.abc import Callable
from concurrent.futures import ThreadPoolExecutor

import prometheus_client
import pytest
from prometheus_client.core import Metric
from prometheus_client.parser import text_string_to_metric_families

from pacs.errors import InvalidInput, PacsError
from pacs.metrics import DISTINCT_VALUES, OTHER, Metrics

# As Orthanc 1.12.7 writes it: a sample a line with the time in milliseconds, no TYPE and no HELP.
ORTHANC_TEXT = b"""orthanc_count_instances 7215 1795313390714
orthanc_disk_size_mb 2048.5 1795313390714
orthanc_rest_api_duration_ms 0 1795313387926
orthanc_up_time_s 3 1795313390714
"""


def families_of(metrics: Metrics) -> dict[str, Metric]:
    """Parse what `metrics` renders; the format wants every family once."""
    families = list(text_string_to_metric_families(metrics.render().decode()))
    names = [family.name for family in families]
    assert len(names) == len(set(names))
    return {family.name: family for family in families}


def value(metrics: Metrics, name: str, **labels: str) -> float | None:
    """Read one series."""
    return metrics.registry.get_sample_value(name, labels)


def test_render_gives_ours_the_process_and_orthanc_in_one_readable_text() -> None:
    """Both parts parse together, with no family twice, and Orthanc's values and times are kept."""
    families = families_of(Metrics("1.2.3", lambda: ORTHANC_TEXT))
    assert {"pacs_build_info", "pacs_errors", "process_resident_memory_bytes", "python_info"} <= set(families)
    (sample,) = families["orthanc_disk_size_mb"].samples
    assert sample.value == 2048.5
    assert float(sample.timestamp or 0) == pytest.approx(1795313390.714)
    assert families["pacs_orthanc_metrics_up"].samples[0].value == 1


def test_build_info_tells_what_runs() -> None:
    """Version of the project and of Python are labels of a constant."""
    (sample,) = families_of(Metrics("1.2.3"))["pacs_build_info"].samples
    assert (sample.labels["version"], sample.value) == ("1.2.3", 1)


@pytest.mark.parametrize(
    "text",
    [
        pytest.param(ORTHANC_TEXT + b"orthanc_up_time_s 4 1795313390715\n", id="a family in two places"),
        pytest.param(ORTHANC_TEXT + b"pacs_errors_total 5\npacs_http_request_seconds 1\n", id="names of ours"),
        pytest.param(ORTHANC_TEXT + b"process_cpu_seconds_total 5\npython_info 1\n", id="names of the process"),
        pytest.param(ORTHANC_TEXT.rstrip(), id="no last line end"),
        pytest.param(b"# TYPE orthanc_up_time_s gauge\n" + ORTHANC_TEXT[-33:], id="with a type"),
        pytest.param(b"", id="empty"),
    ],
)
def test_render_stays_readable_whatever_orthanc_adds(text: bytes) -> None:
    """Families that come twice are joined, those with names of ours are dropped."""
    metrics = Metrics("1", lambda: text)
    metrics.count_error(InvalidInput("x"))
    families = families_of(metrics)
    assert families["pacs_errors"].samples[0].labels == {"code": "invalid-input"}
    assert families["pacs_orthanc_metrics_up"].samples[0].value == 1


def _refused() -> bytes:
    raise PacsError("Orthanc is gone")


def _broken() -> bytes:
    raise RuntimeError


@pytest.mark.parametrize(
    "orthanc",
    [_refused, _broken, lambda: b"<html>Not Found</html>", lambda: b"\xff\xfe", lambda: b"orthanc_x not_a_number\n"],
    ids=["refused", "broken", "a page", "no text", "no number"],
)
def test_render_gives_ours_when_orthanc_fails(orthanc: Callable[[], bytes]) -> None:
    """A fault on Orthanc's side shows as 0 in `pacs_orthanc_metrics_up` and costs nothing else."""
    families = families_of(Metrics("1", orthanc))
    assert families["pacs_orthanc_metrics_up"].samples[0].value == 0
    assert "pacs_build_info" in families
    assert not any(name.startswith("orthanc_") for name in families)


def test_orthanc_up_recovers() -> None:
    """The gauge goes back to 1 with the next good answer."""
    answers = iter([b"\xff", ORTHANC_TEXT])
    metrics = Metrics("1", lambda: next(answers))
    assert families_of(metrics)["pacs_orthanc_metrics_up"].samples[0].value == 0
    assert families_of(metrics)["pacs_orthanc_metrics_up"].samples[0].value == 1


def test_metrics_of_two_objects_are_apart() -> None:
    """Nothing goes to the library's global registry, so tests and servers can have several."""
    first, second = Metrics("1"), Metrics("1")
    first.errors.labels("x").inc()
    assert value(second, "pacs_errors_total", code="x") is None
    assert "pacs_" not in prometheus_client.generate_latest().decode()


def test_count_request_counts_and_times() -> None:
    """One request is one count and one observation."""
    metrics = Metrics("1")
    metrics.count_request("studies.page", "GET", 200, 0.07)
    labels = {"endpoint": "studies.page"}
    assert value(metrics, "pacs_http_requests_total", method="GET", status="200", **labels) == 1
    assert value(metrics, "pacs_http_request_seconds_sum", **labels) == pytest.approx(0.07)
    assert value(metrics, "pacs_http_request_seconds_bucket", le="0.05", **labels) == 0
    assert value(metrics, "pacs_http_request_seconds_bucket", le="0.1", **labels) == 1


@pytest.mark.parametrize(
    ("error", "code"), [(InvalidInput("x"), "invalid-input"), (PacsError("x"), "internal"), (KeyError("x"), "internal")]
)
def test_count_error_counts_under_the_code(error: Exception, code: str) -> None:
    """Errors of ours count under their code, all others as internal."""
    metrics = Metrics("1")
    metrics.count_error(error)
    assert value(metrics, "pacs_errors_total", code=code) == 1


def test_label_takes_a_bounded_number_of_values() -> None:
    """Values beyond the bound count as "other", those known go on counting as themselves."""
    metrics = Metrics("1")
    for number in range(1000):
        metrics.errors.labels(code=f"code-{number}").inc()
    metrics.errors.labels("code-0").inc()
    codes = {sample.labels["code"] for sample in families_of(metrics)["pacs_errors"].samples if "code" in sample.labels}
    assert len(codes) == DISTINCT_VALUES + 1
    assert value(metrics, "pacs_errors_total", code=OTHER) == 1000 - DISTINCT_VALUES
    assert value(metrics, "pacs_errors_total", code="code-0") == 2


def test_bound_holds_for_each_label_and_for_histograms_and_gauges() -> None:
    """A label that explodes does not spoil its neighbour, in any kind of metric."""
    metrics = Metrics("1")
    gauge = metrics.gauge("pacs_things", "Things.", ("kind", "node"))
    for number in range(100):
        gauge.labels(kind=f"k{number}", node="one").set(number)
        metrics.http_request_seconds.labels(f"e{number}").observe(1)
    assert value(metrics, "pacs_things", kind=OTHER, node="one") == 99
    assert value(metrics, "pacs_http_request_seconds_count", endpoint=OTHER) == 100 - DISTINCT_VALUES


def test_bound_holds_when_many_threads_count() -> None:
    """Threads together neither pass the bound nor lose a count."""
    metrics = Metrics("1")

    def count(number: int) -> None:
        metrics.errors.labels(f"c{number % 200}").inc()

    with ThreadPoolExecutor(8) as threads:
        list(threads.map(count, range(4000)))
    samples = [s for s in families_of(metrics)["pacs_errors"].samples if s.name == "pacs_errors_total"]
    assert len(samples) == DISTINCT_VALUES + 1
    assert sum(sample.value for sample in samples) == 4000


@pytest.mark.parametrize("text", ["DOE^JOHN", "John Doe", "Müller", "x" * 65, "a\nb", 'a"b', "a=b", "a,b"])
def test_label_value_that_may_be_a_name_counts_as_other(text: str) -> None:
    """Only short plain words pass: no blanks, no carets, no letters beyond ASCII."""
    metrics = Metrics("1")
    metrics.errors.labels(text).inc()
    assert value(metrics, "pacs_errors_total", code=OTHER) == 1


@pytest.mark.parametrize("text", ["", "GET", "404", "studies.page", "/studies/<id>", "CT_SCANNER-1", "orthanc:8042"])
def test_plain_label_value_is_kept(text: str) -> None:
    """Codes, routes and titles of devices stay as they are."""
    metrics = Metrics("1")
    metrics.errors.labels(text).inc()
    assert value(metrics, "pacs_errors_total", code=text) == 1


@pytest.mark.parametrize(
    "label", ["patient", "patient_name", "accession_number", "birth_date", "study_instance_uid", "uid"]
)
def test_label_that_would_carry_patient_data_is_refused(label: str) -> None:
    """The name of a label alone is enough to refuse it."""
    with pytest.raises(ValueError, match="belongs to a patient"):
        Metrics("1").counter("pacs_x_total", "X.", (label,))


@pytest.mark.parametrize(
    "name", ["x_total", "Pacs_x_total", "pacs_X_total", "pacs-x_total", "pacs_", "http_requests_total"]
)
def test_name_outside_of_ours_is_refused(name: str) -> None:
    """Every metric of ours starts with `pacs_`."""
    with pytest.raises(ValueError, match="must"):
        Metrics("1").gauge(name, "X.")


def test_counter_that_does_not_end_in_total_is_refused() -> None:
    """The name stands in the code as Prometheus will show it."""
    with pytest.raises(ValueError, match="_total"):
        Metrics("1").counter("pacs_jobs", "Jobs.")


def test_metric_asked_for_twice_is_the_same() -> None:
    """Parts may share a metric by name; a name for two different metrics is refused."""
    metrics = Metrics("1")
    first = metrics.counter("pacs_jobs_total", "Jobs.", ("outcome",))
    assert metrics.counter("pacs_jobs_total", "Jobs.", ("outcome",)) is first
    with pytest.raises(ValueError, match="exists already"):
        metrics.counter("pacs_jobs_total", "Jobs.", ("other",))
    with pytest.raises(ValueError, match="exists already"):
        metrics.gauge("pacs_jobs_total", "Jobs.", ("outcome",))


def test_metric_without_labels_counts_directly() -> None:
    """The constructors give plain metrics of prometheus_client where there is no label."""
    metrics = Metrics("1")
    metrics.counter("pacs_jobs_total", "Jobs.").inc(3)
    metrics.histogram("pacs_job_seconds", "Time.", buckets=(1, 2)).observe(1.5)
    assert value(metrics, "pacs_jobs_total") == 3
    assert value(metrics, "pacs_job_seconds_bucket", le="2.0") == 1


@pytest.mark.parametrize(
    "call", [lambda m: m.errors.labels(), lambda m: m.errors.labels("a", "b"), lambda m: m.errors.labels(x="a")]
)
def test_labels_refuses_wrong_names_and_counts(call: Callable[[Metrics], object]) -> None:
    """A call with labels that the metric does not have is a mistake in the code."""
    with pytest.raises(ValueError, match=r"label"):
        call(Metrics("1"))
