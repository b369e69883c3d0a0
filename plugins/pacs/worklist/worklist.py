"""`Worklist`: the scheduled procedure steps, written by orders, MPPS and people, asked by modalities and pages."""

from __future__ import annotations

from collections.abc import Callable, Iterator, Mapping, Sequence
from datetime import UTC, date, datetime
from typing import Any

from pydicom import Dataset
from sqlalchemy.orm import Session

from pacs.database import Database
from pacs.worklist import reading, writing
from pacs.worklist.finding import Finder
from pacs.worklist.settings import WorklistSettings
from pacs.worklist.statuses import StepStatus
from pacs.worklist.steps import (
    NewStep,
    StepChange,
    StepDetails,
    StepListener,
    StepRow,
    StepSelector,
    Version,
)

_NO_DETAIL: Mapping[str, Any] = {}


class Worklist:
    """The modality worklist in the plugins' own database. Safe to use from any thread and several processes at once.

    What writes takes the caller's session (`database.session(write=True)`), so that a message and its effect are one
    transaction.

    Parameters
    ----------
    database : with the newest schema.
    clock : tells the present (aware); replaced in tests.
    """

    def __init__(
        self,
        database: Database,
        settings: WorklistSettings | None = None,
        *,
        clock: Callable[[], datetime] = lambda: datetime.now(UTC),
    ) -> None:
        self._clock = clock
        self._listeners: list[StepListener] = []
        self._finder = Finder(database, settings or WorklistSettings())

    def subscribe(self, listener: StepListener) -> None:
        """Have `listener(session, change)` called with every change, in the transaction that writes it.

        What it raises undoes the change. Subscribe before anything is written.
        """
        self._listeners.append(listener)

    # -- for orders, MPPS and people -------------------------------------------------------------------------------

    def upsert(
        self,
        session: Session,
        steps: Sequence[NewStep],
        *,
        version: Version | None,
        actor: str,
        detail: Mapping[str, Any] = _NO_DETAIL,
    ) -> list[StepChange]:
        """Insert steps, or change those that are there; return what changed.

        An attribute that is absent in the new data set stays, one that is present and empty is deleted. A step whose
        order said something newer already is left alone, and so is the patient of one whose patient data are newer.

        Parameters
        ----------
        version : of the message; None for a person, whose word counts now and yields to any later message.
        detail : JSON, kept in the history; so of every function here.

        Raises
        ------
        PatientMismatch : the step is there and is another patient's.
        InvalidInput : no step item or several; nothing that names the step.
        """
        by = writing.By(actor, self._clock(), detail)
        return self._told(session, writing.upsert(session, steps, version, by))

    def set_status(
        self,
        session: Session,
        which: StepSelector,
        status: StepStatus,
        *,
        actor: str,
        detail: Mapping[str, Any] = _NO_DETAIL,
        version: Version | None = None,
    ) -> list[StepChange]:
        """Give the steps a status; return what changed, nothing where they have it or know newer, or there are none."""
        by = writing.By(actor, self._clock(), detail)
        return self._told(session, writing.set_status(session, which, status, version, by))

    def note(self, session: Session, step: StepRow, *, actor: str, detail: Mapping[str, Any]) -> None:
        """Write a line into the history of a step that stays as it is; listeners are not called."""
        writing.note(session, step, writing.By(actor, self._clock(), detail))

    def update_patient(
        self,
        session: Session,
        patient_ids: Sequence[tuple[str, str]],
        changes: Dataset,
        *,
        version: Version | None,
        actor: str,
        detail: Mapping[str, Any] = _NO_DETAIL,
    ) -> list[StepChange]:
        """Change what all steps of a patient say of the patient and the visit; return what changed.

        Parameters
        ----------
        patient_ids : (Patient ID, issuer) as the steps have them, the issuer "" where they have none: exact, an ID
            without issuer is not that of any issuer.
        changes : attributes of the worklist item; absent ones stay, empty ones are deleted. Patient ID and issuer are
            not changed: that is `merge_patients`.
        """
        by = writing.By(actor, self._clock(), detail)
        return self._told(session, writing.update_patient(session, patient_ids, changes, version, by))

    def merge_patients(
        self,
        session: Session,
        prior_ids: Sequence[tuple[str, str]],
        surviving: Dataset,
        *,
        version: Version | None,
        actor: str,
        detail: Mapping[str, Any] = _NO_DETAIL,
    ) -> list[StepChange]:
        """Make all steps of the prior patient the surviving one's; return what changed.

        Orders that still come for these steps under a prior ID change everything but the patient.

        Parameters
        ----------
        prior_ids : as `patient_ids` of `update_patient`.
        surviving : attributes of the patient, Patient ID among them.

        Raises
        ------
        InvalidInput : no surviving Patient ID.
        """
        by = writing.By(actor, self._clock(), detail)
        return self._told(session, writing.merge_patients(session, prior_ids, surviving, version, by))

    def _told(self, session: Session, changes: list[StepChange]) -> list[StepChange]:
        for change in changes:
            for listener in self._listeners:
                listener(session, change)
        return changes

    # -- for modalities and pages ----------------------------------------------------------------------------------

    def find(self, identifier: Dataset, *, calling_aet: str) -> Iterator[Dataset]:
        """Yield the answers to a C-FIND of the modality worklist (PS3.4 K.4), first start first.

        Each holds the keys that were asked for, in the character set that the station is to get. It is complete when
        it was read to its end: whatever goes wrong raises.

        Parameters
        ----------
        identifier : the question as it came, undecoded.

        Raises
        ------
        InvalidInput : a key that can't be understood, or too many answers.
        DatabaseError : the database can't be used.
        """
        return self._finder.find(identifier, calling_aet=calling_aet)

    def page(
        self,
        session: Session,
        *,
        day: date | None = None,
        modality: str = "",
        location: str = "",
        text: str = "",
        status: StepStatus | None = None,
        offset: int = 0,
        limit: int = 200,
    ) -> list[StepRow]:
        """Return steps for the page, first start first; what is empty does not narrow.

        Parameters
        ----------
        text : words that each begin a word of the name, the patient ID or the accession number.
        """
        wanted = reading.Wanted(day, modality, location, text, status)
        return reading.page(session, wanted, offset=offset, limit=limit)

    def locations(self, session: Session, day: date) -> list[tuple[str, str]]:
        """Return the (modality, location) pairs of a day's steps, sorted, for choosing among them."""
        return reading.locations(session, day)

    def select(self, session: Session, *which: StepSelector) -> list[StepRow]:
        """Return the steps that any of `which` names, first start first."""
        return reading.select_steps(session, which)

    def of_order(
        self, session: Session, *, accession_number: str, placer_order_number: str, filler_order_number: str
    ) -> list[StepRow]:
        """Return the steps that have any of an order's numbers, first start first; "" is the number of none."""
        numbers = {
            "accession_number": accession_number,
            "placer_order_number": placer_order_number,
            "filler_order_number": filler_order_number,
        }
        return reading.of_order(session, numbers)

    def get(self, session: Session, row_id: int) -> StepDetails:
        """Return a step with its history.

        Raises
        ------
        NotFound : there is no such row.
        """
        return reading.details(session, row_id)
