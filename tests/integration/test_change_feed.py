"""`pacs.studies.feed` with a real Orthanc, on SQLite and PostgreSQL: every change is told once."""

from __future__ import annotations

import threading
import time
from collections import Counter
from datetime import UTC, datetime

import pytest
from pydicom.uid import generate_uid
from sqlalchemy.orm import Session

from fixtures.feeds import Listening, begun, hours_later, listed, store
from fixtures.orthanc_alone import OrthancAlone
from pacs.database import Database
from pacs.ports import Change, ChangeKind, ResourceLevel
from pacs.studies import FeedChange, warm
from pacs.work import WorkQueue, WorkState

pytest_plugins = ("fixtures.orthancs", "fixtures.postgresql", "fixtures.databases")

NEVER = threading.Event()


@pytest.fixture
def listening(database: Database, orthanc: OrthancAlone) -> Listening:
    """Return a feed that has begun."""
    return begun(database, orthanc)


# -- in order -----------------------------------------------------------------------------------------------------


def test_feed_tells_each_change_once(listening: Listening, orthanc: OrthancAlone, database: Database) -> None:
    """From the first image to the stable study everything is told once, and the index is right at the end."""
    study_uid, series_uid = generate_uid(), generate_uid()
    for _ in range(3):
        stored = store(orthanc, StudyInstanceUID=study_uid, SeriesInstanceUID=series_uid)
    other = store(orthanc, StudyInstanceUID=study_uid, Modality="SR")
    listening.drain()
    study_id = stored["ParentStudy"]
    study = listed(database)[study_id]
    assert (study.series_count, study.instance_count, study.modalities) == (2, 4, ("CT", "SR"))
    listening.drain_until(lambda: listening.kinds()["StableStudy"] == 1)
    assert listening.told() == Counter(
        [
            ("NewStudy", study_id),
            ("StableStudy", study_id),
            *((kind, each["ParentSeries"]) for kind in ("NewSeries", "StableSeries") for each in (stored, other)),
        ]
    )
    assert listed(database)[study_id].is_stable
    assert listed(database)[study_id].size_bytes
    listening.drain()
    assert sum(listening.told().values()) == 6


def test_late_image_is_counted(listening: Listening, orthanc: OrthancAlone, database: Database) -> None:
    """An image that joins a series long after it was stable makes the study arrive again."""
    uids = {"StudyInstanceUID": generate_uid(), "SeriesInstanceUID": generate_uid()}
    study_id = store(orthanc, **uids)["ParentStudy"]
    listening.drain_until(lambda: listening.kinds()["StableStudy"] == 1)
    received_at = listed(database)[study_id].received_at
    store(orthanc, **uids)
    listening.drain()
    assert (listed(database)[study_id].instance_count, listed(database)[study_id].is_stable) == (2, False)
    listening.drain_until(lambda: listening.kinds()["StableStudy"] == 2)
    assert listed(database)[study_id].is_stable
    assert listed(database)[study_id].received_at == received_at


def test_first_start_tells_no_history(orthanc: OrthancAlone, database: Database) -> None:
    """Studies that were there before the first start are indexed and told to nobody."""
    old = store(orthanc)["ParentStudy"]
    listening = Listening(database, orthanc)
    listening.drain()
    listening.index.reconcile(NEVER)
    new = store(orthanc)["ParentStudy"]
    listening.drain()
    assert set(listed(database)) == {old, new}
    assert ("NewStudy", old) not in listening.told()
    assert listening.told()["NewStudy", new] == 1


def test_new_feed_continues(orthanc: OrthancAlone, database: Database) -> None:
    """What happened while no feed ran is told by the next one."""
    listening = Listening(database, orthanc)
    listening.drain()
    study_id = store(orthanc)["ParentStudy"]
    again = listening.again()
    again.drain()
    assert again.told()["NewStudy", study_id] == 1


