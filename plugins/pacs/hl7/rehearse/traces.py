"""What a rehearsal leaves behind in the archive and in our tables, and how all of it goes away again.

Everything is found by the patient's number of fiction, which nobody has by chance (`fiction.Play.has`).
"""

from __future__ import annotations

import time
from collections.abc import Iterator

from sqlalchemy import ColumnElement, delete, func, or_, select
from sqlalchemy.orm import Session

from pacs.database import Database
from pacs.errors import NotFound
from pacs.hl7.inbox import QUEUE_NAME as INBOX
from pacs.hl7.models import Hl7Frame, Hl7Message
from pacs.hl7.outbound.outbox import QUEUE_PREFIX
from pacs.hl7.rehearse.fiction import REHEARSAL, Play
from pacs.mpps.models import PerformedStepRecord
from pacs.ports import Archive, Json
from pacs.routing.trial import TrialRoute
from pacs.studies.models import StudyRecord
from pacs.work import WorkState
from pacs.work.models import WorkItemRecord
from pacs.worklist.models import StepRecord

_LONGEST_WAIT_SECONDS = 20.0
_LOOK_SECONDS = 0.25
_BATCH = 200


class Traces:
    """Finds and removes what rehearsals left, or another play. Called from the rehearsing thread."""

    def __init__(
        self, database: Database, archive: Archive, play: Play = REHEARSAL, route: TrialRoute | None = None
    ) -> None:
        self._play = play
        self._database = database
        self._archive = archive
        self._route = route

    def remove(self, patient_id: str) -> list[str]:
        """Remove everything of a patient of fiction; return what is still there when it could not all be removed.

        Waits for what is under way just now: the index that follows the archive, a message that is being sent.

        Raises
        ------
        ValueError : this is no patient of fiction.
        """
        if not self._play.has(patient_id):
            message = f"{patient_id!r} is no patient of a rehearsal"
            raise ValueError(message)
        give_up_at = time.monotonic() + _LONGEST_WAIT_SECONDS
        resources = self._resources(patient_id)
        while True:
            self._remove_images(patient_id)
            self._remove_rows(patient_id, resources)
            left = self._left(patient_id)
            if not left or time.monotonic() > give_up_at:
                # What the index put into queues before it noticed that the images are gone.
                self._remove_rows(patient_id, resources)
                return left
            time.sleep(_LOOK_SECONDS)

    def remove_left_behind(self) -> int:
        """Remove what rehearsals left that were interrupted, and return of how many patients of fiction."""
        with self._database.session() as session:
            found = set(_left_behind(session, self._play))
        for patient_id in found:
            self.remove(patient_id)
        return len(found)

    def _remove_images(self, patient_id: str) -> None:
        for each in self._images(patient_id):
            try:
                self._archive.delete(f"/patients/{each['ID']}")
            except NotFound:
                continue

    def _images(self, patient_id: str) -> list[Json]:
        found = self._archive.post_bytes("/tools/lookup", patient_id.encode())
        return [each for each in found if each["Type"] == "Patient"]

    def _resources(self, patient_id: str) -> list[str]:
        """Return Orthanc's identifiers of the studies and series, by which work in queues is named."""
        found = []
        for each in self._images(patient_id):
            patient = self._archive.get_json(f"/patients/{each['ID']}")
            found += patient["Studies"]
            for study in patient["Studies"]:
                found += self._archive.get_json(f"/studies/{study}")["Series"]
        return found

    def _remove_rows(self, patient_id: str, resources: list[str]) -> None:
        with self._database.session(write=True) as session:
            _remove_rows(session, patient_id, resources)
            if self._route is not None:
                self._route.forget(session, resources)

    def _left(self, patient_id: str) -> list[str]:
        left = ["images"] if self._images(patient_id) else []
        with self._database.session() as session:
            return left + [name for name, count in _counts(session, patient_id) if count]


def _remove_rows(session: Session, patient_id: str, resources: list[str]) -> None:
    item_ids = _work_items(session, patient_id, resources)
    free = (WorkItemRecord.id.in_(item_ids), WorkItemRecord.state != WorkState.WORKING.value)
    session.execute(delete(WorkItemRecord).where(*free))
    if not session.scalar(select(func.count()).where(WorkItemRecord.id.in_(item_ids))):
        # Whoever works a message wants to find it: it goes after its item.
        messages = select(Hl7Message.id).where(Hl7Message.patient_ids == patient_id)
        session.execute(delete(Hl7Frame).where(Hl7Frame.id.in_(messages)))
    session.execute(delete(PerformedStepRecord).where(PerformedStepRecord.patient_id == patient_id))
    session.execute(delete(StepRecord).where(StepRecord.patient_id == patient_id))


def _work_items(session: Session, patient_id: str, resources: list[str]) -> list[int]:
    """Return the items of all queues that carry something of the patient."""
    messages = select(Hl7Message.work_item_id).where(Hl7Message.patient_ids == patient_id)
    performed = select(PerformedStepRecord.sop_instance_uid).where(PerformedStepRecord.patient_id == patient_id)
    conditions: list[ColumnElement[bool]] = [WorkItemRecord.id.in_(messages) & _is_of_hl7()]
    # Reports of steps, notices of studies, looks at series, questions to rules, deliveries have these in their keys.
    for name in (*session.scalars(performed), *resources):
        conditions.append(WorkItemRecord.ordering_key.endswith(f" {name}", autoescape=True))
        conditions.append(WorkItemRecord.ordering_key == name)
        conditions.append(WorkItemRecord.dedupe_key.startswith(f"{name} ", autoescape=True))
    return list(session.scalars(select(WorkItemRecord.id).where(or_(*conditions))))


def _is_of_hl7() -> ColumnElement[bool]:
    return or_(WorkItemRecord.queue == INBOX, WorkItemRecord.queue.startswith(QUEUE_PREFIX, autoescape=True))


def _counts(session: Session, patient_id: str) -> Iterator[tuple[str, int]]:
    for name, column in (
        ("worklist", StepRecord.patient_id),
        ("messages", Hl7Message.patient_ids),
        ("performed steps", PerformedStepRecord.patient_id),
        ("index of studies", StudyRecord.patient_id),
    ):
        yield name, session.scalar(select(func.count()).where(column == patient_id)) or 0


def _left_behind(session: Session, play: Play) -> Iterator[str]:
    for column in (StepRecord.patient_id, Hl7Message.patient_ids, PerformedStepRecord.patient_id):
        statement = select(column).where(column.startswith(play.prefix)).distinct().limit(_BATCH)
        yield from filter(play.has, session.scalars(statement))
