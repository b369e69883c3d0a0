"""`StudyIndex`: our table of studies, kept in step with the archive."""

from __future__ import annotations

import logging
import threading
import time
from collections.abc import Iterable, Mapping, Sequence
from contextlib import AbstractContextManager
from dataclasses import dataclass
from datetime import UTC, datetime, timedelta
from itertools import batched

from sqlalchemy import delete, func, select
from sqlalchemy.dialects import postgresql, sqlite
from sqlalchemy.orm import Session

from pacs.database import Database
from pacs.ports import Archive, Change, Json, ResourceLevel
from pacs.studies.models import StudyRecord, UnsettledRecord
from pacs.studies.reader import StudyReader
from pacs.studies.records import RowValues, row_values

_log = logging.getLogger(__name__)

_STUDIES_AT_ONCE = 100
# From so many missing studies on, reading all of them page by page is quicker than asking for each.
_MANY_MISSING = 500
_LOOK_SECONDS = 0.5
_AFTER_DELETION_SECONDS = 60.0
_LONG_UNSTABLE = timedelta(hours=1)
_KEPT = {"id", "orthanc_study_id", "received_at"}


@dataclass(frozen=True)
class Reconciliation:
    """What was out of step and is mended: numbers of studies."""

    added: int
    removed: int
    refreshed: int


