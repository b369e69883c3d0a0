"""A mapping, whole: which field of which message becomes which attribute of a worklist entry.

The language is explained in `pacs/hl7/mappings/default.yaml`, which is the mapping of every sender without its own.
"""

from __future__ import annotations

from collections.abc import Iterable
from dataclasses import dataclass, field, replace

from pacs.hl7.orders.errors import MappingError
from pacs.hl7.orders.rows import Row, parse_row
from pacs.hl7.orders.sources import Condition, parse_condition
from pacs.hl7.orders.tables import ActionTable, Table, parse_actions, parse_table
from pacs.settings_files.faults import Faults, did_you_mean
from pacs.settings_files.marked_yaml import Node, read_marked

_REMOVED = "none"
_WHEN_EMPTY = "write `extends: default` to use the default mapping as it is"
_NONE_YET: Iterable[str] = ()

# Attributes of the item in the Scheduled Procedure Step Sequence; all others belong to the order or the patient
# (PS3.4 table K.6-1).
STEP_ATTRIBUTES = frozenset(
    {
        "CommentsOnTheScheduledProcedureStep",
        "Modality",
        "PreMedication",
        "RequestedContrastAgent",
        "ScheduledPerformingPhysicianIdentificationSequence",
        "ScheduledPerformingPhysicianName",
        "ScheduledProcedureStepDescription",
        "ScheduledProcedureStepEndDate",
        "ScheduledProcedureStepEndTime",
        "ScheduledProcedureStepID",
        "ScheduledProcedureStepLocation",
        "ScheduledProcedureStepStartDate",
        "ScheduledProcedureStepStartTime",
        "ScheduledProtocolCodeSequence",
        "ScheduledStationAETitle",
        "ScheduledStationName",
    }
)
_NUMBER_FIELDS = ("PID-2", "PID-3", "PID-4")
# Not in rows: whose it is decides `identity`, and the status what the message asks for.
_NOT_IN_ROWS = {
    "PatientID": "set `prefer:` or `only:` under `identity:` instead",
    "IssuerOfPatientID": "set `issuer:` under `identity:` instead",
    "OtherPatientIDsSequence": "it follows from `identity:`",
    "ScheduledProcedureStepStatus": "it follows from `order_control:` and `appointment_events:`",
    "SpecificCharacterSet": "the worklist is kept in UTF-8 and answered as the station asks",
}
# What these attributes say names the entry, so every mapping needs them.
_NEEDED = (
    "AccessionNumber",
    "RequestedProcedureID",
    "ScheduledProcedureStepID",
    "StudyInstanceUID",
    "ScheduledProcedureStepStartDate",
    "Modality",
)


@dataclass(frozen=True)
class IdentityRules:
    """Which of a patient's numbers is the Patient ID.

    Attributes
    ----------
    fields : where the numbers stand (type CX); the first of these fields that has one counts.
    prefer : assigning authorities whose number is taken first, in this order; else the first number counts.
    only : assigning authorities whose numbers count at all; all of them where empty.
    issuer : stands in for an assigning authority that is missing.
    """

    fields: tuple[str, ...] = ("PID-3",)
    prefer: tuple[str, ...] = ()
    only: tuple[str, ...] = ()
    issuer: str = ""


@dataclass(frozen=True)
class Mapping:
    """Everything that a mapping says.

    Attributes
    ----------
    name : of its file, without ".yaml".
    patient, order, appointment : rows, in the order in which they are filled.
    ignore : conditions under which an order is none for the worklist.
    """

    name: str
    identity: IdentityRules = IdentityRules()
    tables: dict[str, Table] = field(default_factory=dict)
    patient: dict[str, Row] = field(default_factory=dict)
    order: dict[str, Row] = field(default_factory=dict)
    appointment: dict[str, Row] = field(default_factory=dict)
    order_control: ActionTable = field(default_factory=ActionTable)
    appointment_events: ActionTable = field(default_factory=ActionTable)
    ignore: tuple[Condition, ...] = ()


_SECTIONS = (
    "extends",
    "identity",
    "tables",
    "patient",
    "order",
    "appointment",
    "order_control",
    "appointment_events",
    "ignore",
)


def parse_mapping(text: str, name: str, base: Mapping | None) -> Mapping:
    """Return the mapping that a file holds, laid over `base`, which it may extend.

    Raises
    ------
    MappingError : with every fault of it.
    """
    faults = Faults()
    root = read_marked(text, f"{name}.yaml", faults, when_empty=_WHEN_EMPTY)
    mapping = Mapping(name)
    if root is not None:
        mapping = _parse(root, mapping, base)
        _check(mapping, root, faults)
    faults.raise_if_any(MappingError)
    return mapping


