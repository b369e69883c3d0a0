"""What monitoring learns as studies come: whether they were ordered, by which message, and which dose they tell."""

from __future__ import annotations

import logging

from sqlalchemy import or_, select
from sqlalchemy.orm import Session

from pacs.metrics import Metrics
from pacs.monitoring import arrivals, doses
from pacs.ports import ChangeKind
from pacs.studies import ChangeFeed, FeedChange
from pacs.studies.models import StudyRecord
from pacs.work import WorkQueue
from pacs.worklist.models import StepHistoryRecord, StepRecord

_log = logging.getLogger(__name__)


class Following:
    """Listens to the feed of changes.

    Parameters
    ----------
    queue : of dose reports to be read.
    """

    def __init__(self, metrics: Metrics, queue: WorkQueue) -> None:
        self._queue = queue
        self._received = metrics.counter(
            "pacs_studies_received_total", "New studies, by whether the worklist has an entry for them.", ("order",)
        )
        for order in ("matched", "none"):
            self._received.labels(order)

    def follow(self, feed: ChangeFeed) -> None:
        """Subscribe. After whoever lets images change the worklist."""
        feed.subscribe({ChangeKind.NEW_STUDY}, self._on_new)
        feed.subscribe({ChangeKind.STABLE_STUDY}, self._on_stable)

    def _on_new(self, session: Session, change: FeedChange) -> None:
        is_ordered = arrivals.has_order(session, change.resource_id)
        if is_ordered is None:
            return
        self._received.labels("matched" if is_ordered else "none").inc()
        if _log.isEnabledFor(logging.INFO):
            _log.info("study received", extra=_origin(session, change.resource_id))

    def _on_stable(self, session: Session, change: FeedChange) -> None:
        doses.put(session, self._queue, change.resource_id, str(change.sequence or change.at.isoformat()))


def _origin(session: Session, orthanc_study_id: str) -> dict[str, object]:
    """Return the identifiers that tie a study to its order's entry and to the HL7 message that made it; no names."""
    study = session.scalars(select(StudyRecord).where(StudyRecord.orthanc_study_id == orthanc_study_id)).one()
    facts: dict[str, object] = {
        "orthanc_study_id": orthanc_study_id,
        "study_instance_uid": study.study_instance_uid,
        "station": study.remote_aet,
    }
    by_number = (StepRecord.accession_number == study.accession_number) & (StepRecord.accession_number != "")
    step = select(StepRecord.id).where(or_(by_number, StepRecord.study_instance_uid == study.study_instance_uid))
    step_id = session.scalars(step.order_by(StepRecord.id).limit(1)).first()
    if step_id is None:
        return facts
    history = select(StepHistoryRecord.detail).where(StepHistoryRecord.step_row_id == step_id)
    details = session.scalars(history.order_by(StepHistoryRecord.id)).all()
    message = next((detail["message"] for detail in details if detail.get("message")), None)
    return facts | {"worklist_step": step_id} | ({"hl7_message": message} if message else {})
