"""`pacs.studies.feed` with a real Orthanc, on SQLite and PostgreSQL: every change once, whatever dies when."""

from __future__ import annotations

import logging
import os
import signal
import subprocess
import sys
import threading
import time
from collections import Counter
from collections.abc import Callable, Iterator
from concurrent.futures import ThreadPoolExecutor
from contextlib import contextmanager
from datetime import UTC, datetime, timedelta
from pathlib import Path
from typing import TYPE_CHECKING, Any

import pytest
from pydicom.uid import generate_uid
from sqlalchemy.orm import Session

from fixtures.feeding_process import QUEUE_NAME
from fixtures.fictitious_studies import as_file, dicom_image
from fixtures.orthanc_alone import OrthancAlone, orthanc_alone
from pacs.database import Database
from pacs.ports import Change, ChangeKind, ResourceLevel
from pacs.studies import ChangeFeed, FeedChange, StudyIndex, StudyQuery, StudyRow, search, warm
from pacs.work import WorkQueue, WorkState

if TYPE_CHECKING:
    from fixtures.postgresql import PostgresqlCluster

pytest_plugins = ("fixtures.orthancs", "fixtures.postgresql", "fixtures.databases")

NEVER = threading.Event()
TOLD = (ChangeKind.NEW_STUDY, ChangeKind.NEW_SERIES, ChangeKind.STABLE_SERIES, ChangeKind.STABLE_STUDY)
LONG_AFTER = timedelta(hours=2)


class Listening:
    """A feed whose changes are noted as work items, in the feed's own transaction."""

    def __init__(self, database: Database, orthanc: OrthancAlone, **options: Any) -> None:
        self.database = database
        self._orthanc = orthanc
        self.index = StudyIndex(database, orthanc.archive)
        self.feed = ChangeFeed(database, orthanc.archive, self.index, poll_seconds=0.1, **options)
        self._queue = WorkQueue(database, "told")
        self.feed.subscribe(TOLD, self._put)

    def _put(self, session: Session, change: FeedChange) -> None:
        self._queue.put({"kind": change.kind.value, "id": change.resource_id}, session=session)

    def told(self) -> Counter[tuple[str, str]]:
        """Return how often each change was committed."""
        return _items(self.database, "told")

    def kinds(self) -> Counter[str]:
        """Return how many changes of each kind were committed."""
        return Counter(kind for kind, _ in self.told().elements())

    def again(self, **options: Any) -> Listening:
        """Return the feed of the next process, after this one has ended in order."""
        self.feed._cursor.give_back()
        return Listening(self.database, self._orthanc, **options)

    def drain(self) -> None:
        """Deliver all that there is now."""
        while self.feed.step():
            pass

    def drain_until(self, condition: Callable[[], bool]) -> None:
        """Deliver what comes until `condition` is met."""
        deadline = time.monotonic() + 60
        while not condition():
            assert time.monotonic() < deadline, f"it did not happen; told: {self.kinds()}"
            if not self.feed.step():
                time.sleep(0.1)


@pytest.fixture
def listening(database: Database, orthanc: OrthancAlone) -> Listening:
    """Return a feed that has begun, at the end of an empty archive's changes."""
    made = Listening(database, orthanc)
    made.drain()
    return made


def _items(database: Database, queue_name: str) -> Counter[tuple[str, str]]:
    items = WorkQueue(database, queue_name).list_items(*WorkState, most=1000)
    return Counter((item.payload["kind"], item.payload["id"]) for item in items)


def _store(orthanc: OrthancAlone, **attributes: object) -> dict[str, str]:
    """Store an image; return what Orthanc says of it (ID, ParentSeries, ParentStudy)."""
    stored: dict[str, str] = orthanc.archive.post_bytes("/instances", as_file(dicom_image(**attributes)))
    return stored


def _all(database: Database) -> dict[str, StudyRow]:
    with database.session() as session:
        return {study.orthanc_study_id: study for study in search(session, StudyQuery(limit=1000)).studies}


