"""Scheduled procedure steps: what goes into the worklist, what comes out, and how a step is named (PS3.3 C.4.10)."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from dataclasses import dataclass, field
from datetime import datetime
from enum import StrEnum
from functools import cached_property
from typing import Any

from pydicom import Dataset
from sqlalchemy.orm import Session

from pacs.errors import Conflict, InvalidInput
from pacs.worklist.attributes import are_same_patient
from pacs.worklist.encoding import decoded
from pacs.worklist.statuses import StepStatus


class ChangeKind(StrEnum):
    """What happened to a step."""

    NEW = "new"
    UPDATED = "updated"
    STATUS = "status"


class PatientMismatch(Conflict):
    """An order names a step that is another patient's. Nobody may guess whose it is."""

    code = "patient-mismatch"


@dataclass(frozen=True)
class Version:
    """How new a message is. What an older one says never overwrites what a newer one said.

    Parameters
    ----------
    sent_at : when its sender wrote it (MSH-7) in UTC, YYYYMMDDHHMMSS with or without a fraction; "" when not known.
    sequence : number of the message in our inbox; decides between messages of the same moment, and of two senders,
        whose clocks can't be compared.
    sender : who sent it.
    """

    sent_at: str = ""
    sequence: int = 0
    sender: str = ""

    def is_older_than(self, other: Version) -> bool:
        """Tell whether `other` is to be believed rather than this one."""
        if self.sender == other.sender and self.sent_at and other.sent_at and self.sent_at != other.sent_at:
            return self.sent_at < other.sent_at
        return self.sequence < other.sequence


@dataclass(frozen=True)
class NewStep:
    """A step as an order describes it.

    Parameters
    ----------
    dataset : one worklist item: attributes of patient, visit, order and requested procedure, and exactly one item in
        ScheduledProcedureStepSequence. An attribute that is absent says nothing, an empty one deletes.
    status : None leaves it as it is (a new step is SCHEDULED). SCHEDULED leaves a step that has begun as it is, and
        brings a canceled one back.
    priority : Requested Procedure Priority (0040,1003), STAT to LOW; "" leaves it as it is.
    """

    dataset: Dataset
    status: StepStatus | None = StepStatus.SCHEDULED
    priority: str = ""

    @property
    def step_item(self) -> Dataset:
        """The item of the Scheduled Procedure Step Sequence.

        Raises
        ------
        InvalidInput : there is not exactly one.
        """
        items = self.dataset.get("ScheduledProcedureStepSequence") or []
        if len(items) != 1:
            raise InvalidInput(
                f"A worklist entry has one scheduled procedure step, this one has {len(items)}.",
                remedy="Make an entry of each step.",
            )
        item: Dataset = items[0]
        return item


@dataclass(frozen=True, kw_only=True)
class StepSelector:
    """Names steps; all that is given must agree. "" and None give nothing.

    Parameters
    ----------
    patient : Patient ID and its issuer, both as the steps have them: a number without an issuer ("") is not that of
        any issuer, and the same number of two issuers is two patients.

    Raises
    ------
    InvalidInput : nothing is given: that would be every step.
    """

    accession_number: str = ""
    placer_order_number: str = ""
    filler_order_number: str = ""
    study_instance_uid: str = ""
    step_id: str = ""
    requested_procedure_id: str = ""
    row_id: int | None = None
    patient: tuple[str, str] | None = None

    def __post_init__(self) -> None:
        if not self.given():
            raise InvalidInput("No step was named.", remedy="Give an accession, order or step number.")

    def given(self) -> dict[str, Any]:
        """Return what was given, by name of the column."""
        columns = {("id" if name == "row_id" else name): value for name, value in vars(self).items()}
        patient = columns.pop("patient")
        given = {name: value for name, value in columns.items() if value not in ("", None)}
        if patient is not None and patient[0]:
            given |= {"patient_id": patient[0], "issuer_of_patient_id": patient[1]}
        return given


@dataclass(frozen=True)
class StepRow:
    """A step of the worklist, as it is now. Attributes as in `models.StepRecord`.

    Attributes
    ----------
    id : of the row, for `StepSelector.row_id` and addresses of pages.
    start_key : YYYYMMDDHHMMSS, "" without a date.
    sent_at, sequence, sender : of the newest message about the step, see `version`.
    """

    id: int
    issuer_of_accession_number: str
    accession_number: str
    requested_procedure_id: str
    step_id: str
    status: StepStatus
    priority: str
    start_key: str
    modality: str
    location: str
    study_instance_uid: str
    placer_order_number: str
    filler_order_number: str
    patient_id: str
    issuer_of_patient_id: str
    created_at: datetime
    changed_at: datetime
    former_patients: Sequence[Sequence[str]] = field(compare=False)
    sent_at: str
    sequence: int
    sender: str
    encoded: bytes = field(repr=False)

    @property
    def version(self) -> Version:
        """How new the newest message about the step is."""
        return Version(self.sent_at, self.sequence, self.sender)

    def is_of(self, patient: tuple[str, str]) -> bool:
        """Tell whether the step is this patient's (Patient ID and issuer), or was before a merge."""
        known = (self.patient_id, self.issuer_of_patient_id)
        return are_same_patient(patient, known) or list(patient) in self.former_patients

    @cached_property
    def dataset(self) -> Dataset:
        """The whole entry. It belongs to this row alone; change a copy."""
        return decoded(self.encoded)

    @property
    def step_item(self) -> Dataset:
        """The item of the Scheduled Procedure Step Sequence."""
        item: Dataset = self.dataset.ScheduledProcedureStepSequence[0]
        return item

    @property
    def patient_name(self) -> str:
        """Patient's Name as DICOM has it (VR PN)."""
        return str(self.dataset.get("PatientName", ""))

    @property
    def description(self) -> str:
        """What is to be done: the step's description, else the requested procedure's."""
        step = self.step_item.get("ScheduledProcedureStepDescription", "")
        return str(step or self.dataset.get("RequestedProcedureDescription", ""))

    @property
    def station_aets(self) -> tuple[str, ...]:
        """Scheduled Station AE Titles (0040,0001)."""
        value = self.step_item.get("ScheduledStationAETitle") or ()
        return (value,) if isinstance(value, str) else tuple(value)


@dataclass(frozen=True)
class StepChange:
    """Something that happened to a step; listeners get it in the transaction that writes it.

    Attributes
    ----------
    step : as it is after the change.
    before : None for a new step.
    kind : STATUS when the status changed and nothing else, UPDATED when attributes changed (and maybe the status).
    """

    step: StepRow
    before: StepStatus | None
    after: StepStatus
    kind: ChangeKind
    actor: str
    at: datetime


StepListener = Callable[[Session, StepChange], None]


@dataclass(frozen=True)
class StepEvent:
    """One line of a step's history. Attributes as in `models.StepHistoryRecord`."""

    at: datetime
    actor: str
    kind: ChangeKind
    before: StepStatus | None
    after: StepStatus
    detail: dict[str, Any]


@dataclass(frozen=True)
class StepDetails:
    """A step with everything that happened to it, oldest first."""

    step: StepRow
    history: tuple[StepEvent, ...]
