"""What happens here, told to other systems: changes of the worklist, studies that can be opened, reports stored."""

from __future__ import annotations

import logging
from collections.abc import Iterator, Mapping
from dataclasses import dataclass, replace
from datetime import datetime
from typing import Any

from sqlalchemy import select
from sqlalchemy.orm import Session

from pacs.database import Database
from pacs.errors import NotFound
from pacs.hl7.outbound.events import OF_STATUS, Event, of_ordered_study, of_step, of_study
from pacs.hl7.outbound.kinds import EventKind
from pacs.hl7.outbound.outbox import Outbox
from pacs.mpps.matching import match
from pacs.mpps.progress import names_of, study_of
from pacs.ports import Archive, ChangeKind, Json
from pacs.studies import ChangeFeed, FeedChange
from pacs.studies.dicom_values import text
from pacs.studies.models import StudyRecord
from pacs.work import Claim, WorkQueue
from pacs.worklist.steps import StepChange, StepSelector
from pacs.worklist.worklist import Worklist

_log = logging.getLogger(__name__)

REPORT_QUEUE_NAME = "stored-reports"
# What people write; dose reports, measurements and the like are structured reports too and tell no findings.
_REPORT_CLASSES = frozenset(
    {
        "1.2.840.10008.5.1.4.1.1.88.11",  # Basic Text SR
        "1.2.840.10008.5.1.4.1.1.88.22",  # Enhanced SR
        "1.2.840.10008.5.1.4.1.1.88.33",  # Comprehensive SR
        "1.2.840.10008.5.1.4.1.1.88.34",  # Comprehensive 3D SR
        "1.2.840.10008.5.1.4.1.1.104.1",  # Encapsulated PDF
        "1.2.840.10008.5.1.4.1.1.104.2",  # Encapsulated CDA
    }
)
_REPORT_MODALITIES = frozenset({"SR", "DOC"})
_VERIFICATION_FLAG = "0040-a493"


class Reporting:
    """Puts into the outbox what there is to be told. Its listeners run in the transactions of what happened.

    Attributes
    ----------
    queue : reports that were stored and are to be looked at; `work_report` is its handler.
    """

    def __init__(self, database: Database, archive: Archive, worklist: Worklist, outbox: Outbox) -> None:
        self._database = database
        self._archive = archive
        self._worklist = worklist
        self._outbox = outbox
        self.queue = WorkQueue(database, REPORT_QUEUE_NAME)

    def follow(self, feed: ChangeFeed) -> None:
        """Subscribe to the worklist and to the archive's changes, unless nobody is to be told anything.

        After whoever lets images change the worklist: "completed" is then told before "study available".
        """
        if self._outbox.destinations:
            self._worklist.subscribe(self._on_step)
            feed.subscribe({ChangeKind.STABLE_STUDY}, self._on_stable_study)
            feed.subscribe({ChangeKind.STABLE_SERIES}, self._on_stable_series)

    def work_report(self, claim: Claim) -> Mapping[str, Any] | None:
        """Look at a series that was stored, and tell of it when it is a report. The handler of the queue."""
        payload = claim.item.payload
        report = self._report(payload["orthanc_series_id"])
        if report is None:
            return {"report": False}
        at = datetime.fromisoformat(payload["at"])
        with self._database.session(write=True) as session:
            study = _study(session, report.orthanc_study_id)
            if study is not None:
                kind = EventKind.REPORT_STORED
                for event in self._events(session, kind, study, at, is_verified=report.is_verified):
                    self._outbox.tell(session, event)
            claim.complete({"report": True}, session=session)
        return None

    def _on_step(self, session: Session, change: StepChange) -> None:
        kind = OF_STATUS.get(change.after)
        if kind is not None and change.before is not change.after:
            self._outbox.tell(session, of_step(kind, change.step, change.at))

    def _on_stable_study(self, session: Session, change: FeedChange) -> None:
        study = study_of(session, change)
        if study is not None:
            for event in self._events(session, EventKind.STUDY_AVAILABLE, study, change.at):
                self._outbox.tell(session, event)

    def _on_stable_series(self, session: Session, change: FeedChange) -> None:
        at = change.at.isoformat()
        self.queue.put(
            {"orthanc_series_id": change.resource_id, "at": at},
            dedupe=f"{change.resource_id} {change.sequence or at}",
            session=session,
        )

    def _events(
        self, session: Session, kind: EventKind, study: StudyRecord, at: datetime, *, is_verified: bool = False
    ) -> Iterator[Event]:
        """Yield what is to be told of a study: of each order that it is of, else of itself."""
        matched = match(session, names_of(study))
        if matched.is_contradicted:
            # Whoever is told might file it by its accession number, with the other patient.
            _log.warning("study %s is not told of: its order is another patient's", study.study_instance_uid)
            return
        told = set()
        for found in matched.steps:
            step = self._worklist.select(session, StepSelector(row_id=found.row_id))[0]
            order = (step.accession_number, step.requested_procedure_id, step.placer_order_number)
            if order not in told:
                told.add(order)
                yield replace(of_ordered_study(kind, step, study, at), is_verified=is_verified)
        if not told:
            yield replace(of_study(kind, study, at), is_verified=is_verified)

    def _report(self, orthanc_series_id: str) -> _Report | None:
        """Return the report that a series holds, None when it holds none or is gone."""
        try:
            series: Json = self._archive.get_json(f"/series/{orthanc_series_id}")
            if text(series["MainDicomTags"].get("Modality")) not in _REPORT_MODALITIES:
                return None
            newest = series["Instances"][-1]
            sop_class = self._archive.get_bytes(f"/instances/{newest}/metadata/SopClassUid").decode().strip()
        except NotFound:
            return None
        if sop_class not in _REPORT_CLASSES:
            return None
        return _Report(series["ParentStudy"], is_verified=self._is_verified(newest))

    def _is_verified(self, orthanc_instance_id: str) -> bool:
        try:
            flag = self._archive.get_bytes(f"/instances/{orthanc_instance_id}/content/{_VERIFICATION_FLAG}")
        except NotFound:
            return False
        return flag.decode("ascii", "replace").strip(" \0") == "VERIFIED"


@dataclass(frozen=True)
class _Report:
    """A report in the archive, and whether its author signed it."""

    orthanc_study_id: str
    is_verified: bool


def _study(session: Session, orthanc_study_id: str) -> StudyRecord | None:
    return session.scalars(select(StudyRecord).where(StudyRecord.orthanc_study_id == orthanc_study_id)).one_or_none()
