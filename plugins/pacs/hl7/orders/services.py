"""What a message asks for, taken apart: each order's steps and each appointment's services, with their segments."""

from __future__ import annotations

from collections.abc import Iterable
from dataclasses import dataclass, field

from pacs.hl7.groups import OrderGroup
from pacs.hl7.message import Message
from pacs.hl7.orders.scope import Scope
from pacs.hl7.segment import Segment

_REPORTED_AT, _RESULT_STATUS = 22, 25
_FINAL = frozenset({"F", "C"})  # HL7 table 0123: final, corrected
_RESOURCES = ("AIS", "AIG", "AIL", "AIP")
# Between a PID and the notes about the patient.
_OF_THE_PATIENT = frozenset({"PD1", "NK1", "ROL", "ARV"})


@dataclass
class ServiceGroup:
    """One service of an appointment (AIS) with the resources of its group (RGS)."""

    service: Segment | None
    resources: dict[str, list[Segment]] = field(default_factory=lambda: {name: [] for name in _RESOURCES[1:]})
    notes: list[Segment] = field(default_factory=list)


def service_groups(segments: Iterable[Segment]) -> list[ServiceGroup]:
    """Return the services of an appointment; one without AIS where it names none."""
    groups: list[ServiceGroup] = []
    shared = ServiceGroup(None)
    for segment in segments:
        if segment.name == "RGS":
            shared = ServiceGroup(None)
        elif segment.name == "AIS":
            groups.append(ServiceGroup(segment, shared.resources, []))
        elif segment.name in shared.resources:
            shared.resources[segment.name].append(segment)
        elif segment.name == "NTE" and groups:
            groups[-1].notes.append(segment)
    return groups or [shared]


def is_prior_result(message: Message, group: OrderGroup) -> bool:
    """Tell whether an OBR behind an order is a result of before, such as OMG^O19 sends along, and orders nothing.

    It stands behind a PID of its own and without ORC, or where an order would, but with a final result.
    """
    if group.obr is None:
        return False
    if is_without_order(message, group):
        return bool(group.observations or _says(group.obr, _REPORTED_AT) or _says(group.obr, _RESULT_STATUS))
    is_final = (group.obr.text(_RESULT_STATUS) or "").strip().upper() in _FINAL
    return group.obr.number > 1 and is_final and bool(group.observations)


def is_without_order(message: Message, group: OrderGroup) -> bool:
    """Tell whether an OBR has no ORC though one stands before it."""
    orc = message.first("ORC")
    return group.orc is None and group.obr is not None and orc is not None and orc.start < group.obr.start


def _says(segment: Segment, field: int) -> bool:
    return bool((segment.text(field) or "").strip())


def pid_of(message: Message, segment: Segment | None) -> Segment | None:
    """Return the PID that a segment follows, the first where there is only one or none before it."""
    pids = message.all("PID")
    if segment is None or len(pids) < 2:  # noqa: PLR2004
        return pids[0] if pids else None
    before = [pid for pid in pids if pid.start < segment.start]
    return before[-1] if before else None


def patient_scope(message: Message, pid: Segment | None) -> Scope:
    """Return what the rows of `patient:` see: a PID and the notes right after it."""
    return Scope(message, {"PID": [pid] if pid else [], "NTE": _notes_after(message, pid) if pid else []})


def order_scopes(message: Message, group: OrderGroup) -> list[Scope]:
    """Return what the rows of `order:` see: one scope of each step."""
    pid = pid_of(message, group.obr or group.orc)
    own: dict[str, list[Segment]] = {
        "PID": [pid] if pid else [],
        "ORC": [group.orc] if group.orc else [],
        "OBR": [group.obr] if group.obr else [],
        "TQ1": group.tq1s,
        "ZDS": [group.zds] if group.zds else [],
        "NTE": group.notes,
        "OBX": group.observations,
    }
    return [Scope(message, own | {"IPC": [ipc]}) for ipc in group.ipcs] or [Scope(message, own | {"IPC": []})]


def appointment_scope(message: Message, group: ServiceGroup) -> Scope:
    """Return what the rows of `appointment:` see."""
    own = {"AIS": [group.service] if group.service else [], "NTE": group.notes, **group.resources}
    return Scope(message, own)


def _notes_after(message: Message, pid: Segment) -> list[Segment]:
    notes = []
    for segment in message.segments[message.segments.index(pid) + 1 :]:
        if segment.name == "NTE":
            notes.append(segment)
        elif segment.name not in _OF_THE_PATIENT:
            break
    return notes