def _later() -> datetime:
    return datetime.now(UTC) + LONG_AFTER


# -- in order -----------------------------------------------------------------------------------------------------


def test_feed_tells_each_change_once(listening: Listening, orthanc: OrthancAlone, database: Database) -> None:
    """From the first image to the stable study everything is told once, and the index is right at the end."""
    study_uid, series_uid = generate_uid(), generate_uid()
    for _ in range(3):
        stored = _store(orthanc, StudyInstanceUID=study_uid, SeriesInstanceUID=series_uid)
    other = _store(orthanc, StudyInstanceUID=study_uid, Modality="SR")
    listening.drain()
    study_id = stored["ParentStudy"]
    study = _all(database)[study_id]
    assert (study.series_count, study.instance_count, study.modalities) == (2, 4, ("CT", "SR"))
    listening.drain_until(lambda: listening.kinds()["StableStudy"] == 1)
    assert listening.told() == Counter(
        [
            ("NewStudy", study_id),
            ("StableStudy", study_id),
            *((kind, each["ParentSeries"]) for kind in ("NewSeries", "StableSeries") for each in (stored, other)),
        ]
    )
    assert _all(database)[study_id].is_stable
    assert _all(database)[study_id].size_bytes
    listening.drain()
    assert sum(listening.told().values()) == 6


def test_late_image_is_counted(listening: Listening, orthanc: OrthancAlone, database: Database) -> None:
    """An image that joins a series long after it was stable makes the study arrive again."""
    uids = {"StudyInstanceUID": generate_uid(), "SeriesInstanceUID": generate_uid()}
    study_id = _store(orthanc, **uids)["ParentStudy"]
    listening.drain_until(lambda: listening.kinds()["StableStudy"] == 1)
    received_at = _all(database)[study_id].received_at
    _store(orthanc, **uids)
    listening.drain()
    assert (_all(database)[study_id].instance_count, _all(database)[study_id].is_stable) == (2, False)
    listening.drain_until(lambda: listening.kinds()["StableStudy"] == 2)
    assert _all(database)[study_id].is_stable
    assert _all(database)[study_id].received_at == received_at


def test_first_start_tells_no_history(orthanc: OrthancAlone, database: Database) -> None:
    """Studies that were there before the first start are indexed and told to nobody."""
    old = _store(orthanc)["ParentStudy"]
    listening = Listening(database, orthanc)
    listening.drain()
    listening.index.reconcile(NEVER)
    new = _store(orthanc)["ParentStudy"]
    listening.drain()
    assert set(_all(database)) == {old, new}
    assert ("NewStudy", old) not in listening.told()
    assert listening.told()["NewStudy", new] == 1


def test_new_feed_continues(orthanc: OrthancAlone, database: Database) -> None:
    """What happened while no feed ran is told by the next one."""
    listening = Listening(database, orthanc)
    listening.drain()
    study_id = _store(orthanc)["ParentStudy"]
    again = listening.again()
    again.drain()
    assert again.told()["NewStudy", study_id] == 1


def test_many_changes_take_many_batches(
    listening: Listening, orthanc: OrthancAlone, monkeypatch: pytest.MonkeyPatch
) -> None:
    """However few changes are read at once, none is left out or told twice."""
    monkeypatch.setattr("pacs.studies.feed._CHANGES_AT_ONCE", 3)
    series = {_store(orthanc)["ParentSeries"] for _ in range(7)}
    listening.drain()
    assert listening.told() & Counter(("NewSeries", each) for each in series) == Counter(
        ("NewSeries", each) for each in series
    )
    assert listening.kinds()["NewSeries"] == 7


