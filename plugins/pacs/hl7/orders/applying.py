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
from pacs.hl7.orders.marks import ON_HOLD, REPLACED_BY, is_on_hold
from pacs.hl7.orders.tables import Action
from pacs.studies.dicom_values import text
from pacs.worklist.statuses import NOT_BEGUN, StepStatus
from pacs.worklist.steps import NewStep, PatientMismatch, StepChange, StepRow, Version
from pacs.worklist.worklist import Worklist

_ENTERING = frozenset({Action.SCHEDULE, Action.UPDATE})
_ENDING = frozenset({Action.CANCEL, Action.DISCONTINUE, Action.HOLD})
# Asked for by an order's number alone, they are meant of all its procedures.
_OF_WHOLE_ORDER = _ENDING | {Action.RELEASE}
_ENDED = frozenset({StepStatus.COMPLETED, StepStatus.DISCONTINUED})
_BEGUN = _ENDED | {StepStatus.STARTED}
# What a status must be for an action to say something new of it; MPPS and images know better what has happened.
_MAY_FOLLOW = {
    Action.ARRIVE: frozenset({StepStatus.SCHEDULED}),
    Action.START: NOT_BEGUN,
    Action.COMPLETE: frozenset(StepStatus) - _ENDED,
    Action.DISCONTINUE: frozenset(StepStatus) - _ENDED,
    Action.CANCEL: frozenset(StepStatus) - _ENDED,
    Action.HOLD: frozenset(StepStatus) - _ENDED - {StepStatus.CANCELED},
    Action.RELEASE: frozenset({StepStatus.CANCELED}),
}
_NOT_ON_HOLD = "it is not on hold"
_START_DATE = "ScheduledProcedureStepStartDate"
_STUDY = "StudyInstanceUID"
# What an entry is called, and nothing of what is to be done.
_NAMES = frozenset(
    {
        "AccessionNumber",
        "FillerOrderNumberImagingServiceRequest",
        "IssuerOfAccessionNumberSequence",
        "OrderFillerIdentifierSequence",
        "RequestedProcedureID",
        "ScheduledProcedureStepID",
        _STUDY,
    }
)
# Whether a status message is usable depends on these alone.
_NAMING = NEVER_DELETED - {"Modality", _START_DATE} | {
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

    def told(self, **marks: Any) -> dict[str, Any]:
        """Return what every writing function of `Worklist` is told; the history names the message, with its marks."""
        return {"version": self.version, **self.noted(**marks)}

    def noted(self, **marks: Any) -> dict[str, Any]:
        """Return the same for `Worklist.note`."""
        return {"actor": self.actor, "detail": {"message": self.journal_id, **marks}}

    def is_outdated(self, row: StepRow) -> bool:
        """Tell whether something newer was said of an entry already."""
        return self.version.is_older_than(row.version)


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


@dataclass(frozen=True)
class _Asked:
    """One entry of a message: the order it belongs to, what is said of it, and how it is named."""

    reading: OrderReading
    entry: EntryReading
    naming: Naming

    @property
    def action(self) -> Action:
        """What is to be done with it."""
        return self.reading.action

    def new_step(self, located: Located) -> NewStep:
        """Return it as a step that is not there yet; one of the same name may be."""
        return with_values(self.entry.step, _own_step_id(self.naming)) if located.is_taken else self.entry.step

    def is_anew(self, stand_in: StepRow) -> bool:
        """Tell whether it is to be done in any case, though an entry of its order was canceled or has ended."""
        if self.action is not Action.SCHEDULE:
            return False
        return stand_in.status is StepStatus.CANCELED or (stand_in.status in _ENDED and self._is_later(stand_in))

    def _is_later(self, stand_in: StepRow) -> bool:
        """Tell whether it is ordered for a day after that of an entry, and after the day on which that ended."""
        if _START_DATE in self.entry.supposed:
            return False
        starts_on = text(self.entry.step.step_item.get(_START_DATE))
        return starts_on > max(stand_in.start_key[:8], f"{stand_in.changed_at:%Y%m%d}")

    def needs_an_end(self, stand_in: StepRow | None) -> bool:
        """Tell whether it needs an entry to be canceled or discontinued under its own accession number.

        One whose stand-in has ended needs none: what comes later is about the stand-in.
        """
        if self.action not in _ENDING or self.entry.explanation.faults:
            return False
        return stand_in is None or (self.action is not Action.DISCONTINUE and stand_in.status not in _ENDED)


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

    def apply(self, readings: Sequence[OrderReading]) -> None:
        """Do what the orders of the message ask for.

        Raises
        ------
        Hl7Error : an entry of these numbers is another patient's, or a person must say which entry is meant.
        """
        asked = [_Asked(reading, entry, Naming.of(entry)) for reading in readings for entry in reading.entries]
        of_message = [each.naming for each in asked if each.action is not Action.NOTE]
        for each in asked:
            if each.action is Action.NOTE:
                self.outcome.tell("noted", why=each.reading.why)
                continue
            self.outcome.notices += map(str, each.entry.explanation.notices)
            located = locate(
                self._worklist,
                self._session,
                each.naming,
                done=self._done,
                of_message=of_message,
                of_whole_order=each.action in _OF_WHOLE_ORDER,
            )
            stand_in = self._one_of(located.stand_ins, each.reading.place)
            if _enters(each.reading):
                self._enter(each, located, stand_in)
            else:
                self._set_status(each, located, stand_in)
        self._check_doubts()

    def _check_doubts(self) -> None:
        """Check that no entry of the message could have been for another entry of the worklist."""
        for row_id, place in self._doubtful.items():
            if row_id not in self._chosen:
                raise Hl7Error(
                    "Several entries of this order have no accession number yet, and nothing tells which is meant.",
                    remedy="Send all procedures of the order in one message, or with their codes in OBR-4.",
                    location=place,
                    hl7_code=UNKNOWN_KEY_IDENTIFIER,
                )

    def _one_of(self, stand_ins: Sequence[StepRow], place: str) -> StepRow | None:
        """Let an entry of the message be for one stand-in; the others must be those of other entries of the message."""
        free = [row for row in stand_ins if row.id not in self._chosen]
        free.sort(key=lambda row: row.status is StepStatus.CANCELED)
        self._chosen.update(row.id for row in free[:1])
        self._doubtful |= {row.id: place for row in free[1:] if row.status is not StepStatus.CANCELED}
        return free[0] if free else None

    # -- entering and changing -----------------------------------------------------------------------------------------

    def _enter(self, asked: _Asked, located: Located, stand_in: StepRow | None) -> None:
        if located.rows:
            for row in located.rows:
                self._change(asked, row)
            if stand_in and stand_in.status in NOT_BEGUN:
                self._replace(asked, stand_in)
        elif stand_in is None:
            self._write(asked.new_step(located), None)
        elif stand_in.status in NOT_BEGUN:
            self._rename(asked, located, stand_in)
        elif asked.naming.is_for(stand_in) is False and not self._is_on_hold(stand_in):
            if not asked.is_anew(stand_in):
                raise Hl7Error(
                    f"The only entry of this order without accession number is {stand_in.status}, and has another "
                    "procedure code; nothing tells whether this is the same examination.",
                    remedy="Send it with the code of that entry in OBR-4, or order it anew (NW), for a later day.",
                    location=asked.reading.place,
                    hl7_code=UNKNOWN_KEY_IDENTIFIER,
                )
            self._write(asked.new_step(located), None)
        elif stand_in.status is StepStatus.CANCELED:
            self._enter_canceled(asked, located, stand_in)
        elif asked.is_anew(stand_in):
            self._write(asked.new_step(located), None)
            self._replace(asked, stand_in)
        else:
            # Nobody is examined again; the images are in the study that the modality was told of.
            without = asked.entry.supposed | {_STUDY}
            step = with_values(asked.entry.step, naming_values(stand_in), without=without)
            self._write(step, stand_in, why="it had begun before its accession number was known")

    def _rename(self, asked: _Asked, located: Located, stand_in: StepRow) -> None:
        """Enter what waits under a stand-in under its own names."""
        step = asked.new_step(located)
        is_late = self._origin.is_outdated(stand_in)
        if is_late:
            # The message knows the names, and nothing else better.
            self._upsert(_renamed(stand_in, step), None, "", self._origin.told() | {"version": stand_in.version})
        else:
            self._write(step, None)
        self._replace(asked, stand_in, is_late=is_late)

    def _change(self, asked: _Asked, row: StepRow) -> None:
        step = with_values(asked.entry.step, naming_values(row), without=asked.entry.supposed)
        if self._stays_canceled(asked, row):
            self._write(replace(step, status=None), row, why=_NOT_ON_HOLD)
        else:
            self._write(step, row)

    def _enter_canceled(self, asked: _Asked, located: Located, stand_in: StepRow) -> None:
        """Enter what was canceled or put on hold while it had no accession number; it comes back as any entry would."""
        on_hold = self._is_on_hold(stand_in)
        comes_back = asked.action is Action.SCHEDULE or (asked.action is Action.RELEASE and on_hold)
        step = asked.new_step(located)
        if comes_back and not self._origin.is_outdated(stand_in):
            self._write(step, None)
        else:
            self._stays_canceled(asked, stand_in)
            self._write(replace(step, status=StepStatus.CANCELED), None, why="it was canceled before", hold=on_hold)
        self._replace(asked, stand_in)

    def _replace(self, asked: _Asked, stand_in: StepRow, *, is_late: bool = False) -> None:
        """Have the entry with the accession number take the place of its stand-in, which may say something newer."""
        marks = {REPLACED_BY: asked.naming.accession_number}
        why = "its accession number is known now"
        if stand_in.status in _ENDED | {StepStatus.CANCELED}:
            self._worklist.note(self._session, stand_in, **self._origin.noted(**marks))
            self._tell([], stand_in, why)
        else:
            step = _status_step(asked.entry, stand_in, StepStatus.CANCELED)
            told = self._origin.told(**marks) | ({"version": None} if is_late else {})
            self._upsert(step, stand_in, why, told)

    # -- statuses ------------------------------------------------------------------------------------------------------

    def _set_status(self, asked: _Asked, located: Located, stand_in: StepRow | None) -> None:
        if not located.rows and asked.needs_an_end(stand_in):
            self._end_unknown(asked, located, stand_in)
            return
        rows = located.rows or ((stand_in,) if stand_in else ())
        for row in rows:
            self._set_status_of(asked, row)
        if not rows:
            self.outcome.tell("unknown", why=f"no entry has these numbers; {asked.reading.why}")

    def _set_status_of(self, asked: _Asked, row: StepRow) -> None:
        assert asked.entry.step.status is not None  # noqa: S101 every action but NOTE, REFUSE and UPDATE has one
        if self._stays_canceled(asked, row):
            self.outcome.tell("unchanged", row, why=_NOT_ON_HOLD)
        elif row.status in _MAY_FOLLOW[asked.action]:
            self._end_hold(asked.action, row)
            step = _status_step(asked.entry, row, asked.entry.step.status)
            self._write(step, row, hold=asked.action is Action.HOLD)
        else:
            self.outcome.tell("unchanged", row, why=f"it is {row.status} already")

    def _end_unknown(self, asked: _Asked, located: Located, stand_in: StepRow | None) -> None:
        """Enter what is canceled under a new accession number: what comes late must not bring it back."""
        hold = asked.action is Action.HOLD
        if stand_in and stand_in.status is StepStatus.CANCELED:
            if self._is_on_hold(stand_in):
                hold = hold or self._origin.is_outdated(stand_in)
            elif asked.naming.is_for(stand_in) is False:
                stand_in = None
            else:
                hold = False
        if stand_in:
            self._replace(asked, stand_in)
        self._write(asked.new_step(located), None, why="it was not known before", hold=hold)

    def _stays_canceled(self, asked: _Asked, row: StepRow) -> bool:
        """Tell whether a release is of something that was canceled for good, and say so to people."""
        if asked.action is not Action.RELEASE or row.status is not StepStatus.CANCELED or self._is_on_hold(row):
            return False
        self.outcome.notices.append(
            f"{asked.reading.place}: entry {row.accession_number} was canceled, not put on hold, so that its release "
            "does not bring it back; if it is to be done, order it anew (NW) or schedule it on the worklist's page"
        )
        return True

    def _is_on_hold(self, row: StepRow) -> bool:
        return is_on_hold(self._worklist, self._session, row)

    def _end_hold(self, action: Action, row: StepRow) -> None:
        """Note that what is on hold is canceled for good now, which its status does not tell."""
        if action is Action.CANCEL and not self._origin.is_outdated(row) and self._is_on_hold(row):
            self._worklist.note(self._session, row, **self._origin.noted(**{ON_HOLD: False}))

    # -- writing -------------------------------------------------------------------------------------------------------

    def _write(self, step: NewStep, row: StepRow | None, why: str = "", *, hold: bool = False) -> None:
        self._upsert(step, row, why, self._origin.told(**({ON_HOLD: True} if hold else {})))

    def _upsert(self, step: NewStep, row: StepRow | None, why: str, told: dict[str, Any]) -> None:
        try:
            changes = self._worklist.upsert(self._session, [step], **told)
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


def _renamed(stand_in: StepRow, step: NewStep) -> NewStep:
    """Return what a stand-in says, under the names of a step."""
    named = (step.dataset, step.step_item)
    names = {each.keyword: each.value for dataset in named for each in dataset if each.keyword in _NAMES}
    return with_values(NewStep(stand_in.dataset, priority=stand_in.priority), names)


def _own_step_id(naming: Naming) -> dict[str, Any]:
    """Return a step ID of its own for a second procedure of one accession number that nothing else tells apart."""
    words = f"{naming.placer}\x1f{naming.filler}\x1f{naming.code}"
    return {"ScheduledProcedureStepID": hashlib.sha256(words.encode()).hexdigest()[:16].upper()}
