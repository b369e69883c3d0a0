"""`TrialRoute`: routing tried with a study of nobody, which goes to a target of our own and is forgotten again."""

from __future__ import annotations

from collections.abc import Sequence

from sqlalchemy import ColumnElement, delete, select
from sqlalchemy.orm import Session

from pacs.database import Database
from pacs.processes.scratch import remove_tree
from pacs.routing.delivery.models import DeliveryRecord
from pacs.routing.rules.service import Rules
from pacs.routing.service import Routing
from pacs.routing.targets.own import OWN_TARGET
from pacs.studies.models import StudyRecord


class TrialRoute:
    """Sends studies of nobody the way of all others: rules, ledger, sending, proof. Safe to use from any thread."""

    def __init__(self, database: Database, routing: Routing, rules: Rules) -> None:
        self._database = database
        self._folder = routing.own_folder
        self._rules = rules

    @property
    def is_on(self) -> bool:
        """Whether routing is switched on."""
        return self._rules.is_enabled

    def begin(self, orthanc_study_id: str) -> None:
        """Have a study routed. What is not one of nobody goes nowhere by this."""
        self._rules.try_out(orthanc_study_id)

    def delivery(self, orthanc_study_id: str) -> DeliveryRecord | None:
        """Return how far a study has come, None before it is in the ledger."""
        wanted = (DeliveryRecord.orthanc_study_id == orthanc_study_id, DeliveryRecord.target == OWN_TARGET)
        with self._database.session() as session:
            return session.scalars(select(DeliveryRecord).where(*wanted)).one_or_none()

    def forget(self, session: Session, orthanc_ids: Sequence[str]) -> None:
        """Remove studies from the ledger and the target, and those that an interrupted trial left."""
        # What it left is not in the archive any more.
        is_left = DeliveryRecord.orthanc_study_id.not_in(select(StudyRecord.orthanc_study_id))
        wanted: ColumnElement[bool] = (DeliveryRecord.target == OWN_TARGET) & (
            DeliveryRecord.orthanc_study_id.in_(orthanc_ids) | is_left
        )
        for uid in session.scalars(select(DeliveryRecord.study_instance_uid).where(wanted)):
            remove_tree(self._folder / uid)
        session.execute(delete(DeliveryRecord).where(wanted))
