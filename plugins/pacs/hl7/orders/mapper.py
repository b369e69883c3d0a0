"""`OrderMapper`: a message as the worklist entries that it describes, with the reason of every attribute.

Pure: nothing is looked up and nothing written, so the page that tries a mapping does what processing does.
"""

from __future__ import annotations

from collections.abc import Iterable
from dataclasses import dataclass, replace
from datetime import UTC, datetime, tzinfo

from pydicom import Dataset

from pacs.hl7.checks import type_of
from pacs.hl7.errors import REQUIRED_FIELD_MISSING, SEGMENT_SEQUENCE_ERROR
from pacs.hl7.groups import OrderGroup
from pacs.hl7.header import Header
from pacs.hl7.message import Message
from pacs.hl7.orders.asking import Circumstances
from pacs.hl7.orders.explanation import Explanation, Unusable
from pacs.hl7.orders.filling import Filling, dataset_of
from pacs.hl7.orders.identity import PatientNumbers, put_numbers, read_numbers
from pacs.hl7.orders.library import MappingLibrary
from pacs.hl7.orders.mapping import STEP_ATTRIBUTES, Mapping
from pacs.hl7.orders.rows import Row
from pacs.hl7.orders.scope import Scope
from pacs.hl7.orders.services import (
    ServiceGroup,
    appointment_scope,
    is_prior_result,
    is_without_order,
    order_scopes,
    patient_scope,
    pid_of,
    service_groups,
)
from pacs.hl7.orders.tables import Action
from pacs.hl7.peers import Peer
from pacs.hl7.segment import Segment
from pacs.worklist.encoding import UTF_8
from pacs.worklist.statuses import StepStatus
from pacs.worklist.steps import NewStep

PRIORITY = "RequestedProcedurePriority"
_ACCESSION = "AccessionNumber"
_APPOINTMENTS = "SIU"
_ENTERING = frozenset({Action.SCHEDULE, Action.UPDATE, Action.RELEASE})
STATUS_AFTER = {
    Action.SCHEDULE: StepStatus.SCHEDULED,
    Action.UPDATE: None,
    Action.ARRIVE: StepStatus.ARRIVED,
    Action.START: StepStatus.STARTED,
    Action.COMPLETE: StepStatus.COMPLETED,
    Action.DISCONTINUE: StepStatus.DISCONTINUED,
    Action.CANCEL: StepStatus.CANCELED,
    Action.HOLD: StepStatus.CANCELED,
    Action.RELEASE: StepStatus.SCHEDULED,
}


@dataclass(frozen=True)
class EntryReading:
    """One step as the message describes it.

    Attributes
    ----------
    step : for the worklist.
    supposed : attributes that the message does not give, so that they say nothing of an entry that is there.
    explanation : with everything that keeps the entry from being used.
    """

    step: NewStep
    supposed: frozenset[str]
    explanation: Explanation


@dataclass(frozen=True)
class OrderReading:
    """One order or appointment.

    Attributes
    ----------
    action : what is to be done with its entries.
    why : which codes, or which condition, say so.
    place : of the segment that says it, for faults (ORC^1^1).
    entries : one of each step; without a patient's number none can be used.
    has_service : whether it says what is to be done, so that an entry can be made of it; else it names the order alone.
    """

    action: Action
    why: str
    place: str
    entries: tuple[EntryReading, ...]
    has_service: bool = True


@dataclass(frozen=True)
class PatientReading:
    """The patient of a message: the numbers, and what else entries say of the patient."""

    numbers: PatientNumbers | None
    dataset: Dataset
    explanation: Explanation


