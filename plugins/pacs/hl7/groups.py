"""Segments that belong together: a patient with what is said of it, an order with its details.

Groups are found by order of appearance, as every version's structures have it, so a segment that a structure does
not foresee (ZDS, NTE, any Z segment) stays with the order it follows.

Source: HL7 v2.5.1 chapter 3.3 (ADT), 4.4 (ORM, OMG, OMI), 7.3 (ORU).
"""

from __future__ import annotations

from collections.abc import Iterable
from dataclasses import dataclass, field

from pacs.hl7.segment import Segment

# What stands in the place of an OBR where medicines, supplies or meals are ordered (ORM^O01).
_OF_OTHER_SERVICES = frozenset({"RXO", "RQD", "RQ1", "ODS", "ODT"})
_NOT_OF_AN_ORDER = frozenset({"ORC", "PID", "PD1", "PV1", "PV2"})


@dataclass
class OrderGroup:
    """One requested service: an OBR under its ORC. Several OBR under one ORC are several groups.

    Attributes
    ----------
    orc, obr : None where the message has none (results come without ORC, cancellations without OBR).
    tq1s : timing; what stands before the first OBR holds for all OBR of the ORC.
    ipcs, zds, notes, observations : IPC, ZDS, NTE and OBX that follow.
    others : every other segment of the group, in the order they came.
    """

    orc: Segment | None
    obr: Segment | None = None
    tq1s: list[Segment] = field(default_factory=list)
    ipcs: list[Segment] = field(default_factory=list)
    zds: Segment | None = None
    notes: list[Segment] = field(default_factory=list)
    observations: list[Segment] = field(default_factory=list)
    others: list[Segment] = field(default_factory=list)

    @property
    def is_of_other_service(self) -> bool:
        """Whether it orders something that is no examination."""
        return self.obr is None and any(segment.name in _OF_OTHER_SERVICES for segment in self.others)

    def add(self, segment: Segment) -> None:
        """Put a segment where it belongs."""
        lists = {"TQ1": self.tq1s, "IPC": self.ipcs, "NTE": self.notes, "OBX": self.observations}
        if segment.name == "ZDS" and self.zds is None:
            self.zds = segment
        else:
            lists.get(segment.name, self.others).append(segment)


@dataclass
class PatientGroup:
    """A PID with the MRG that follows it before the next PID."""

    pid: Segment
    mrg: Segment | None = None


def order_groups(segments: Iterable[Segment]) -> list[OrderGroup]:
    """Return the orders of a message; segments before the first ORC or OBR belong to none."""
    groups: list[OrderGroup] = []
    orc: Segment | None = None
    shared: list[Segment] = []  # between an ORC and its first OBR
    for segment in segments:
        if segment.name == "ORC" or (segment.name == "OBR" and (not groups or groups[-1].obr is not None)):
            orc, shared = (segment, []) if segment.name == "ORC" else (orc, shared)
            groups.append(OrderGroup(orc))
            for common in shared:
                groups[-1].add(common)
        if segment.name == "OBR":
            groups[-1].obr = segment
        elif segment.name == "PID":
            orc, shared = None, []
        elif groups and segment.name not in _NOT_OF_AN_ORDER:
            groups[-1].add(segment)
            if groups[-1].obr is None:
                shared.append(segment)
    return groups


def patient_groups(segments: Iterable[Segment]) -> list[PatientGroup]:
    """Return each PID with its MRG: a message may merge several patients."""
    groups: list[PatientGroup] = []
    for segment in segments:
        if segment.name == "PID":
            groups.append(PatientGroup(segment))
        elif segment.name == "MRG" and groups and groups[-1].mrg is None:
            groups[-1].mrg = segment
    return groups
