"""`pacs.studies.feed` with a real Orthanc: every change once, whatever is killed, restarted or restored when."""

from __future__ import annotations

import logging
import os
import signal
import subprocess
import sys
import threading
import time
from collections import Counter
from collections.abc import Iterator
from concurrent.futures import ThreadPoolExecutor
from contextlib import contextmanager
from pathlib import Path
from typing import TYPE_CHECKING, Any

import pytest
from pydicom.uid import generate_uid

from fixtures.feeding_process import QUEUE_NAME
from fixtures.feeds import Listening, begun, hours_later, items, listed, store
from fixtures.fictitious_studies import as_file, dicom_image
from fixtures.orthanc_alone import AN_HOUR_SECONDS, OrthancAlone, orthanc_alone
from pacs.database import Database

if TYPE_CHECKING:
    from fixtures.postgresql import PostgresqlCluster

pytest_plugins = ("fixtures.orthancs", "fixtures.postgresql", "fixtures.databases")

NEVER = threading.Event()


@pytest.fixture
def orthanc(own_orthanc: OrthancAlone) -> OrthancAlone:
    """Give every test here an Orthanc of its own: it is stopped, killed, restored and replaced."""
    return own_orthanc


@pytest.fixture
def listening(database: Database, orthanc: OrthancAlone) -> Listening:
    """Return a feed that has begun."""
    return begun(database, orthanc)


def test_killed_feed_loses_and_repeats_nothing(orthanc: OrthancAlone, database: Database, database_url: str) -> None:
    """A feed killed in the middle of transactions and at any moment tells every change exactly once all the same."""
    listening = Listening(database, orthanc)
    listening.drain()
    listening.feed._cursor.give_back()
    stored: list[dict[str, str]] = []

    enough = threading.Event()

    def store_for_long() -> None:
        while not enough.wait(0.1):
            stored.append(store(orthanc))

    storing = threading.Thread(target=store_for_long)
    storing.start()
    for number, dies_after in enumerate((1, 2, 5, 9, 0, 0, 0)):
        with _feeding(orthanc, database_url, dies_after) as process:
            if dies_after:
                assert process.wait(60) == -signal.SIGKILL
            else:
                _wait_for_more(database)
                time.sleep(0.37 * (number % 4))
    enough.set()
    storing.join()
    series = [each["ParentSeries"] for each in stored]
    expected = Counter((kind, each) for kind in ("NewSeries", "StableSeries") for each in series)
    deadline = time.monotonic() + 90
    with _feeding(orthanc, database_url, 0):
        while items(database, QUEUE_NAME) != expected and time.monotonic() < deadline:
            time.sleep(0.1)
    assert items(database, QUEUE_NAME) == expected
    assert set(listed(database)) == {each["ParentStudy"] for each in stored}


def _wait_for_more(database: Database) -> None:
    """Wait until a feed is at work."""
    before, deadline = items(database, QUEUE_NAME), time.monotonic() + 60
    while items(database, QUEUE_NAME) == before:
        assert time.monotonic() < deadline, "nothing more is told"
        time.sleep(0.05)


@contextmanager
def _feeding(orthanc: OrthancAlone, database_url: str, dies_after: int) -> Iterator[subprocess.Popen[bytes]]:
    """Run a feed in a process of its own, which is killed at the end of the block."""
    tests = Path(__file__).parents[1]
    environment = os.environ | {"PYTHONPATH": f"{tests.parent / 'plugins'}:{tests}"}
    arguments = [sys.executable, "-m", "fixtures.feeding_process", orthanc.url, database_url, str(dies_after)]
    process = subprocess.Popen(arguments, env=environment)
    try:
        yield process
    finally:
        process.kill()
        process.wait()


# -- what Orthanc forgets -----------------------------------------------------------------------------------------


