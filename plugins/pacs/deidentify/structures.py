"""Sequences of content: reports, codes, and the dummies of sequences that must not be empty.

Source: PS3.15 E.3.4, PS3.3 C.17.3 (SR Document Content Module) and section 8.8 (codes).
"""

from __future__ import annotations

from typing import TYPE_CHECKING

from pydicom.datadict import keyword_dict
from pydicom.dataelem import DataElement
from pydicom.dataset import Dataset

from pacs.deidentify.lawful import is_lawful
from pacs.deidentify.options import Clean, Retain
from pacs.deidentify.plan import Action, Plan, Rule
from pacs.deidentify.table import Row, structured_content
from pacs.deidentify.values import (
    BULK_VRS,
    DUMMY_BYTES,
    DUMMY_TEXT,
    NUMBER_BYTES,
    Element,
    ascii_values,
    dummy,
    items_of,
    raw_bytes,
    text,
)

if TYPE_CHECKING:
    from pacs.deidentify.treatment import Treatment

_CONTENT_SEQUENCE = 0x0040A730
_PRIVATE_BIT = 0x10000
# Where each type of content item has its value, and the value's VR.
_VALUES = {
    "TEXT": ("TextValue", "UT"),
    "PNAME": ("PersonName", "PN"),
    "DATE": ("Date", "DA"),
    "TIME": ("Time", "TM"),
    "DATETIME": ("DateTime", "DT"),
    "UIDREF": ("UID", "UI"),
}
_TEMPORAL = frozenset({"DATE", "TIME", "DATETIME"})
# Coding schemes that anybody can look up (PS3.16 section 8); codes of others may say more than they seem to.
_PUBLIC_SCHEMES = frozenset(
    [
        "DCM",
        "SCT",
        "SRT",
        "SNM3",
        "99SDM",
        "LN",
        "UCUM",
        "RADLEX",
        "RADELEMENT",
        "FMA",
        "I10",
        "I9C",
        "ICD10",
        "I10P",
        "NCIt",
        "UMLS",
        "NDC",
        "RXNORM",
        "MDC",
        "ISO3166_1",
        "ISO639_2",
        "ISO639_1",
        "RFC5646",
        "CD2",
        "NYUMCCG",
        "BI",
        "ACR",
        "IBSI",
    ]
)


def without_local_codes(items: list[Dataset]) -> list[Dataset]:
    """Return the items but those with a code of a local scheme (table E.1-1, note 7)."""
    return [item for item in items if text(item, "CodingSchemeDesignator") in ("", *_PUBLIC_SCHEMES)]


def rule_of(item: Dataset, plan: Plan) -> tuple[int, Rule]:
    """Return the tag of a content item's value, 0 for a reference or a code, and what is done with it.

    By table E.3.4-1, or where that does not know its concept by the type of its value.
    """
    value_type = text(item, "ValueType")
    keyword, vr = _VALUES.get(value_type, ("", ""))
    row = _row(item, value_type)
    rule = plan.of_row(row, vr) if row else _of_type(plan, value_type, vr)
    if keyword:
        return keyword_dict[keyword], rule
    # What the dummy of a reference would be, other UIDs make of it when the item is treated.
    return 0, rule if rule.action is Action.REMOVE else Rule(Action.KEEP, Action.REMOVE, "")


def dummies(items: list[Dataset], tag: int, treatment: Treatment) -> list[Dataset]:
    """Return what stands for a sequence that must have an item: one like its first, of dummies."""
    if tag == _CONTENT_SEQUENCE:
        return [_content_item()]
    return [_dummy(items[0], treatment)] if items else []


def _row(item: Dataset, value_type: str) -> Row | None:
    for name in item.get("ConceptNameCodeSequence") or ():
        return structured_content().get((text(name, "CodeValue"), text(name, "CodingSchemeDesignator"), value_type))
    return None


def _of_type(plan: Plan, value_type: str, vr: str) -> Rule:
    """Return the rule for a value of a concept that the table does not list."""
    if value_type == "TEXT" and plan.has(Clean.DESCRIPTORS):
        return Rule(Action.WORDS, Action.DUMMY, vr)
    if value_type in _TEMPORAL:
        return Rule(plan.of_time(), Action.DUMMY, vr)
    if value_type == "UIDREF":
        return Rule(Action.KEEP if plan.has(Retain.UIDS) else Action.UID, Action.REMOVE, vr)
    return Rule(Action.DUMMY if value_type in _VALUES else Action.KEEP, Action.REMOVE, vr)


def _content_item() -> Dataset:
    item, name = Dataset(), Dataset()
    name.CodeValue, name.CodingSchemeDesignator, name.CodeMeaning = "121106", "DCM", "Comment"
    item.RelationshipType, item.ValueType, item.TextValue = "CONTAINS", "TEXT", DUMMY_TEXT
    item.ConceptNameCodeSequence = [name]
    return item


def _dummy(item: Dataset, treatment: Treatment) -> Dataset:
    """Return an item of the same standard attributes, of which no value says anything."""
    result = Dataset()
    for element in list(item.elements()):
        rule = treatment.plan.rule(element.tag)
        if element.tag & _PRIVATE_BIT or not rule.vr or rule.action is Action.REMOVE:
            continue
        if rule.vr == "SQ":
            result[element.tag] = DataElement(
                element.tag, "SQ", dummies(items_of(item, element) or [], element.tag, treatment)
            )
        else:
            result[element.tag] = DataElement(element.tag, rule.vr, _dummy_value(element, rule, treatment))
    return result


def _dummy_value(element: Element, rule: Rule, treatment: Treatment) -> object:
    if rule.vr == "UI":
        uids = ascii_values(element)
        return uids if rule.action is Action.KEEP else [treatment.uid(uid) for uid in uids]
    if rule.vr in NUMBER_BYTES:
        size = NUMBER_BYTES[rule.vr]
        return [0] * max(1, len(raw_bytes(element)) // size) if rule.vr not in BULK_VRS else bytes(size)
    if rule.vr == "CS" and is_lawful("CS", element) and not treatment.holds_trace(raw_bytes(element).decode("latin-1")):
        return ascii_values(element)
    return DUMMY_BYTES if rule.vr in BULK_VRS else dummy(rule.vr).decode("ascii").strip()