def test_many_changes_take_many_batches(
    listening: Listening, orthanc: OrthancAlone, monkeypatch: pytest.MonkeyPatch
) -> None:
    """However few changes are read at once, none is left out or told twice."""
    monkeypatch.setattr("pacs.studies.feed._CHANGES_AT_ONCE", 3)
    series = {store(orthanc)["ParentSeries"] for _ in range(7)}
    listening.drain()
    assert listening.told() & Counter(("NewSeries", each) for each in series) == Counter(
        ("NewSeries", each) for each in series
    )
    assert listening.kinds()["NewSeries"] == 7


def test_deleted_study_leaves_index(listening: Listening, orthanc: OrthancAlone, database: Database) -> None:
    """A study deleted before its changes are read is neither listed nor a fault."""
    kept, deleted = (store(orthanc)["ParentStudy"] for _ in range(2))
    listening.drain()
    orthanc.archive.delete(f"/studies/{deleted}")
    listening.feed.notice(Change(ChangeKind.DELETED, ResourceLevel.STUDY, deleted))
    short_lived = store(orthanc)["ParentStudy"]
    orthanc.archive.delete(f"/studies/{short_lived}")
    listening.drain()
    stop = threading.Event()
    thread = threading.Thread(target=listening.index.run, args=(stop,))
    thread.start()
    listening.drain_until(lambda: set(listed(database)) == {kept})
    stop.set()
    thread.join(20)


def test_hint_wakes_feed(listening: Listening, orthanc: OrthancAlone) -> None:
    """With a hint the feed does not wait for its next look."""
    listening.feed._poll_seconds = 3600.0
    stop = threading.Event()
    thread = threading.Thread(target=listening.feed.run, args=(stop,))
    thread.start()
    time.sleep(1)
    study_id = store(orthanc)["ParentStudy"]
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
    study_id = store(orthanc)["ParentStudy"]
    with pytest.raises(RuntimeError, match="the first time"):
        listening.feed.step()
    assert (listening.told(), listed(database)) == (Counter(), {})
    listening.drain()
    assert listening.told()["NewStudy", study_id] == 1
    assert set(listed(database)) == {study_id}


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
    series = [store(orthanc)["ParentSeries"] for _ in range(15)]
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
    study_id = store(orthanc)["ParentStudy"]
    second.drain()
    assert second.told() == Counter()
    first.feed._cursor.give_back()
    second.drain()
    assert second.told()["NewStudy", study_id] == 1
    much_later = Listening(database, orthanc, clock=hours_later)
    other = store(orthanc)["ParentStudy"]
    much_later.drain()
    assert much_later.told()["NewStudy", other] == 1


# -- metadata at hand ---------------------------------------------------------------------------------------------


def test_stable_series_is_put_to_be_warmed(listening: Listening, orthanc: OrthancAlone, database: Database) -> None:
    """Each stable series becomes one piece of work, later and behind all others."""
    queue = WorkQueue(database, warm.QUEUE_NAME)
    warm.subscribe(listening.feed, queue)
    series_id = store(orthanc)["ParentSeries"]
    listening.drain_until(lambda: listening.kinds()["StableStudy"] == 1)
    (item,) = queue.list_items(*WorkState)
    assert item.payload == {"orthanc_series_id": series_id}
    assert item.priority < 0
    assert item.next_try_at > item.received_at


def test_warm_makes_metadata_once(patient_orthanc: OrthancAlone) -> None:
    """A series whose metadata is not at hand is read, and then has it; one that has it, or is gone, is left alone."""
    orthanc = patient_orthanc
    series_id = store(orthanc)["ParentSeries"]
    assert warm.warm(orthanc.archive, series_id)
    assert "4301" in orthanc.archive.get_json(f"/series/{series_id}/attachments")
    assert not warm.warm(orthanc.archive, series_id)
    assert not warm.warm(orthanc.archive, "no-such-series")