def test_orthanc_forgets_stable_events(patient_orthanc: OrthancAlone) -> None:
    """The reason for telling them ourselves: after a restart all is stable and no event ever comes."""
    study_id = store(patient_orthanc)["ParentStudy"]
    patient_orthanc.configure({"StableAge": 1})
    patient_orthanc.restart(signal.SIGKILL)
    assert patient_orthanc.archive.get_json(f"/studies/{study_id}")["IsStable"]
    time.sleep(4)
    kinds = {change["ChangeType"] for change in patient_orthanc.archive.get_json("/changes?limit=1000")["Changes"]}
    assert kinds == {"NewInstance", "NewSeries", "NewStudy", "NewPatient"}


@pytest.mark.parametrize("how", [signal.SIGTERM, signal.SIGKILL])
def test_forgotten_stable_events_are_told_once(orthanc: OrthancAlone, database: Database, how: signal.Signals) -> None:
    """After a restart or crash before StableAge the missing events come, once, and only those that are missing."""
    listening = Listening(database, orthanc)
    listening.drain()
    study_uid = generate_uid()
    settled = store(orthanc, StudyInstanceUID=study_uid)
    study_id = settled["ParentStudy"]
    listening.drain_until(lambda: listening.kinds()["StableStudy"] == 1)
    orthanc.configure({"StableAge": AN_HOUR_SECONDS})
    orthanc.restart()
    listening.drain()
    forgotten = store(orthanc, StudyInstanceUID=study_uid)
    listening.drain()
    orthanc.restart(how)
    later = listening
    for _ in range(3):
        later = later.again(clock=hours_later)
        for _ in range(3):
            later.drain()
    told = later.told()
    assert told["StableSeries", forgotten["ParentSeries"]] == 1
    assert told["StableSeries", settled["ParentSeries"]] == 1
    assert told["StableStudy", study_id] == 2
    assert listed(database)[study_id].is_stable


def test_nothing_is_told_while_orthanc_waits(patient_orthanc: OrthancAlone, database: Database) -> None:
    """While Orthanc itself still counts the seconds, it is not anticipated, whatever the clock says."""
    listening = Listening(database, patient_orthanc, clock=hours_later)
    listening.drain()
    store(patient_orthanc)
    for _ in range(4):
        listening.feed._sweep_at = 0.0
        listening.drain()
    assert listening.kinds() == {"NewStudy": 1, "NewSeries": 1}


def test_forgotten_and_deleted_is_not_told(patient_orthanc: OrthancAlone, database: Database) -> None:
    """A study deleted before it was stable is not waited for."""
    orthanc = patient_orthanc
    listening = Listening(database, orthanc)
    listening.drain()
    study_id = store(orthanc)["ParentStudy"]
    listening.drain()
    orthanc.archive.delete(f"/studies/{study_id}")
    orthanc.restart()
    later = listening.again(clock=hours_later)
    for _ in range(3):
        later.feed._sweep_at = 0.0
        later.drain()
    assert later.kinds() == {"NewStudy": 1, "NewSeries": 1}


# -- another database of Orthanc's --------------------------------------------------------------------------------


def test_emptied_archive_is_read_from_its_beginning(
    listening: Listening, orthanc: OrthancAlone, database: Database, caplog: pytest.LogCaptureFixture
) -> None:
    """After Orthanc's database was emptied, its numbers begin again: what comes then is told, and the log says so."""
    for _ in range(3):
        store(orthanc)
    listening.drain_until(lambda: listening.kinds()["StableStudy"] == 3)
    orthanc.stop()
    orthanc.erase()
    orthanc.start()
    study_id = store(orthanc)["ParentStudy"]
    again = listening.again()
    with caplog.at_level(logging.WARNING):
        again.drain()
    assert again.told()["NewStudy", study_id] == 1
    assert "restored or replaced" in caplog.text
    again.index.reconcile(NEVER)
    assert set(listed(database)) == {study_id}