class StudyIndex:
    """Copies what lists and searches need of each study. Safe to use from any thread.

    The change feed brings it news; `reconcile` mends what news did not reach.
    """

    def __init__(self, database: Database, archive: Archive) -> None:
        self.reader = StudyReader(archive)
        self._database = database
        # Who reads Orthanc and writes what it said holds this, so that older words never overwrite newer ones.
        self._turn = threading.Lock()
        self._deleted: set[str] = set()
        self._requests_lock = threading.Lock()
        self._reconcile_at: float | None = None

    def turn(self) -> AbstractContextManager[bool]:
        """Keep other threads from reading and writing studies until the block ends."""
        return self._turn

    def refresh(self, orthanc_study_id: str) -> bool:
        """Copy a study anew from the archive, or remove it when it is not there; tell whether it is there."""
        return self.refresh_many([orthanc_study_id]) == 1

    def refresh_many(self, orthanc_study_ids: Iterable[str]) -> int:
        """Copy studies anew from the archive, remove those that are not there; return how many are there."""
        there = 0
        for ids in batched(orthanc_study_ids, _STUDIES_AT_ONCE, strict=False):
            with self._turn:
                studies = self.reader.studies(ids)
                self._store(studies, set(ids) - {study["ID"] for study in studies})
            there += len(studies)
        return there

    def remove(self, orthanc_study_id: str) -> None:
        """Take a study out of the index. Nothing happens in the archive."""
        with self._turn, self._database.session(write=True) as session:
            self.forget(session, {orthanc_study_id})

    # -- for whoever holds the turn --------------------------------------------------------------------------------

    def read(self, studies: Sequence[Json], received_at: Mapping[str, datetime] | None = None) -> list[RowValues]:
        """Return the rows of studies whose JSON was just read, asking Orthanc for the rest. No transaction is open.

        Parameters
        ----------
        received_at : when studies were received, by identifier, where that is known. For others it is the last
            update: asking for the first instance would cost two calls for each study of an archive with history.
        """
        series = self.reader.series(studies)
        rows = [row_values(study, series.get(study["ID"], [])) for study in studies]
        for row in rows:
            study_id = row["orthanc_study_id"]
            row["received_at"] = (received_at or {}).get(study_id, row["last_update_at"])
            # Orthanc adds up all files of the study: only once it is whole.
            row["size_bytes"] = self.reader.size_bytes(study_id) if row["is_stable"] else None
        return rows

    def write(self, session: Session, rows: Sequence[RowValues]) -> None:
        """Insert rows or update those that are there; when a study was received never changes."""
        if not rows:
            return
        insert = sqlite.insert if self._database.is_sqlite else postgresql.insert
        statement = insert(StudyRecord)
        new = statement.excluded
        changes = {column.name: new[column.name] for column in StudyRecord.__table__.c if column.name not in _KEPT}
        changes["size_bytes"] = func.coalesce(new.size_bytes, StudyRecord.size_bytes)
        session.execute(statement.on_conflict_do_update(index_elements=["orthanc_study_id"], set_=changes), list(rows))

    def forget(self, session: Session, orthanc_study_ids: set[str]) -> None:
        """Delete rows of studies that are not in the archive."""
        for ids in batched(orthanc_study_ids, _STUDIES_AT_ONCE, strict=False):
            session.execute(delete(StudyRecord).where(StudyRecord.orthanc_study_id.in_(ids)))
            session.execute(delete(UnsettledRecord).where(UnsettledRecord.orthanc_study_id.in_(ids)))

    def _store(self, studies: Sequence[Json], gone: set[str]) -> None:
        rows = self.read(studies)
        with self._database.session(write=True) as session:
            self.write(session, rows)
            self.forget(session, gone)

    # -- mending ---------------------------------------------------------------------------------------------------

    def reconcile(self, stop: threading.Event) -> Reconciliation:
        """Compare with the archive and mend what differs, until done or `stop` is set.

        In step it takes three calls and no writing: all identifiers, and the numbers of series and instances. Only
        where those numbers differ every study's last update is compared.
        """
        # In this order: a study that comes in between is one too many in the archive, never in the index.
        known = self._known_ids()
        present = self.reader.study_ids()
        added = self._import(present - known, stop)
        removed = self._refresh_until(stop, known - present)
        refreshed = 0 if stop.is_set() else self._refresh_until(stop, self._outdated(stop))
        done = Reconciliation(added, removed, refreshed)
        if added or removed or refreshed:
            _log.info("study index: %d studies added, %d removed, %d refreshed", added, removed, refreshed)
        return done

    def _known_ids(self) -> set[str]:
        with self._database.session() as session:
            return set(session.scalars(select(StudyRecord.orthanc_study_id)))

    def _import(self, missing: set[str], stop: threading.Event) -> int:
        left = set(missing)
        if len(missing) >= _MANY_MISSING:
            for page in self.reader.all_studies():
                for studies in batched(
                    (study for study in page if study["ID"] in left), _STUDIES_AT_ONCE, strict=False
                ):
                    if stop.is_set():
                        return len(missing) - len(left)
                    left -= self._add(studies)
        return len(missing) - len(left) + self._refresh_until(stop, left)

    def _add(self, studies: Sequence[Json]) -> set[str]:
        """Add studies that the index does not have; return their identifiers."""
        ids = {study["ID"] for study in studies}
        with self._turn:
            with self._database.session() as session:
                wanted = StudyRecord.orthanc_study_id.in_(ids)
                fed_meanwhile = set(session.scalars(select(StudyRecord.orthanc_study_id).where(wanted)))
            self._store([study for study in studies if study["ID"] not in fed_meanwhile], set())
        return ids

    def _refresh_until(self, stop: threading.Event, orthanc_study_ids: set[str]) -> int:
        """Refresh studies until done or told to stop; return how many were."""
        done = 0
        for ids in batched(orthanc_study_ids, _STUDIES_AT_ONCE, strict=False):
            if stop.is_set():
                break
            self.refresh_many(ids)
            done += len(ids)
        return done

    def _outdated(self, stop: threading.Event) -> set[str]:
        """Return studies whose content changed without news, and those said to be arriving for too long."""
        with self._database.session() as session:
            sums = select(func.coalesce(func.sum(StudyRecord.series_count), 0), func.sum(StudyRecord.instance_count))
            series, instances = session.execute(sums).one()
            arriving = StudyRecord.is_stable.is_(False) & (StudyRecord.last_update_at < _now() - _LONG_UNSTABLE)
            outdated = set(session.scalars(select(StudyRecord.orthanc_study_id).where(arriving)))
        totals = self.reader.totals()
        if (totals.series, totals.instances) == (series, instances or 0):
            return outdated
        return outdated | self._updated_since(stop)

    def _updated_since(self, stop: threading.Event) -> set[str]:
        with self._database.session() as session:
            rows = session.execute(select(StudyRecord.orthanc_study_id, StudyRecord.last_update_at))
            known = {row.orthanc_study_id: row.last_update_at for row in rows}
        updated: set[str] = set()
        for page in self.reader.all_updates():
            if stop.is_set():
                break
            updated |= {study_id for study_id, at in page if study_id in known and at and at != known[study_id]}
        return updated

    # -- its own thread --------------------------------------------------------------------------------------------

    def request_reconciliation(self, *, in_seconds: float = 0.0) -> None:
        """Have `run` reconcile soon. Returns at once."""
        with self._requests_lock:
            at = time.monotonic() + in_seconds
            self._reconcile_at = at if self._reconcile_at is None else min(at, self._reconcile_at)

    def notice_deletion(self, change: Change) -> None:
        """Take note that something was deleted from the archive. Called from Orthanc's thread: returns at once."""
        if change.level is ResourceLevel.STUDY:
            with self._requests_lock:
                self._deleted.add(change.resource_id)
        elif change.level in (ResourceLevel.SERIES, ResourceLevel.INSTANCE):
            # Orthanc does not say of which study; the numbers will tell.
            self.request_reconciliation(in_seconds=_AFTER_DELETION_SECONDS)

    def run(self, stop: threading.Event) -> None:
        """Do what was requested until `stop` is set. A supervised thread."""
        while not stop.wait(_LOOK_SECONDS):
            deleted, is_due = self._requests()
            try:
                self._refresh_until(stop, deleted)
                if is_due:
                    self.reconcile(stop)
            except Exception:
                # The thread is started again: what was asked for is done then.
                self.request_reconciliation()
                raise

    def _requests(self) -> tuple[set[str], bool]:
        with self._requests_lock:
            deleted, self._deleted = self._deleted, set()
            is_due = self._reconcile_at is not None and self._reconcile_at <= time.monotonic()
            if is_due:
                self._reconcile_at = None
            return deleted, is_due


def _now() -> datetime:
    return datetime.now(UTC)
