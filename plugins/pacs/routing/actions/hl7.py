"""HL7 notices by rule: a system is told that the study is available, as it is told of others by its settings."""

from __future__ import annotations

from collections.abc import Iterator, Mapping
from datetime import UTC, datetime
from typing import Any

from sqlalchemy import select
from sqlalchemy.orm import Session

from pacs.database import Database
from pacs.hl7.outbound.events import Event, of_ordered_study, of_study
from pacs.hl7.outbound.kinds import EventKind
from pacs.hl7.outbound.outbox import Outbox
from pacs.mpps.matching import match
from pacs.mpps.progress import names_of
from pacs.routing.actions.orders import TaskOrder, Tasks
from pacs.studies.models import StudyRecord
from pacs.work import Reject
from pacs.worklist.steps import StepSelector
from pacs.worklist.worklist import Worklist


class Hl7Tasks:
    """The handler of `hl7`."""

    def __init__(self, database: Database, worklist: Worklist, outbox: Outbox) -> None:
        self._database = database
        self._worklist = worklist
        self._outbox = outbox

    def register(self, tasks: Tasks) -> None:
        """Have notices put here."""
        tasks.register("hl7", self.tell)

    def tell(self, order: TaskOrder) -> Mapping[str, Any]:
        """Put messages into the outbox. Raise Reject for a study that is another patient's than its order."""
        with self._database.session(write=True) as session:
            statement = select(StudyRecord).where(StudyRecord.orthanc_study_id == order.orthanc_study_id)
            study = session.scalars(statement).one_or_none()
            if study is None:
                return {"messages": 0}
            events = list(self._events(session, study))
            for event in events:
                for name in order.parameters["destinations"]:
                    self._outbox.tell_one(session, event, name)
        return {"messages": len(events)}

    def _events(self, session: Session, study: StudyRecord) -> Iterator[Event]:
        matched = match(session, names_of(study))
        if matched.is_contradicted:
            raise Reject("The order that the study names is another patient's. Correct the study or the order.")
        at, told = datetime.now(UTC), set()
        for found in matched.steps:
            step = self._worklist.select(session, StepSelector(row_id=found.row_id))[0]
            key = (step.accession_number, step.requested_procedure_id, step.placer_order_number)
            if key not in told:
                told.add(key)
                yield of_ordered_study(EventKind.STUDY_AVAILABLE, step, study, at)
        if not told:
            yield of_study(EventKind.STUDY_AVAILABLE, study, at)