@pytest.mark.parametrize("studies_after", [1, 12])
def test_restored_archive_tells_only_news(
    listening: Listening, orthanc: OrthancAlone, database: Database, tmp_path: Path, studies_after: int
) -> None:
    """After a restore, numbers that were told mean other changes: these are told, what was told before is not."""
    old = store(orthanc)["ParentStudy"]
    listening.drain_until(lambda: listening.kinds()["StableStudy"] == 1)
    orthanc.stop()
    orthanc.back_up(tmp_path / "backup")
    orthanc.start()
    lost = [store(orthanc)["ParentStudy"] for _ in range(2)]
    listening.drain_until(lambda: listening.kinds()["StableStudy"] == 3)
    orthanc.stop()
    orthanc.restore(tmp_path / "backup")
    time.sleep(1.1)
    orthanc.start()
    new = [store(orthanc)["ParentStudy"] for _ in range(studies_after)]
    again = listening.again()
    again.drain()
    assert {study_id for kind, study_id in again.told() if kind == "NewStudy"} == {old, *lost, *new}
    assert max(again.told().values()) == 1
    again.index.reconcile(NEVER)
    assert set(listed(database)) == {old, *new}


def test_deleting_newest_study_is_no_other_database(
    listening: Listening, orthanc: OrthancAlone, caplog: pytest.LogCaptureFixture
) -> None:
    """Orthanc forgets the changes of a deleted study, so that its last change is an older one: no reason to worry."""
    kept = store(orthanc)["ParentStudy"]
    deleted = store(orthanc)["ParentStudy"]
    listening.drain_until(lambda: listening.kinds()["StableStudy"] == 2)
    orthanc.archive.delete(f"/studies/{deleted}")
    with caplog.at_level(logging.WARNING):
        again = listening.again()
        again.drain()
        orthanc.restart()
        again = again.again()
        again.drain()
    assert caplog.text == ""
    assert again.told()["NewStudy", kept] == 1


# -- Orthanc on PostgreSQL ----------------------------------------------------------------------------------------


def test_orthanc_on_postgresql_loses_nothing(
    database: Database, postgresql: PostgresqlCluster, tmp_path_factory: pytest.TempPathFactory
) -> None:
    """With Orthanc's index in PostgreSQL and senders in parallel, numbers come out of order; all are told once."""
    folder = tmp_path_factory.mktemp("orthanc")
    with orthanc_alone(folder, postgresql_index(postgresql)) as orthanc:
        listening = Listening(database, orthanc)
        listening.drain()
        with ThreadPoolExecutor(4) as senders:
            sent = senders.map(lambda _: _store_stubbornly(orthanc), range(40))
            listening.drain()
            series = [each["ParentSeries"] for each in sent]
        listening.drain_until(lambda: all(listening.kinds()[kind] >= 40 for kind in ("StableSeries", "StableStudy")))
        told = {key: times for key, times in listening.told().items() if key[0].endswith("Series")}
        assert told == {(kind, each): 1 for kind in ("NewSeries", "StableSeries") for each in series}
        assert len(listed(database)) == 40
        assert all(study.is_stable and study.size_bytes for study in listed(database).values())
        assert listening.index.reconcile(NEVER).added == 0


def postgresql_index(cluster: PostgresqlCluster) -> dict[str, Any]:
    """Return the settings that put Orthanc's index into a database of its own in `cluster`."""
    plugins = Path("/usr/share/orthanc/plugins")
    if not (plugins / "libOrthancPostgreSQLIndex.so").exists():
        pytest.skip("Orthanc's plugin for PostgreSQL is not installed")
    with cluster.connect() as connection:
        parameters = connection.info
        name = f"orthanc_{time.monotonic_ns()}"
        connection.execute(f"CREATE DATABASE {name}")
        reached = {"Host": parameters.host, "Port": parameters.port, "Username": parameters.user, "Password": "-"}
    return {
        "Plugins": [str(plugins / "libOrthancDicomWeb.so"), str(plugins / "libOrthancPostgreSQLIndex.so")],
        "PostgreSQL": {"EnableIndex": True, "EnableStorage": False, "Lock": False, "Database": name, **reached},
    }


def _store_stubbornly(orthanc: OrthancAlone) -> dict[str, str]:
    """Store an image as a modality does, that is again when Orthanc could not serialize its transactions."""
    file = as_file(dicom_image())
    for _ in range(5):
        try:
            stored: dict[str, str] = orthanc.archive.post_bytes("/instances", file)
        except Exception:  # noqa: BLE001 (whatever it is, it is tried again)
            time.sleep(0.2)
        else:
            return stored
    raise AssertionError("Orthanc does not store")
