"""The golden signal through the running archive: the whole way, timed, told to nobody else, leaving no trace."""

from __future__ import annotations

import json
import time
from collections.abc import Callable, Iterator
from datetime import UTC, datetime
from pathlib import Path

import httpx
import pytest
from prometheus_client.parser import text_string_to_metric_families
from sqlalchemy import MetaData, select

from fixtures.hospital_system import HospitalSystem, hospital_system
from fixtures.running_pacs import RunningPacs, running
from fixtures.stations import wait_for_port
from fixtures.worklist_entries import database_of
from pacs.database import Database
from pacs.hl7.rehearse.sheet import Check
from pacs.monitoring import incidents
from pacs.monitoring.golden_signal import Run, latest
from pacs.monitoring.models import GoldenRunRecord

SECONDS = 60
OWN_TABLES = ("alembic", "change", "delivery_targets", "monitoring_golden", "monitoring_incidents")


@pytest.fixture(scope="module")
def his() -> Iterator[HospitalSystem]:
    """Run the hospital's system, which must hear nothing of all this."""
    with hospital_system() as system:
        yield system


@pytest.fixture(scope="module")
def site(tmp_path_factory: pytest.TempPathFactory, his: HospitalSystem) -> Iterator[RunningPacs]:
    """Run an archive as on a server: strangers' messages are refused, a system is told, the signal goes every 3 s."""
    folder = tmp_path_factory.mktemp("site")
    settings = {
        "Monitoring": {"GoldenSignal": {"EveryMinutes": 0.05}},
        "Hl7": {"AcceptUnknownPeers": False, "Peers": {"HIS": {"Addresses": ["10.0.0.1/32"]}}},
        "Outbound": {"Destinations": {"HIS": {"Host": "127.0.0.1", "Port": his.port}}},
    }
    (folder / "settings.json").write_text(json.dumps({"Pacs": settings}))
    with running(folder, environment={"PACS_DICOM_CHECK_MODALITY_HOST": "true"}) as pacs:
        wait_for_port(pacs.hl7_port)
        yield pacs


def wait_for_run(database: Database, wanted: Callable[[Run], bool]) -> Run:
    """Return the newest run as soon as it is as wanted."""
    give_up_at = time.monotonic() + SECONDS
    while True:
        runs = latest(database)
        if runs and wanted(runs[0]):
            return runs[0]
        assert time.monotonic() < give_up_at, runs
        time.sleep(0.05)


def rows(database: Database) -> dict[str, int]:
    """Return how many rows each table has that patients could be in."""
    metadata = MetaData()
    metadata.reflect(database.engine)
    with database.engine.connect() as connection:
        return {
            name: len(connection.execute(select(table)).all())
            for name, table in metadata.tables.items()
            if not name.startswith(OWN_TABLES)
        }


def in_orthanc(pacs: RunningPacs) -> dict[str, int]:
    """Return how many patients, studies, series, instances and AEs it has."""
    counts = pacs.archive.get_json("/statistics")
    found = {level: counts[f"Count{level}"] for level in ("Patients", "Studies", "Series", "Instances")}
    return found | {"AEs": len(pacs.archive.get_json("/modalities"))}


def wait_until_nothing_is_left(pacs: RunningPacs, database: Database) -> None:
    """Return at a moment at which archive and tables have nothing that a patient could be in: a run may have begun."""
    give_up_at = time.monotonic() + SECONDS
    while left := {name: count for name, count in (in_orthanc(pacs) | rows(database)).items() if count}:
        assert time.monotonic() < give_up_at, left


def samples(pacs: RunningPacs, name: str) -> dict[tuple[str, ...], float]:
    """Return the values of a metric by its labels."""
    families = text_string_to_metric_families(httpx.get(f"{pacs.url}/pacs/metrics").text)
    return {
        tuple(sample.labels.values()): sample.value
        for family in families
        for sample in family.samples
        if sample.name == name
    }


def test_signal_goes_the_whole_way_and_leaves_nothing(site: RunningPacs, his: HospitalSystem) -> None:
    """Every step passes and is timed; right after, archive, worklist, journal, queues and AEs are empty as before."""
    with database_of(site.data_directory) as database:
        first = wait_for_run(database, lambda run: run.is_good)
        assert [step.name for step in first.steps] == [check.value.replace(" ", "_") for check in Check]
        assert all(step.is_good and step.seconds < SECONDS for step in first.steps)
        wait_for_run(database, lambda run: run.began_at > first.began_at)
        wait_until_nothing_is_left(site, database)
    assert his.received == []


