"""What the archive knows of a patient of fiction: each look waits until it is there, and says what is missing."""

from __future__ import annotations

import time
from collections.abc import Callable
from dataclasses import dataclass

from sqlalchemy import select

from pacs.database import Database
from pacs.errors import PacsError
from pacs.hl7.journal import Entry, Journal, Search
from pacs.hl7.rehearse.fiction import Fiction
from pacs.hl7.rehearse.site import Site
from pacs.hl7.rehearse.traces import Traces
from pacs.hl7.states import Direction, MessageState
from pacs.ports import Archive
from pacs.routing.delivery.states import DeliveryState
from pacs.routing.trial import TrialRoute
from pacs.studies.models import StudyRecord
from pacs.worklist.models import StepRecord
from pacs.worklist.statuses import StepStatus

_WORKED_SECONDS = 15.0
_SENT_SECONDS = 30.0
_LOOK_SECONDS = 0.1


class Failed(PacsError):
    """A check found that something does not work."""

    code = "rehearsal"


class NotTested(Exception):
    """A check has nothing to look at here; the message says why."""


def require(condition: object, words: str) -> None:
    """Raise Failed with these words unless it is so."""
    if not condition:
        raise Failed(words)


@dataclass(frozen=True)
class Tools:
    """What a rehearsal works with.

    Attributes
    ----------
    route : None where nothing is routed.
    """

    database: Database
    archive: Archive
    journal: Journal
    site: Site
    traces: Traces
    route: TrialRoute | None = None


@dataclass(frozen=True)
class Evidence:
    """Looks for what a rehearsal should have led to. Its methods raise Failed, and NotTested when told to stop.

    Parameters
    ----------
    should_stop : told while waiting.
    """

    tools: Tools
    fiction: Fiction
    should_stop: Callable[[], bool]

    def go_on(self) -> None:
        """Raise NotTested when the rehearsal is to stop."""
        if self.should_stop():
            raise NotTested("The rehearsal was stopped.")

    def require_order_worked(self) -> None:
        """Wait until the order has had its effects."""
        worked = self._awaited(self._worked_order, _WORKED_SECONDS)
        if worked is None:
            raise Failed("The order is acknowledged and was not worked in time.")
        require(worked.state is MessageState.DONE, f"The order became a dead letter: {worked.error}")

    def require_entry(self) -> None:
        """Look whether the worklist has an entry of the patient."""
        require(self._step_status() is not None, "The order made no worklist entry of the patient.")

    def require_status(self, status: StepStatus) -> None:
        """Wait until the worklist's entry has a status."""
        is_so = self._awaited(lambda: self._step_status() is status, _WORKED_SECONDS)
        require(is_so, f"The worklist entry did not become {status}.")

    def require_stored(self, study_instance_uid: str) -> None:
        """Wait until Orthanc has the study."""
        is_there = self._awaited(lambda: self._is_stored(study_instance_uid), _WORKED_SECONDS)
        require(is_there, "The archive answered that it stored the image, and does not have it.")

    def require_listed(self, study_instance_uid: str) -> None:
        """Wait until the list of studies has it."""
        is_listed = self._awaited(lambda: self._is_listed(study_instance_uid), _WORKED_SECONDS)
        require(is_listed, "The study does not appear in the list of studies.")

    def require_routed(self, route: TrialRoute, study_instance_uid: str) -> str:
        """Have the study routed; wait until the target has proven it, and return what it proved."""
        of_study = select(StudyRecord.orthanc_study_id).where(StudyRecord.study_instance_uid == study_instance_uid)
        with self.tools.database.session() as session:
            orthanc_study_id = session.scalars(of_study).first() or ""
        require(orthanc_study_id, "The study is not in the list of studies: nothing can be sent.")
        route.begin(orthanc_study_id)

        def is_over() -> bool:
            delivery = route.delivery(orthanc_study_id)
            return delivery is not None and delivery.state in (DeliveryState.PROVEN, DeliveryState.FAILED)

        self._awaited(is_over, _SENT_SECONDS)
        delivery = route.delivery(orthanc_study_id)
        if delivery is None:
            raise Failed("The rules were not asked in time: no delivery was ordered.")
        told = delivery.error or f"it is {delivery.state}."
        require(delivery.state == DeliveryState.PROVEN, f"The study did not reach its target: {told}")
        return f"{delivery.confirmed} of {delivery.instances} proven"

    def require_told(self, expected: dict[str, int]) -> str:
        """Wait until each destination has acknowledged so many messages; return who acknowledged how many."""
        give_up_at = time.monotonic() + _SENT_SECONDS
        return "; ".join(
            self._told(name, count, max(give_up_at - time.monotonic(), 0)) for name, count in expected.items()
        )

    def _told(self, name: str, count: int, seconds: float) -> str:
        """Wait until a destination has acknowledged what it is told about the step."""

        def sent() -> list[Entry]:
            out = Search(text=self.fiction.patient_id, direction=Direction.OUT, peer=name)
            return self.tools.journal.find(out)

        def is_over() -> bool:
            entries = sent()
            return len(entries) >= count and all(entry.state is not MessageState.WAITING for entry in entries)

        self._awaited(is_over, seconds)
        entries = sent()
        done = [entry for entry in entries if entry.state is MessageState.DONE]
        refused = next((entry.error or "" for entry in entries if entry.state is MessageState.FAILED), "")
        require(not refused, f"{name}: {refused}")
        require(len(done) >= count, f"{name}: {len(done)} of {count} messages acknowledged.")
        return f"{name}: {len(done)}"

    def _worked_order(self) -> Entry | None:
        found = self.tools.journal.find(Search(text=self.fiction.control_id, direction=Direction.IN))
        return next((entry for entry in found if entry.state is not MessageState.WAITING), None)

    def _step_status(self) -> StepStatus | None:
        statement = select(StepRecord.status).where(StepRecord.patient_id == self.fiction.patient_id)
        with self.tools.database.session() as session:
            status = session.scalars(statement).first()
        return StepStatus(status) if status else None

    def _is_stored(self, study_instance_uid: str) -> bool:
        found = self.tools.archive.post_bytes("/tools/lookup", study_instance_uid.encode())
        return any(each["Type"] == "Study" for each in found)

    def _is_listed(self, study_instance_uid: str) -> bool:
        statement = select(StudyRecord.id).where(StudyRecord.study_instance_uid == study_instance_uid)
        with self.tools.database.session() as session:
            return session.scalars(statement).first() is not None

    def _awaited[Found](self, look: Callable[[], Found], seconds: float) -> Found:
        """Look again and again until there is something, and return it; what is nothing still, when time is over."""
        give_up_at = time.monotonic() + seconds
        while not (found := look()) and time.monotonic() < give_up_at:
            self.go_on()
            time.sleep(_LOOK_SECONDS)
        return found