def _parse(root: Node, empty: Mapping, base: Mapping | None) -> Mapping:
    entries = root.entries("the sections of a mapping")
    for key in entries.keys() - set(_SECTIONS):
        entries[key].fault(f'unknown section "{key}"; {did_you_mean(key, _SECTIONS)}')
    start = replace(base, name=empty.name) if base and _extends(entries.get("extends"), base) else empty
    return replace(
        start,
        identity=_identity(entries.get("identity"), start.identity),
        tables=_tables(entries.get("tables"), start.tables),
        patient=_rows(entries.get("patient"), start.patient),
        order=_rows(entries.get("order"), start.order),
        appointment=_rows(entries.get("appointment"), start.appointment),
        order_control=start.order_control.updated(_actions(entries.get("order_control"))),
        appointment_events=start.appointment_events.updated(_actions(entries.get("appointment_events"))),
        ignore=_conditions(entries.get("ignore"), start.ignore),
    )


def _extends(node: Node | None, base: Mapping) -> bool:
    """Tell whether the mapping only says what is different from the base."""
    if node is None:
        return False
    name = node.text(f"`{base.name}`")
    if name not in (None, base.name):
        node.fault(f'can only extend "{base.name}", found "{name}".')
    return True


def _identity(node: Node | None, before: IdentityRules) -> IdentityRules:
    if node is None:
        return before
    entries = node.entries("fields, prefer, only or issuer")
    known = ("fields", "prefer", "only", "issuer")
    for key in entries.keys() - set(known):
        entries[key].fault(f'unknown key "{key}"; {did_you_mean(key, known)}')
    lists = {
        key: tuple(text.text for text in entries[key].texts("a list of texts"))
        for key in ("fields", "prefer", "only")
        if key in entries
    }
    for name in lists.get("fields", ()):
        if name not in _NUMBER_FIELDS:
            entries["fields"].fault(f'patients\' numbers stand in {", ".join(_NUMBER_FIELDS)}, found "{name}".')
    issuer = (entries["issuer"].text("an assigning authority") or "") if "issuer" in entries else before.issuer
    return replace(before, issuer=issuer, **lists)


def _tables(node: Node | None, before: dict[str, Table]) -> dict[str, Table]:
    tables = dict(before)
    for name, value in (node.entries("tables by name") if node else {}).items():
        table = parse_table(value)
        tables[name] = before[name].updated(table) if name in before else table
    return tables


def _rows(node: Node | None, before: dict[str, Row]) -> dict[str, Row]:
    rows = dict(before)
    for name, value in (node.entries("attributes and where they come from") if node else {}).items():
        if value.is_text and value.text("a source") == _REMOVED:
            rows.pop(name, None)
        elif (row := parse_row(name, value)) is not None:
            for keyword in _NOT_IN_ROWS.keys() & set(row.keywords):
                value.fault(f"{keyword} is not filled by a row; {_NOT_IN_ROWS[keyword]}.")
            rows[name] = row
    return rows


def _actions(node: Node | None) -> ActionTable:
    return parse_actions(node) if node else ActionTable()


def _conditions(node: Node | None, before: tuple[Condition, ...]) -> tuple[Condition, ...]:
    if node is None:
        return before
    found = []
    for text in node.texts("a condition such as OBR-24 is LAB"):
        if text.text == _REMOVED:
            continue
        try:
            found.append(parse_condition(text.text))
        except ValueError as error:
            node.fault_at(text.place, f"{error}.")
    return tuple(found)


def _check(mapping: Mapping, root: Node, faults: Faults) -> None:
    """Note what only shows when the mapping is looked at whole."""
    _check_section(mapping, mapping.patient, faults)
    known = [keyword for row in mapping.patient.values() for keyword in row.keywords]
    for title, section in (("order", mapping.order), ("appointment", mapping.appointment)):
        _check_section(mapping, section, faults, known)
        filled = {keyword for row in section.values() for keyword in row.keywords}
        for keyword in _NEEDED:
            if keyword not in filled:
                root.fault(f"{title}: nothing fills {keyword}; add a row, or start the file with `extends: default`.")


def _check_section(mapping: Mapping, section: dict[str, Row], faults: Faults, known: Iterable[str] = _NONE_YET) -> None:
    above = set(known)
    for row in section.values():
        if row.table and row.table not in mapping.tables:
            faults.add(row.place, f'there is no table "{row.table}"; {did_you_mean(row.table, mapping.tables)}')
        for source in row.all_sources:
            for keyword in source.attributes:
                if keyword not in above:
                    faults.add(row.place, f'"{source.text}" needs a row for {keyword} above it.')
        above |= set(row.keywords)