def test_deleted_study_leaves_index(listening: Listening, orthanc: OrthancAlone, database: Database) -> None:
    """A study deleted before its changes are read is neither listed nor a fault."""
    kept, deleted = (_store(orthanc)["ParentStudy"] for _ in range(2))
    listening.drain()
    orthanc.archive.delete(f"/studies/{deleted}")
    listening.feed.notice(Change(ChangeKind.DELETED, ResourceLevel.STUDY, deleted))
    short_lived = _store(orthanc)["ParentStudy"]
    orthanc.archive.delete(f"/studies/{short_lived}")
    listening.drain()
    stop = threading.Event()
    thread = threading.Thread(target=listening.index.run, args=(stop,))
    thread.start()
    listening.drain_until(lambda: set(_all(database)) == {kept})
    stop.set()
    thread.join(20)


def test_hint_wakes_feed(listening: Listening, orthanc: OrthancAlone) -> None:
    """With a hint the feed does not wait for its next look."""
    listening.feed._poll_seconds = 3600.0
    stop = threading.Event()
    thread = threading.Thread(target=listening.feed.run, args=(stop,))
    thread.start()
    time.sleep(1)
    study_id = _store(orthanc)["ParentStudy"]
    listening.feed.notice(Change(ChangeKind.NEW_STUDY, ResourceLevel.STUDY, study_id))
    deadline = time.monotonic() + 20
    while not listening.told()["NewStudy", study_id]:
        assert time.monotonic() < deadline
        time.sleep(0.1)
    stop.set()
    thread.join(20)
    assert not thread.is_alive()


# -- faults -------------------------------------------------------------------------------------------------------


def test_fault_of_subscriber_commits_nothing(listening: Listening, orthanc: OrthancAlone, database: Database) -> None:
    """When a subscriber fails, the index, other subscribers and the cursor stay; the next step does it all."""
    faults = [RuntimeError("the first time")]

    def fail_once(_session: Session, _change: FeedChange) -> None:
        if faults:
            raise faults.pop()

    listening.feed.subscribe({ChangeKind.NEW_STUDY}, fail_once)
    study_id = _store(orthanc)["ParentStudy"]
    with pytest.raises(RuntimeError, match="the first time"):
        listening.feed.step()
    assert (listening.told(), _all(database)) == (Counter(), {})
    listening.drain()
    assert listening.told()["NewStudy", study_id] == 1
    assert set(_all(database)) == {study_id}


def test_killed_feed_loses_and_repeats_nothing(orthanc: OrthancAlone, database: Database, database_url: str) -> None:
    """A feed killed in the middle of transactions and at any moment tells every change exactly once all the same."""
    listening = Listening(database, orthanc)
    listening.drain()
    listening.feed._cursor.give_back()
    stored: list[dict[str, str]] = []

    def store() -> None:
        for _ in range(40):
            stored.append(_store(orthanc))
            time.sleep(0.1)

    storing = threading.Thread(target=store)
    storing.start()
    for number, dies_after in enumerate((1, 2, 5, 9, 0, 0, 0)):
        with _feeding(orthanc, database_url, dies_after) as process:
            if dies_after:
                assert process.wait(60) == -signal.SIGKILL
            else:
                time.sleep(1.5 + 0.37 * number)
    storing.join()
    series = [each["ParentSeries"] for each in stored]
    expected = Counter((kind, each) for kind in ("NewSeries", "StableSeries") for each in series)
    deadline = time.monotonic() + 90
    with _feeding(orthanc, database_url, 0):
        while _items(database, QUEUE_NAME) != expected and time.monotonic() < deadline:
            time.sleep(0.5)
    assert _items(database, QUEUE_NAME) == expected
    assert set(_all(database)) == {each["ParentStudy"] for each in stored}


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


def test_two_feeds_share_work(orthanc: OrthancAlone, database: Database) -> None:
    """Two processes' feeds on one database tell every change once between them."""
    feeds = [Listening(database, orthanc) for _ in range(2)]
    feeds[0].drain()
    stop = threading.Event()

    def run(listening: Listening) -> None:
        while not stop.is_set():
            listening.feed._cursor._held_until = datetime.min.replace(tzinfo=UTC)
            listening.feed.step()

    threads = [threading.Thread(target=run, args=(each,)) for each in feeds]
    for thread in threads:
        thread.start()
    series = [_store(orthanc)["ParentSeries"] for _ in range(15)]
    feeds[0].told()
    deadline = time.monotonic() + 60
    while feeds[0].kinds()["StableSeries"] < 15 and time.monotonic() < deadline:
        time.sleep(0.2)
    stop.set()
    for thread in threads:
        thread.join(30)
    told = {key: times for key, times in feeds[0].told().items() if key[0].endswith("Series")}
    assert told == {(kind, each): 1 for kind in ("NewSeries", "StableSeries") for each in series}