def test_log_tells_the_signal_from_a_person(site: RunningPacs) -> None:
    """The log has a line for each run, with the probe's name and no patient."""
    httpx.put(f"{site.url}/tools/log-level-plugins", content="verbose").raise_for_status()
    give_up_at = time.monotonic() + SECONDS
    while "the golden signal went the whole way in" not in site.log():
        assert time.monotonic() < give_up_at
        time.sleep(0.05)
    httpx.put(f"{site.url}/tools/log-level-plugins", content="default").raise_for_status()
    assert "probe=golden-signal" in site.log()


def test_end_of_a_failure_is_heard(site: RunningPacs) -> None:
    """The first run that gets through again says so in the log as it is on a server; the good ones after it don't."""
    give_up_at = time.monotonic() + SECONDS
    with database_of(site.data_directory) as database:
        while "the golden signal went the whole way again" not in site.log():
            assert time.monotonic() < give_up_at
            # A run that was just ending covers it.
            with database.session(write=True) as session:
                failed = {"failed_step": "web", "detail": "", "interval_seconds": 3.0, "steps": []}
                session.add(GoldenRunRecord(began_at=datetime.now(UTC), **failed))
            wait_for_run(database, lambda run: run.is_good)


def test_metrics_tell_each_step(site: RunningPacs) -> None:
    """Alerts and pictures have every step's outcome and time, and when it last went through."""
    with database_of(site.data_directory) as database:
        wait_for_run(database, lambda run: run.is_good)
    steps = {(check.value.replace(" ", "_"),) for check in Check}
    assert samples(site, "pacs_golden_ok") == dict.fromkeys(steps, 1)
    assert samples(site, "pacs_golden_step_seconds").keys() == steps
    assert samples(site, "pacs_golden_enabled") == {(): 1}
    assert samples(site, "pacs_golden_interval_seconds") == {(): pytest.approx(3)}
    now = time.time()
    for name in ("pacs_golden_last_run_timestamp_seconds", "pacs_golden_last_success_timestamp_seconds"):
        assert samples(site, name)[()] == pytest.approx(now, abs=SECONDS)
    assert not any("PACSPROBE" in labels for labels in samples(site, "pacs_modality_studies"))
    assert set(samples(site, "pacs_delivery_ended_total")) == {("golden-signal", "proven", "golden-signal")}
    assert samples(site, "pacs_studies_received_total") == {("matched",): 0, ("none",): 0}


def test_page_shows_the_way(site: RunningPacs) -> None:
    """The Status page says that all is well and names the steps."""
    page = httpx.get(f"{site.url}/pacs/status", headers={"Accept-Language": "es"}).text
    assert "Todo está bien." in page
    assert "Estado informado por HL7" in page
    assert "PROBE-" not in page
    assert "golden-signal" not in httpx.get(f"{site.url}/pacs/routing").text


def test_failure_is_told_with_its_step_and_kept_as_an_incident(tmp_path: Path) -> None:
    """Where the worklist does not answer, that step fails; metrics, page and incidents say so, and nothing is left."""
    settings = {
        "Monitoring": {"GoldenSignal": {"EveryMinutes": 0.05}},
        "Worklist": {"Statuses": ["COMPLETED"]},
    }
    (tmp_path / "settings.json").write_text(json.dumps({"Pacs": settings}))
    with running(tmp_path) as pacs, database_of(tmp_path) as database:
        # The first run may come before everything listens.
        wait_for_run(database, lambda run: run.failed_step == "worklist")
        with database.session() as session:
            lasting = [(one.source, one.name, one.severity) for one in incidents.lasting(session)]
        assert lasting == [("golden", "worklist", "critical")]
        assert samples(pacs, "pacs_golden_ok")["worklist",] == 0
        assert "the golden signal failed at worklist: " in pacs.log()
        page = httpx.get(f"{pacs.url}/pacs/status", headers={"Accept-Language": "en"}).text
        assert "The test study did not get through: Worklist failed." in page
        wait_until_nothing_is_left(pacs, database)
