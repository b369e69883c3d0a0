"""`pacs.studies.index` with a real Orthanc, on SQLite and PostgreSQL: the copy is true and stays so."""

from __future__ import annotations

import threading
import time
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from datetime import UTC, datetime, timedelta

import pytest
from pydicom.uid import generate_uid

from fixtures.fictitious_studies import as_file, dicom_image
from fixtures.orthanc_alone import OrthancAlone, orthanc_alone
from fixtures.study_rows import store_rows, study_row
from pacs.database import Database
from pacs.errors import NotFound
from pacs.ports import Change, ChangeKind, ResourceLevel
from pacs.studies import Reconciliation, StudyIndex, StudyQuery, StudyRow, find_study, search

pytest_plugins = ("fixtures.orthancs", "fixtures.postgresql", "fixtures.databases")

NEVER = threading.Event()


@pytest.fixture
def index(database: Database, orthanc: OrthancAlone) -> StudyIndex:
    """Return an empty index beside an empty Orthanc."""
    return StudyIndex(database, orthanc.archive)


def _store(orthanc: OrthancAlone, **attributes: object) -> str:
    """Store an image and return the identifier of its study."""
    stored = orthanc.archive.post_bytes("/instances", as_file(dicom_image(**attributes)))
    return str(stored["ParentStudy"])


def _all(database: Database) -> dict[str, StudyRow]:
    with database.session() as session:
        return {study.orthanc_study_id: study for study in search(session, StudyQuery(limit=1000)).studies}


def _study(database: Database, orthanc_study_id: str) -> StudyRow:
    with database.session() as session:
        found = find_study(session, orthanc_study_id)
    assert found is not None
    return found


def _wait_until_stable(orthanc: OrthancAlone, study_id: str) -> None:
    _wait(lambda: bool(orthanc.archive.get_json(f"/studies/{study_id}")["IsStable"]))


def _wait(condition: Callable[[], bool], *, seconds: float = 30.0) -> None:
    deadline = time.monotonic() + seconds
    while not condition():
        assert time.monotonic() < deadline, "it did not happen"
        time.sleep(0.1)


@contextmanager
def _running(index: StudyIndex) -> Iterator[None]:
    stop = threading.Event()
    thread = threading.Thread(target=index.run, args=(stop,))
    thread.start()
    try:
        yield
    finally:
        stop.set()
        thread.join(20)


def test_refresh_copies_what_lists_show(index: StudyIndex, orthanc: OrthancAlone, database: Database) -> None:
    """Names of any script, dates, modalities and numbers arrive as DICOM has them."""
    study_uid, ct = generate_uid(), generate_uid()
    common = {
        "PatientName": "Yamada^Tarou=山田^太郎=やまだ^たろう",
        "PatientID": "Ñ-77",
        "StudyInstanceUID": study_uid,
        "AccessionNumber": "ACC-9",
        "StudyDescription": "Tórax",
        "ReferringPhysicianName": "Muñoz^José",
        "InstitutionName": "Hospital ficticio",
    }
    for _ in range(2):
        study_id = _store(orthanc, **common, SeriesInstanceUID=ct, BodyPartExamined="CHEST", StationName="CT1")
    _store(orthanc, **common, Modality="SR", SeriesNumber=2)
    assert index.refresh(study_id)
    study = _study(database, study_id)
    assert study.study_instance_uid == study_uid
    assert (study.patient_name, study.patient_id, study.patient_sex) == (common["PatientName"], "Ñ-77", "F")
    assert (study.modalities, study.body_parts, study.station_name) == (("CT", "SR"), ("CHEST",), "CT1")
    assert (study.series_count, study.instance_count) == (2, 3)
    assert f"{study.study_date} {study.study_time}" == "2026-03-10 10:15:00"
    assert (study.description, study.accession_number) == ("Tórax", "ACC-9")
    assert datetime.now(UTC) - study.last_update_at < timedelta(minutes=1)
    with database.session() as session:
        assert search(session, StudyQuery(text="muñoz")).total == 0
        assert search(session, StudyQuery(text="山田太郎 n-77", description="torax")).total == 1


def test_refresh_tells_size_once_stable(database: Database, tmp_path_factory: pytest.TempPathFactory) -> None:
    """While images arrive there is no size; then it is what Orthanc adds up, and it stays when more arrive."""
    # Time enough for the index to look before Orthanc calls it stable.
    with orthanc_alone(tmp_path_factory.mktemp("patient"), {"StableAge": 5}) as orthanc:
        index, study_uid = StudyIndex(database, orthanc.archive), generate_uid()
        study_id = _store(orthanc, StudyInstanceUID=study_uid)
        index.refresh(study_id)
        assert (_study(database, study_id).is_stable, _study(database, study_id).size_bytes) == (False, None)
        _wait_until_stable(orthanc, study_id)
        index.refresh(study_id)
        size_bytes = int(orthanc.archive.get_json(f"/studies/{study_id}/statistics")["DicomDiskSize"])
        assert (_study(database, study_id).is_stable, _study(database, study_id).size_bytes) == (True, size_bytes)
        _store(orthanc, StudyInstanceUID=study_uid)
        index.refresh(study_id)
        assert (_study(database, study_id).is_stable, _study(database, study_id).size_bytes) == (False, size_bytes)


def test_refresh_removes_what_is_gone(index: StudyIndex, orthanc: OrthancAlone, database: Database) -> None:
    """A study that the archive no longer has leaves the index."""
    study_id = _store(orthanc)
    assert index.refresh(study_id)
    orthanc.archive.delete(f"/studies/{study_id}")
    assert not index.refresh(study_id)
    assert _all(database) == {}