def test_standby_takes_over(orthanc: OrthancAlone, database: Database) -> None:
    """On PostgreSQL one process reads; another does when that gives up, or is silent for longer than its hold."""
    if database.is_sqlite:
        pytest.skip("SQLite belongs to one Orthanc")
    first, second = Listening(database, orthanc), Listening(database, orthanc)
    first.drain()
    study_id = _store(orthanc)["ParentStudy"]
    second.drain()
    assert second.told() == Counter()
    first.feed._cursor.give_back()
    second.drain()
    assert second.told()["NewStudy", study_id] == 1
    much_later = Listening(database, orthanc, clock=_later)
    other = _store(orthanc)["ParentStudy"]
    much_later.drain()
    assert much_later.told()["NewStudy", other] == 1


# -- what Orthanc forgets -----------------------------------------------------------------------------------------


def test_orthanc_forgets_stable_events(orthanc: OrthancAlone) -> None:
    """The reason for telling them ourselves: after a restart all is stable and no event ever comes."""
    orthanc.configure({"StableAge": 5})
    orthanc.restart()
    study_id = _store(orthanc)["ParentStudy"]
    orthanc.restart(signal.SIGKILL)
    assert orthanc.archive.get_json(f"/studies/{study_id}")["IsStable"]
    time.sleep(8)
    kinds = {change["ChangeType"] for change in orthanc.archive.get_json("/changes?limit=1000")["Changes"]}
    assert kinds == {"NewInstance", "NewSeries", "NewStudy", "NewPatient"}


@pytest.mark.parametrize("how", [signal.SIGTERM, signal.SIGKILL])
def test_forgotten_stable_events_are_told_once(orthanc: OrthancAlone, database: Database, how: signal.Signals) -> None:
    """After a restart or crash before StableAge the missing events come, once, and only those that are missing."""
    listening = Listening(database, orthanc)
    listening.drain()
    study_uid = generate_uid()
    settled = _store(orthanc, StudyInstanceUID=study_uid)
    study_id = settled["ParentStudy"]
    listening.drain_until(lambda: listening.kinds()["StableStudy"] == 1)
    orthanc.configure({"StableAge": 3600})
    orthanc.restart()
    listening.drain()
    forgotten = _store(orthanc, StudyInstanceUID=study_uid)
    listening.drain()
    orthanc.restart(how)
    later = listening
    for _ in range(3):
        later = later.again(clock=_later)
        for _ in range(3):
            later.drain()
    told = later.told()
    assert told["StableSeries", forgotten["ParentSeries"]] == 1
    assert told["StableSeries", settled["ParentSeries"]] == 1
    assert told["StableStudy", study_id] == 2
    assert _all(database)[study_id].is_stable


def test_nothing_is_told_while_orthanc_waits(orthanc: OrthancAlone, database: Database) -> None:
    """While Orthanc itself still counts the seconds, it is not anticipated, whatever the clock says."""
    orthanc.configure({"StableAge": 3600})
    orthanc.restart()
    listening = Listening(database, orthanc, clock=_later)
    listening.drain()
    _store(orthanc)
    for _ in range(4):
        listening.feed._sweep_at = 0.0
        listening.drain()
    assert listening.kinds() == {"NewStudy": 1, "NewSeries": 1}