class OrderMapper:
    """Reads orders, appointments and patients by the mapping of their sender. Safe to use from any thread.

    Parameters
    ----------
    site, time_zone : of this hospital.
    """

    def __init__(self, library: MappingLibrary, *, site: str, time_zone: tzinfo) -> None:
        self.library = library
        self._site = site
        self.time_zone = time_zone

    def read_message(
        self, message: Message, header: Header, peer: Peer, received_at: datetime | None = None
    ) -> list[OrderReading]:
        """Return every order of an ORM, OMG or OMI, or every service of an SIU.

        Raises
        ------
        NoMapping : the sender's mapping can't be used.
        """
        if header.message_type == _APPOINTMENTS:
            event = type_of(header, message).partition("^")[2]
            groups = service_groups(message.segments)
            return [self.read_service(message, group, event, peer, received_at) for group in groups]
        return [self.read(message, group, peer, received_at) for group in message.order_groups()]

    def read(
        self, message: Message, group: OrderGroup, peer: Peer, received_at: datetime | None = None
    ) -> OrderReading:
        """Return one order: what is to be done, and its entries. Raises as `read_message` does."""
        mapping = self.library.mapping(peer.settings.mapping)
        scopes = order_scopes(message, group)
        code, status = _code(group.orc, 1), _code(group.orc, 5)
        action = mapping.order_control.action(code, status)
        why = f"ORC-1 is {code or 'empty'}, ORC-5 is {status or 'empty'}"
        if ignored := next((each.text for each in mapping.ignore if scopes[0].holds(each)), ""):
            action, why = Action.NOTE, f"not for the worklist: {ignored}"
        elif action in _ENTERING and is_prior_result(message, group):
            action, why = Action.NOTE, "not for the worklist: a prior result"
        elif action in _ENTERING and is_without_order(message, group):
            action, why = Action.REFUSE, "an OBR behind an order has no ORC of its own, and no result"
        elif group.is_of_other_service:
            action, why = Action.NOTE, "not for the worklist: it orders no examination"
        elif group.obr is None and action in _ENTERING - {Action.RELEASE}:
            action, why = Action.NOTE, "not for the worklist: there is no OBR"
        place = group.obr or group.orc
        patient, _ = self._patient(mapping, message, pid_of(message, place), received_at)
        fillings = [_filled(patient, scope, mapping.order, place) for scope in scopes]
        entries = tuple(_entry(mapping, filling, action) for filling in fillings)
        place_of_code = group.orc.location(1) if group.orc else "ORC^1^1"
        return OrderReading(action, why, place_of_code, entries, has_service=group.obr is not None)

    def read_service(
        self, message: Message, group: ServiceGroup, event: str, peer: Peer, received_at: datetime | None = None
    ) -> OrderReading:
        """Return one service of an appointment. Raises as `read_message` does."""
        mapping = self.library.mapping(peer.settings.mapping)
        appointment = message.first("SCH")
        status = _code(appointment, 25)
        action = mapping.appointment_events.action(event, status)
        why = f"the event is {event}, SCH-25 is {status or 'empty'}"
        scope = appointment_scope(message, group)
        patient, _ = self._patient(mapping, message, pid_of(message, None), received_at)
        if _has_several_patients(message, mapping):
            text = "expected an appointment of one patient, found several"
            patient.faults.append(Unusable("PID^2", text, SEGMENT_SEQUENCE_ERROR))
        filling = _filled(patient, scope, mapping.appointment, appointment or group.service)
        return OrderReading(action, why, "MSH^1^9", (_entry(mapping, filling, action),))

    def read_patient(
        self, message: Message, pid: Segment, peer: Peer, received_at: datetime | None = None
    ) -> PatientReading:
        """Return what a PID says of its patient. Raises as `read_message` does."""
        mapping = self.library.mapping(peer.settings.mapping)
        filling, numbers = self._patient(mapping, message, pid, received_at)
        return PatientReading(numbers, dataset_of(filling.values, filling.values), _explanation(mapping, filling))

    def local(self, moment: datetime) -> datetime:
        """Return a moment in the hospital's time zone."""
        return moment.astimezone(self.time_zone)

    # -- parts ---------------------------------------------------------------------------------------------------------

    def _patient(
        self, mapping: Mapping, message: Message, pid: Segment | None, received_at: datetime | None
    ) -> tuple[Filling, PatientNumbers | None]:
        moment = self.local(received_at or datetime.now(UTC))
        filling = Filling(patient_scope(message, pid), mapping.tables, Circumstances(moment, self._site))
        if pid is None:
            filling.faults.append(Unusable("PID^1", "there is no PID segment", REQUIRED_FIELD_MISSING))
            return filling, None
        numbers = read_numbers(pid, mapping.identity)
        if isinstance(numbers, Unusable):
            filling.faults.append(numbers)
        else:
            put_numbers(filling, numbers)
        filling.fill(mapping.patient.values())
        return filling, None if isinstance(numbers, Unusable) else numbers


def _has_several_patients(message: Message, mapping: Mapping) -> bool:
    """Tell whether a message has PID segments that are not known to be of the same patient."""
    pids = message.all("PID")
    if len(pids) < 2:  # noqa: PLR2004
        return False
    first, *others = (read_numbers(pid, mapping.identity) for pid in pids)
    if isinstance(first, Unusable):
        return not all(isinstance(other, Unusable) for other in others)
    return not all(isinstance(other, PatientNumbers) and other.are_of_same_patient(first) for other in others)


def with_values(step: NewStep, values: dict[str, str], without: Iterable[str] = ()) -> NewStep:
    """Return a copy of a step with other values for some attributes, and without others."""
    dataset, item = Dataset(), Dataset()
    for source, target in ((step.dataset, dataset), (step.step_item, item)):
        for element in source:
            if element.keyword not in without and element.keyword != "ScheduledProcedureStepSequence":
                target.add(element)
    for keyword, value in values.items():
        setattr(item if keyword in STEP_ATTRIBUTES else dataset, keyword, value)
    dataset.ScheduledProcedureStepSequence = [item]
    return replace(step, dataset=dataset)


def _filled(patient: Filling, scope: Scope, rows: dict[str, Row], place: Segment | None) -> Filling:
    """Return what the message says of one entry."""
    filling = patient.continued(scope)
    filling.fill(rows.values())
    if not filling.text(_ACCESSION) and not filling.has_fault_of(_ACCESSION):
        location = place.location() if place else "SCH^1"
        fault = Unusable(location, "nothing gives an accession number", REQUIRED_FIELD_MISSING, _ACCESSION)
        filling.faults.append(fault)
    return filling


def _entry(mapping: Mapping, filling: Filling, action: Action) -> EntryReading:
    step = NewStep(_entry_dataset(filling), STATUS_AFTER.get(action), filling.text(PRIORITY))
    return EntryReading(step, frozenset(filling.supposed), _explanation(mapping, filling))


def _entry_dataset(filling: Filling) -> Dataset:
    keywords = filling.values.keys() - {PRIORITY}
    dataset = dataset_of(filling.values, sorted(keywords - STEP_ATTRIBUTES))
    dataset.SpecificCharacterSet = UTF_8
    dataset.ScheduledProcedureStepSequence = [dataset_of(filling.values, sorted(keywords & STEP_ATTRIBUTES))]
    return dataset


def _explanation(mapping: Mapping, filling: Filling) -> Explanation:
    return Explanation(mapping.name, tuple(filling.explained), tuple(filling.notices), tuple(filling.faults))


def _code(segment: Segment | None, field: int) -> str:
    return ((segment.text(field) if segment else None) or "").strip().upper()
