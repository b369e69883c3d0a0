"""What a message asks for, done in the worklist, in the transaction that settles the message."""

from __future__ import annotations

import hashlib
from collections.abc import Iterable, Sequence
from dataclasses import dataclass, field, replace
from typing import Any

from pydicom import Dataset
from sqlalchemy.orm import Session

from pacs.hl7.errors import TABLE_VALUE_NOT_FOUND, UNKNOWN_KEY_IDENTIFIER, Hl7Error
from pacs.hl7.orders.explanation import Unusable, UnusableMessage
from pacs.hl7.orders.filling import NEVER_DELETED
from pacs.hl7.orders.locating import Located, Naming, locate, naming_values
from pacs.hl7.orders.mapper import EntryReading, OrderReading, with_values
from pacs.hl7.orders.tables import Action
from pacs.worklist.statuses import StepStatus
from pacs.worklist.steps import NewStep, PatientMismatch, StepChange, StepRow, Version
from pacs.worklist.worklist import Worklist

_ENTERING = frozenset({Action.SCHEDULE, Action.UPDATE})
_ENDING = frozenset({Action.CANCEL, Action.DISCONTINUE, Action.HOLD})
_NOT_BEGUN = frozenset({StepStatus.SCHEDULED, StepStatus.ARRIVED, StepStatus.READY})
_ENDED = frozenset({StepStatus.COMPLETED, StepStatus.DISCONTINUED})
_BEGUN = _ENDED | {StepStatus.STARTED}
# What a status must be for an action to say something new of it; MPPS and images know better what has happened.
_MAY_FOLLOW = {
    Action.ARRIVE: frozenset({StepStatus.SCHEDULED}),
    Action.START: _NOT_BEGUN,
    Action.COMPLETE: frozenset(StepStatus) - _ENDED,
    Action.DISCONTINUE: frozenset(StepStatus) - _ENDED,
    Action.CANCEL: frozenset(StepStatus) - _ENDED,
    Action.HOLD: frozenset(StepStatus) - _ENDED - {StepStatus.CANCELED},
    Action.RELEASE: frozenset({StepStatus.CANCELED}),
}
# In the detail of the history: whether a canceled step is to come back when it is released.
_ON_HOLD = "on_hold"
_NOT_ON_HOLD = "it is not on hold"
# Whether a status message is usable depends on these alone.
_NAMING = NEVER_DELETED - {"Modality", "ScheduledProcedureStepStartDate"} | {
    "FillerOrderNumberImagingServiceRequest",
    "IssuerOfAccessionNumberSequence",
    "PlacerOrderNumberImagingServiceRequest",
}


@dataclass(frozen=True)
class Origin:
    """The message that changes something: how new it is, who sent it, and where it is in the journal."""

    version: Version
    actor: str
    journal_id: int

    def told(self, *, hold: bool = False) -> dict[str, Any]:
        """Return what every writing function of `Worklist` is told; the history then names the message, and a hold."""
        detail = {"message": self.journal_id, **({_ON_HOLD: True} if hold else {})}
        return {"version": self.version, "actor": self.actor, "detail": detail}


@dataclass
class Outcome:
    """What became of a message, for the journal. Names entries by their numbers, never the patient."""

    entries: list[dict[str, Any]] = field(default_factory=list)
    notices: list[str] = field(default_factory=list)

    def tell(self, what: str, row: StepRow | None = None, why: str = "") -> None:
        """Note what was done, and with which entry."""
        entry: dict[str, Any] = {"what": what}
        if row is not None:
            entry |= {"row": row.id, "accession_number": row.accession_number, "status": str(row.status)}
        self.entries.append(entry | ({"why": why} if why else {}))

    def as_dict(self) -> dict[str, Any]:
        """Return it as JSON."""
        return {"entries": self.entries, "notices": list(dict.fromkeys(self.notices))}


def check_usable(readings: Iterable[OrderReading]) -> None:
    """Raise UnusableMessage with everything that keeps a message from being done, before any of it is."""
    faults = [fault for reading in readings for fault in _faults(reading)]
    if faults:
        raise UnusableMessage(list(dict.fromkeys(faults)))


