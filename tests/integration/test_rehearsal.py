"""The go-live rehearsal against the running archive: by the command and by the page, leaving no trace."""

from __future__ import annotations

import json
import subprocess
import sys
import time
from collections.abc import Iterator, Mapping
from contextlib import contextmanager
from pathlib import Path
from typing import Any

import httpx
import pytest
from sqlalchemy import MetaData, select

from fixtures.hospital_system import HospitalSystem, acknowledgment, field_of, hospital_system
from fixtures.postgresql import PostgresqlCluster
from fixtures.running_pacs import RunningPacs, running
from fixtures.stations import register, wait_for_port
from fixtures.worklist_entries import database_of
from pacs.database import Database
from pacs.hl7.rehearse.sheet import Check, Outcome, Sheet

pytest_plugins = ("fixtures.postgresql",)

SECONDS = 120
CHECKS = list(Check)


@pytest.fixture(scope="module")
def his() -> Iterator[HospitalSystem]:
    """Run the hospital's system that is told."""
    with hospital_system() as system:
        yield system


@pytest.fixture(scope="module")
def site(tmp_path_factory: pytest.TempPathFactory, his: HospitalSystem) -> Iterator[RunningPacs]:
    """Run an archive that tells a hospital's system, with a CT, an MR that may not ask for its worklist, and a US."""
    with archive_that_tells(his, tmp_path_factory.mktemp("site")) as pacs:
        yield pacs


@contextmanager
def archive_that_tells(his: HospitalSystem, folder: Path, **settings: object) -> Iterator[RunningPacs]:
    """Run such an archive, with further settings."""
    outbound = {"Destinations": {"HIS": {"Host": "127.0.0.1", "Port": his.port}}}
    (folder / "settings.json").write_text(json.dumps({"Pacs": {"Outbound": outbound, **settings}}))
    # As in production: each AE title counts from its own address alone.
    with running(folder, environment={"PACS_DICOM_CHECK_MODALITY_HOST": "true"}) as pacs:
        wait_for_port(pacs.hl7_port)
        register(pacs, "CT1", 104, host="10.0.0.7")
        register(pacs, "US1", 104, host="10.0.0.9")
        pacs.archive.put_json(
            "/modalities/MR1", {"AET": "MR1", "Host": "10.0.0.8", "Port": 104, "AllowFindWorklist": False}
        )
        yield pacs


def rehearse(pacs: RunningPacs, *arguments: str) -> subprocess.CompletedProcess[str]:
    """Run the command."""
    command = [sys.executable, "-m", "pacs.hl7.rehearse", "--url", pacs.url, *arguments]
    return subprocess.run(command, capture_output=True, text=True, timeout=SECONDS, check=False)


def rows(database: Database) -> dict[str, int]:
    """Return how many rows each table has that patients could be in."""
    metadata = MetaData()
    metadata.reflect(database.engine)
    with database.engine.connect() as connection:
        return {
            name: len(connection.execute(select(table)).all())
            for name, table in metadata.tables.items()
            if not name.startswith(("alembic", "hl7_rehearsals", "change", "delivery_targets", "monitoring_questions"))
        }


def by_page(pacs: RunningPacs, form: Mapping[str, Any]) -> dict[str, Any]:
    """Have it rehearsed by the page's form and return the record once it has ended."""
    with httpx.Client(base_url=pacs.url, headers={"Accept": "application/json"}) as client:
        answer = client.post("/pacs/hl7/rehearsal", data=dict(form))
        assert answer.status_code == 202, answer.text
        give_up_at = time.monotonic() + SECONDS
        while True:
            record: dict[str, Any] = client.get(f"/pacs/hl7/rehearsal/{answer.json()['id']}").json()
            if record["ended_at"]:
                return record
            assert time.monotonic() < give_up_at, record
            time.sleep(0.2)


def outcomes(record: Mapping[str, Any], ae_title: str) -> dict[Check, Outcome]:
    """Return the outcome of each check of a modality."""
    sheet = Sheet.from_json(record["sheet"])
    (station,) = (each for each in sheet.stations if each.ae_title == ae_title)
    return {line.check: line.outcome for line in station.lines}


def test_command_passes_and_prints_the_sheet(site: RunningPacs, his: HospitalSystem) -> None:
    """Every check of a good modality passes, the hospital's system is told of each event, and the sheet says so."""
    his.received.clear()
    done = rehearse(site, "CT1", "US1")
    assert done.returncode == 0, done.stdout + done.stderr
    assert done.stdout.count("PASS  ") == 2 * len(CHECKS), done.stdout
    assert "Result: PASS" in done.stdout
    assert "signature" in done.stdout
    told = [(field_of(message, b"PID", 5), field_of(message, b"ORC", 5)) for message in his.wait_for(6)]
    assert {name for name, _ in told} == {"REHEARSAL^ÑANDÚ ÉÇÃO"}
    # A rehearsal that lasts until the study is stable tells of its images, too ("A").
    assert sorted(event for _, event in told if event != "A") == ["CM", "CM", "IP", "IP", "SC", "SC"]