def test_refresh_of_unknown_study(index: StudyIndex) -> None:
    """An identifier that never was is no fault."""
    assert not index.refresh("00000000-00000000-00000000-00000000-00000000")


def test_remove_leaves_archive_alone(index: StudyIndex, orthanc: OrthancAlone, database: Database) -> None:
    """Removing is about the index only."""
    study_id = _store(orthanc)
    index.refresh(study_id)
    index.remove(study_id)
    assert _all(database) == {}
    assert orthanc.archive.get_json("/studies") == [study_id]


def test_same_study_uid_of_two_patients(index: StudyIndex, orthanc: OrthancAlone, database: Database) -> None:
    """Two patients' studies with one UID (a copying error that happens) are two studies, with their own series."""
    study_uid = generate_uid()
    one = _store(orthanc, StudyInstanceUID=study_uid, PatientID="A")
    other = _store(orthanc, StudyInstanceUID=study_uid, PatientID="B", Modality="MR")
    index.refresh_many([one, other])
    found = _all(database)
    assert {found[one].modalities, found[other].modalities} == {("CT",), ("MR",)}
    assert found[one].series_count == found[other].instance_count == 1


def test_reconcile_mends_both_ways(index: StudyIndex, orthanc: OrthancAlone, database: Database) -> None:
    """What the archive has is added, what it has not is removed, what changed unseen is refreshed; then all is well."""
    changed_uid, series_uid = generate_uid(), generate_uid()
    changed = _store(orthanc, StudyInstanceUID=changed_uid, SeriesInstanceUID=series_uid)
    index.refresh(changed)
    time.sleep(1.1)
    _store(orthanc, StudyInstanceUID=changed_uid, SeriesInstanceUID=series_uid)
    added = [_store(orthanc) for _ in range(3)]
    store_rows(database, study_row(PatientName="Nadie^Nunca"))
    assert index.reconcile(NEVER) == Reconciliation(added=3, removed=1, refreshed=1)
    found = _all(database)
    assert set(found) == {changed, *added}
    assert found[changed].instance_count == 2
    assert index.reconcile(NEVER) == Reconciliation(0, 0, 0)


def test_reconcile_notices_deleted_image(index: StudyIndex, orthanc: OrthancAlone, database: Database) -> None:
    """Images deleted while nobody looked are no longer counted."""
    study_uid = generate_uid()
    stored = [
        orthanc.archive.post_bytes("/instances", as_file(dicom_image(StudyInstanceUID=study_uid))) for _ in range(2)
    ]
    study_id = stored[0]["ParentStudy"]
    index.refresh(study_id)
    time.sleep(1.1)
    orthanc.archive.delete(f"/series/{stored[0]['ParentSeries']}")
    index.reconcile(NEVER)
    assert _study(database, study_id).instance_count == _study(database, study_id).series_count == 1


def test_reconcile_stops_when_told(index: StudyIndex, orthanc: OrthancAlone, database: Database) -> None:
    """At the end of the program nothing waits for a long import."""
    _store(orthanc)
    stop = threading.Event()
    stop.set()
    index.reconcile(stop)
    assert _all(database) == {}


def test_limits_of_find_hide_nothing(
    database: Database, tmp_path_factory: pytest.TempPathFactory, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Orthanc cuts answers short at LimitFindResults and LimitFindInstances without a word; still all is read."""
    monkeypatch.setattr("pacs.studies.index._MANY_MISSING", 3)
    limits = {"LimitFindResults": 2, "LimitFindInstances": 2}
    with orthanc_alone(tmp_path_factory.mktemp("limited"), limits) as orthanc:
        study_uid = generate_uid()
        ids = {_store(orthanc, StudyInstanceUID=study_uid, SeriesNumber=number) for number in range(5)}
        ids |= {_store(orthanc) for _ in range(5)}
        index = StudyIndex(database, orthanc.archive)
        assert index.reconcile(NEVER).added == 6
        study = next(study for study in _all(database).values() if study.study_instance_uid == study_uid)
        assert (study.series_count, study.instance_count) == (5, 5)
        instances = index.reader.series_of_instances(index.reader.studies([study.orthanc_study_id])[0])
        assert len(instances) == 5
        assert set(_all(database)) == ids


def test_deletion_hint_removes_study(index: StudyIndex, orthanc: OrthancAlone, database: Database) -> None:
    """The running index removes a study as soon as it hears of the deletion, and keeps one that is still there."""
    kept, deleted = _store(orthanc), _store(orthanc)
    index.refresh_many([kept, deleted])
    orthanc.archive.delete(f"/studies/{deleted}")
    with _running(index):
        for study_id in (kept, deleted):
            index.notice_deletion(Change(ChangeKind.DELETED, ResourceLevel.STUDY, study_id))
        _wait(lambda: set(_all(database)) == {kept})


def test_requested_reconciliation_happens(index: StudyIndex, orthanc: OrthancAlone, database: Database) -> None:
    """The running index compares when it is asked to."""
    study_id = _store(orthanc)
    with _running(index):
        index.request_reconciliation()
        _wait(lambda: set(_all(database)) == {study_id})


def test_missing_archive_is_told(index: StudyIndex, orthanc: OrthancAlone) -> None:
    """What Orthanc does not have is NotFound for the reader's callers, never a wrong answer."""
    with pytest.raises(NotFound):
        orthanc.archive.get_json("/studies/no-such-study")
    assert index.reader.size_bytes("no-such-study") is None
    assert index.reader.study_of(ResourceLevel.INSTANCE, "no-such-instance") is None