class Applying:
    """Does what one message asks for.

    Parameters
    ----------
    origin : of the message, for the worklist.
    """

    def __init__(self, worklist: Worklist, session: Session, origin: Origin) -> None:
        self._worklist = worklist
        self._session = session
        self._origin = origin
        self._done: set[int] = set()
        # Stand-ins that an entry of the message was for, and those that it could have been for as well.
        self._chosen: set[int] = set()
        self._doubtful: dict[int, str] = {}
        self.outcome = Outcome()

    def apply(self, reading: OrderReading) -> None:
        """Do what an order asks for.

        Raises
        ------
        Hl7Error : an entry of these numbers is another patient's.
        """
        for entry in reading.entries:
            if reading.action is Action.NOTE:
                self.outcome.tell("noted", why=reading.why)
                continue
            self.outcome.notices += map(str, entry.explanation.notices)
            naming = Naming.of(entry)
            located = self._with_one_stand_in(locate(self._worklist, self._session, naming, self._done), reading.place)
            if _enters(reading):
                self._enter(reading, entry, naming, located)
            else:
                self._set_status(reading, entry, located)

    def finish(self) -> None:
        """Check, after the last order, that no entry of the message could have been for another entry of the worklist.

        Raises
        ------
        Hl7Error : one could: a person must say which of them is meant.
        """
        for row_id, place in self._doubtful.items():
            if row_id not in self._chosen:
                raise Hl7Error(
                    "Several entries of this order have no accession number yet, and nothing tells which is meant.",
                    remedy="Send all procedures of the order in one message, or with their codes in OBR-4.",
                    location=place,
                    hl7_code=UNKNOWN_KEY_IDENTIFIER,
                )

    def _with_one_stand_in(self, located: Located, place: str) -> Located:
        """Let an entry of the message be for one stand-in; the others must be those of other entries of the message."""
        free = [row for row in located.replaced if row.id not in self._chosen]
        free.sort(key=lambda row: row.status is StepStatus.CANCELED)
        self._chosen.update(row.id for row in free[:1])
        self._doubtful |= {row.id: place for row in free[1:] if row.status is not StepStatus.CANCELED}
        return replace(located, replaced=tuple(free[:1]))

    def _enter(self, reading: OrderReading, entry: EntryReading, naming: Naming, located: Located) -> None:
        if located.rows:
            for row in located.rows:
                step = with_values(entry.step, naming_values(row), without=entry.supposed)
                is_over = row.status is StepStatus.CANCELED and reading.action is Action.RELEASE
                if is_over and not self._is_on_hold(row):
                    self._write(replace(step, status=None), row, why=_NOT_ON_HOLD)
                else:
                    self._write(step, row)
        elif begun := [row for row in located.replaced if row.status in _BEGUN]:
            for row in begun:
                # Nobody is examined again; the images are in the study that the modality was told of.
                step = with_values(entry.step, naming_values(row), without=entry.supposed | {"StudyInstanceUID"})
                self._write(step, row, why="it had begun before its accession number was known")
        else:
            self._write(with_values(entry.step, _own_step_id(naming)) if located.is_taken else entry.step, None)
        for row in located.replaced:
            if row.status in _NOT_BEGUN:
                self._write(_status_step(entry, row, StepStatus.CANCELED), row, why="its accession number is known now")

    def _set_status(self, reading: OrderReading, entry: EntryReading, located: Located) -> None:
        assert entry.step.status is not None  # noqa: S101 every action but NOTE, REFUSE and UPDATE has one
        hold = reading.action is Action.HOLD
        rows = located.rows or located.replaced
        for row in rows:
            if reading.action is Action.RELEASE and not self._is_on_hold(row):
                self.outcome.tell("unchanged", row, why=_NOT_ON_HOLD)
            elif row.status in _MAY_FOLLOW[reading.action]:
                self._end_hold(reading.action, row)
                self._write(_status_step(entry, row, entry.step.status), row, hold=hold)
            else:
                self.outcome.tell("unchanged", row, why=f"it is {row.status} already")
        if not located.rows and self._needs_an_end(reading.action, rows) and not entry.explanation.faults:
            # What comes late, from before it was canceled, must not bring it back.
            self._write(entry.step, None, why="it was not known before", hold=hold)
        elif not rows:
            self.outcome.tell("unknown", why=f"no entry has these numbers; {reading.why}")

    @staticmethod
    def _needs_an_end(action: Action, stand_ins: Sequence[StepRow]) -> bool:
        """Tell whether an order needs an entry to be canceled or discontinued under its own accession number.

        One whose stand-in has ended needs none: what comes later is about the stand-in.
        """
        if not stand_ins:
            return action in _ENDING
        return (
            action is not Action.DISCONTINUE
            and action in _ENDING
            and not any(row.status in _ENDED for row in stand_ins)
        )

    def _is_on_hold(self, row: StepRow) -> bool:
        """Tell whether a step is canceled until it is released, rather than for good."""
        if row.status is not StepStatus.CANCELED:
            return False
        for event in reversed(self._worklist.get(self._session, row.id).history):
            if _ON_HOLD in event.detail:
                return bool(event.detail[_ON_HOLD])
            if event.before is not event.after:
                return False
        return False

    def _end_hold(self, action: Action, row: StepRow) -> None:
        """Note that what is on hold is canceled for good now, which its status does not tell."""
        if action is Action.CANCEL and self._is_on_hold(row):
            detail = {"message": self._origin.journal_id, _ON_HOLD: False}
            self._worklist.note(self._session, row, actor=self._origin.actor, detail=detail)

    def _write(self, step: NewStep, row: StepRow | None, why: str = "", *, hold: bool = False) -> None:
        try:
            changes = self._worklist.upsert(self._session, [step], **self._origin.told(hold=hold))
        except PatientMismatch as error:
            raise Hl7Error(str(error), location="PID^1^3", hl7_code=UNKNOWN_KEY_IDENTIFIER) from error
        self._tell(changes, row, why)

    def _tell(self, changes: Sequence[StepChange], row: StepRow | None, why: str) -> None:
        for change in changes:
            self._done.add(change.step.id)
            self.outcome.tell(str(change.kind), change.step, why)
        if not changes:
            self.outcome.tell("unchanged", row, why or "nothing of it is news")
        if row is not None:
            self._done.add(row.id)