@pytest.mark.parametrize("message_type", ["ORM^O01", "OMI^O23"])
def test_nothing_is_left(site: RunningPacs, message_type: str) -> None:
    """Archive, worklist, journal, queues, MPPS and the list of AEs are as they were before."""
    with database_of(site.data_directory) as database:
        assert_passes_and_leaves_nothing(site, database, message_type)


def test_nothing_is_left_on_postgresql(postgresql: PostgresqlCluster, his: HospitalSystem, tmp_path: Path) -> None:
    """With production's database the rehearsal passes as well, and leaves nothing there."""
    url = postgresql.create_database()
    with archive_that_tells(his, tmp_path, Database={"Url": url}) as pacs, Database(url) as database:
        assert_passes_and_leaves_nothing(pacs, database, "OMI^O23")


def assert_passes_and_leaves_nothing(site: RunningPacs, database: Database, message_type: str) -> None:
    """Rehearse a modality and compare everything with what was there before."""
    before, counts = rows(database), site.archive.get_json("/statistics")
    modalities = site.archive.get_json("/modalities?expand")
    record = by_page(site, {"station": "CT1", "message_type": message_type})
    assert outcomes(record, "CT1") == dict.fromkeys(CHECKS, Outcome.PASSED), record
    assert rows(database) == before
    after = site.archive.get_json("/statistics")
    assert {name: after[name] for name in counts if name.startswith("Count")} == {
        name: counts[name] for name in counts if name.startswith("Count")
    }
    assert site.archive.get_json("/modalities?expand") == modalities


def test_modality_without_the_right_fails_where_it_would(site: RunningPacs) -> None:
    """An AE that may not ask for its worklist fails at that check, with the reason, and is cleaned up after."""
    record = by_page(site, {"station": "MR1"})
    found = outcomes(record, "MR1")
    assert found[Check.ORDER] is Outcome.PASSED
    assert found[Check.WORKLIST] is Outcome.FAILED
    assert found[Check.REMOVED] is Outcome.PASSED
    assert {found[check] for check in (Check.STARTED, Check.IMAGE, Check.COMPLETED)} == {Outcome.NOT_TESTED}
    assert rehearse(site, "MR1").returncode == 1


def test_unknown_ae_title_fails(site: RunningPacs) -> None:
    """An AE title that nobody registered is not served."""
    assert outcomes(by_page(site, {"station": "NOBODY"}), "NOBODY")[Check.WORKLIST] is Outcome.FAILED


def test_refusing_hospital_system_is_found(site: RunningPacs, his: HospitalSystem) -> None:
    """A system that refuses what it is told fails the last check; its dead letters are removed with the rest."""
    his.manner = lambda message, _times: acknowledgment(message, "AE")
    try:
        found = outcomes(by_page(site, {"station": "CT1"}), "CT1")
    finally:
        his.manner = lambda message, _times: acknowledgment(message)
    assert found[Check.STATUS_OUT] is Outcome.FAILED
    assert found[Check.COMPLETED] is found[Check.REMOVED] is Outcome.PASSED


def test_pages_answer_while_it_goes_on(site: RunningPacs) -> None:
    """A rehearsal never holds up the pages, and a second one is refused until the first has ended."""
    with httpx.Client(base_url=site.url, headers={"Accept": "application/json"}) as client:
        started = client.post("/pacs/hl7/rehearsal", data={"station": ["CT1", "US1"]}).json()["id"]
        assert client.post("/pacs/hl7/rehearsal", data={"station": "CT1"}).status_code == 409
        slowest = 0.0
        while not (record := client.get(f"/pacs/hl7/rehearsal/{started}").json())["ended_at"]:
            begun = time.monotonic()
            assert client.get("/pacs/hl7", headers={"Accept": "text/html"}).status_code == 200
            slowest = max(slowest, time.monotonic() - begun)
        assert record["outcome"] == "passed"
        assert slowest < 3


def test_command_tells_when_nobody_answers(tmp_path: Path) -> None:
    """Without an archive the exit status is 2 and a sentence says so."""
    done = subprocess.run(
        [sys.executable, "-m", "pacs.hl7.rehearse", "--socket", str(tmp_path / "none.sock")],
        capture_output=True,
        text=True,
        timeout=SECONDS,
        check=False,
    )
    assert done.returncode == 2
    assert "do not answer" in done.stderr