def test_forgotten_and_deleted_is_not_told(orthanc: OrthancAlone, database: Database) -> None:
    """A study deleted before it was stable is not waited for."""
    orthanc.configure({"StableAge": 3600})
    orthanc.restart()
    listening = Listening(database, orthanc)
    listening.drain()
    study_id = _store(orthanc)["ParentStudy"]
    listening.drain()
    orthanc.archive.delete(f"/studies/{study_id}")
    orthanc.restart()
    later = listening.again(clock=_later)
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
        _store(orthanc)
    listening.drain_until(lambda: listening.kinds()["StableStudy"] == 3)
    orthanc.stop()
    orthanc.erase()
    orthanc.start()
    study_id = _store(orthanc)["ParentStudy"]
    again = listening.again()
    with caplog.at_level(logging.WARNING):
        again.drain()
    assert again.told()["NewStudy", study_id] == 1
    assert "restored or replaced" in caplog.text
    again.index.reconcile(NEVER)
    assert set(_all(database)) == {study_id}


@pytest.mark.parametrize("studies_after", [1, 12])
def test_restored_archive_tells_only_news(
    listening: Listening, orthanc: OrthancAlone, database: Database, tmp_path: Path, studies_after: int
) -> None:
    """After a restore, numbers that were told mean other changes: these are told, what was told before is not."""
    old = _store(orthanc)["ParentStudy"]
    listening.drain_until(lambda: listening.kinds()["StableStudy"] == 1)
    orthanc.stop()
    orthanc.back_up(tmp_path / "backup")
    orthanc.start()
    lost = [_store(orthanc)["ParentStudy"] for _ in range(2)]
    listening.drain_until(lambda: listening.kinds()["StableStudy"] == 3)
    orthanc.stop()
    orthanc.restore(tmp_path / "backup")
    time.sleep(1.1)
    orthanc.start()
    new = [_store(orthanc)["ParentStudy"] for _ in range(studies_after)]
    again = listening.again()
    again.drain()
    assert {study_id for kind, study_id in again.told() if kind == "NewStudy"} == {old, *lost, *new}
    assert max(again.told().values()) == 1
    again.index.reconcile(NEVER)
    assert set(_all(database)) == {old, *new}


def test_deleting_newest_study_is_no_other_database(
    listening: Listening, orthanc: OrthancAlone, caplog: pytest.LogCaptureFixture
) -> None:
    """Orthanc forgets the changes of a deleted study, so that its last change is an older one: no reason to worry."""
    kept = _store(orthanc)["ParentStudy"]
    deleted = _store(orthanc)["ParentStudy"]
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
        listening.drain_until(lambda: listening.kinds()["StableSeries"] >= 40)
        told = {key: times for key, times in listening.told().items() if key[0].endswith("Series")}
        assert told == {(kind, each): 1 for kind in ("NewSeries", "StableSeries") for each in series}
        assert len(_all(database)) == 40
        assert all(study.is_stable and study.size_bytes for study in _all(database).values())
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


# -- metadata at hand ---------------------------------------------------------------------------------------------


def test_stable_series_is_put_to_be_warmed(listening: Listening, orthanc: OrthancAlone, database: Database) -> None:
    """Each stable series becomes one piece of work, later and behind all others."""
    queue = WorkQueue(database, warm.QUEUE_NAME)
    warm.subscribe(listening.feed, queue)
    series_id = _store(orthanc)["ParentSeries"]
    listening.drain_until(lambda: listening.kinds()["StableStudy"] == 1)
    (item,) = queue.list_items(*WorkState)
    assert item.payload == {"orthanc_series_id": series_id}
    assert item.priority < 0
    assert item.next_try_at > item.received_at


def test_warm_makes_metadata_once(orthanc: OrthancAlone) -> None:
    """A series whose metadata is not at hand is read, and then has it; one that has it, or is gone, is left alone."""
    orthanc.configure({"StableAge": 3600})
    orthanc.restart()
    series_id = _store(orthanc)["ParentSeries"]
    assert warm.warm(orthanc.archive, series_id)
    assert "4301" in orthanc.archive.get_json(f"/series/{series_id}/attachments")
    assert not warm.warm(orthanc.archive, series_id)
    assert not warm.warm(orthanc.archive, "no-such-series")