def _enters(reading: OrderReading) -> bool:
    """Tell whether an order enters what is not there and changes what is; else it is about a status."""
    return reading.action in _ENTERING or (reading.action is Action.RELEASE and reading.has_service)


def _faults(reading: OrderReading) -> list[Unusable]:
    if reading.action is Action.NOTE:
        return []
    if reading.action is Action.REFUSE:
        return [Unusable(reading.place, f"nobody said what this asks for: {reading.why}", TABLE_VALUE_NOT_FOUND)]
    found = [fault for entry in reading.entries for fault in entry.explanation.faults]
    if _enters(reading):
        return found
    return [fault for fault in found if not fault.keyword or fault.keyword in _NAMING]


def _status_step(entry: EntryReading, row: StepRow, status: StepStatus) -> NewStep:
    """Return an entry that says nothing but whose it is and its status; the worklist compares the patient."""
    dataset = Dataset()
    for keyword in ("PatientID", "IssuerOfPatientID"):
        if keyword in entry.step.dataset:
            dataset.add(entry.step.dataset[keyword])
    dataset.ScheduledProcedureStepSequence = [Dataset()]
    return with_values(NewStep(dataset, status), naming_values(row))


def _own_step_id(naming: Naming) -> dict[str, Any]:
    """Return a step ID of its own for a second procedure of one accession number that nothing else tells apart."""
    words = f"{naming.placer}\x1f{naming.filler}\x1f{naming.code}"
    return {"ScheduledProcedureStepID": hashlib.sha256(words.encode()).hexdigest()[:16].upper()}
