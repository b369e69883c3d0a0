"""What HL7 calls its segments, fields and components (v2.5.1), for people who read a message.

The names of fields and components are those of hl7apy's tables, which were made from the standard's own.
"""

from __future__ import annotations

from functools import cache
from typing import Any

# HL7 v2.5.1 chapter headings of the segments that come here, and of their neighbours.
_SEGMENTS = {
    "ACC": "Accident",
    "AIG": "Appointment information: general resource",
    "AIL": "Appointment information: location",
    "AIP": "Appointment information: personnel",
    "AIS": "Appointment information: service",
    "AL1": "Patient allergy",
    "ARV": "Access restriction",
    "BHS": "Batch header",
    "BTS": "Batch trailer",
    "CTD": "Contact data",
    "CTI": "Clinical trial identification",
    "DB1": "Disability",
    "DG1": "Diagnosis",
    "DRG": "Diagnosis related group",
    "DSC": "Continuation pointer",
    "DSP": "Display data",
    "ERR": "Error",
    "EVN": "Event type",
    "FHS": "File header",
    "FT1": "Financial transaction",
    "FTS": "File trailer",
    "GT1": "Guarantor",
    "IAM": "Patient adverse reaction",
    "IN1": "Insurance",
    "IN2": "Insurance, additional information",
    "IN3": "Insurance, certification",
    "IPC": "Imaging procedure control",
    "MRG": "Merge patient information",
    "MSA": "Message acknowledgment",
    "MSH": "Message header",
    "NK1": "Next of kin",
    "NTE": "Notes and comments",
    "OBR": "Observation request",
    "OBX": "Observation result",
    "ORC": "Common order",
    "PD1": "Patient additional demographic",
    "PID": "Patient identification",
    "PR1": "Procedures",
    "PV1": "Patient visit",
    "PV2": "Patient visit, additional information",
    "QRD": "Query definition",
    "QRF": "Query filter",
    "RGS": "Resource group",
    "ROL": "Role",
    "RXO": "Pharmacy order",
    "SCH": "Scheduling activity information",
    "SFT": "Software",
    "SPM": "Specimen",
    "TQ1": "Timing and quantity",
    "TQ2": "Timing and quantity relationship",
    "TXA": "Document notification",
    "UB1": "UB82",
    "UB2": "UB92 data",
    "ZDS": "Study Instance UID (IHE)",
}
_FIELDS_OF_OURS = {("ZDS", 1): "Study Instance UID"}
_ALWAYS_CAPITAL = frozenset(
    {"ID", "HL7", "SSN", "DRG", "VIP", "CPT", "NPI", "UPIN", "OID", "UID", "ISO", "DNS", "ICD", "DEA", "EI", "UB"}
)


def segment_name(segment: str) -> str:
    """Return what a segment is called, "" for one that the table does not have (Z segments of a site)."""
    return _SEGMENTS.get(segment, "")


def field_name(segment: str, field: int) -> str:
    """Return what a field is called, "" where the standard has none at this number."""
    known = _FIELDS_OF_OURS.get((segment, field)) or (_fields(segment).get(field) or ("",))[0]
    return known or ""


def component_name(segment: str, field: int, component: int) -> str:
    """Return what a component of a field is called, "" for a field without components."""
    _, components = _fields(segment).get(field, ("", ()))
    return components[component - 1] if component <= len(components) else ""


@cache
def _fields(segment: str) -> dict[int, tuple[str, tuple[str, ...]]]:
    """Return name and components' names by number of the field."""
    # Imported when a person first looks at a message: it takes a fifth of a second.
    from hl7apy.v2_5_1.segments import SEGMENTS  # noqa: PLC0415

    definition: Any = SEGMENTS.get(segment)
    if definition is None:
        return {}
    return {_number(name): _named(reference, segment) for name, reference, *_ in definition[1]}


def _number(name: str) -> int:
    return int(name.rpartition("_")[2])


def _named(reference: Any, segment: str = "") -> tuple[str, tuple[str, ...]]:
    kind, children, _, name, *_ = reference
    parts = tuple(_words(child[1][3]) for child in children) if kind == "sequence" and children else ()
    return _words(name, segment), parts


def _words(name: str | None, segment: str = "") -> str:
    r"""Return "Set ID - PID" of SET_ID_PID and "Patient name" of PATIENT_NAME."""
    words = [word if word in _ALWAYS_CAPITAL else word.lower() for word in (name or "").split("_") if word]
    if len(words) > 1 and segment and words[-1].upper() == segment:
        words[-1:] = ["-", segment]
    text = " ".join(words)
    return text[:1].upper() + text[1:]
