"""Fields of several components (HL7 chapter 2A) as names and sequence items of DICOM."""

from __future__ import annotations

from dataclasses import dataclass

from pydicom import Dataset

from pacs.hl7.orders.rows import FieldType
from pacs.hl7.orders.scope import Spot
from pacs.hl7.orders.values import LIMITS, Converted, convert, name_part
from pacs.hl7.segment import NULL

# Where the parts of a name stand, counted from its first component: family, given, middle, prefix, suffix, degree.
_XPN = (0, 1, 2, 4, 3, 5)
_XCN = (1, 2, 3, 5, 4, 6)
# DICOM wants a coding scheme with every code; codes without one are the sender's own (PS3.16 section 8.1).
LOCAL_SCHEME = "99LOCAL"
_XCN_AUTHORITY = 8
_CX_AUTHORITY = 3


@dataclass(frozen=True)
class Item:
    """An item of a sequence; None where the field does not say enough for one."""

    dataset: Dataset | None
    notices: tuple[str, ...] = ()


def read_name(spot: Spot, field_type: FieldType) -> Converted | None:
    """Return the name that stands in a field, however long; "" for HL7's null, None where there is none."""
    if spot.content.raw == NULL:
        return Converted("")
    parts = _name_parts(spot, field_type)
    family, given, middle, prefix, suffix, degree = (part or "" for part in parts)
    if not any((family, given, middle, prefix, suffix, degree)):
        return None if all(part is None for part in parts) else Converted("")
    return join_name([family, given, middle, prefix, " ".join(filter(None, (suffix, degree)))])


def join_name(parts: list[str]) -> Converted:
    """Return a name of its five parts, in the order of `rows.NAME_PARTS`, however long."""
    converted = [name_part(part) for part in parts]
    name = "^".join(part.text for part in converted).rstrip("^")
    return Converted(name, next((part.notice for part in converted if part.notice), ""))


def read_item(spot: Spot, field_type: FieldType) -> Item | None:
    """Return the sequence item that a field says; None where the field has no first value.

    Raises
    ------
    BadValue : DICOM has no room for one of its values.
    """
    if field_type is FieldType.CWE:
        return _code(spot.text(0), spot.text(1), spot.text(2), needs_more=not spot.component_is_named)
    if field_type in (FieldType.EI, FieldType.CX):
        return _issuer(spot, field_type)
    return _person(spot, field_type)


def hierarchic_designator(name: str | None, universal_id: str | None, universal_type: str | None) -> Dataset | None:
    """Return the item of an HL7v2 Hierarchic Designator (PS3.3 table 10-17)."""
    item = Dataset()
    if name:
        item.LocalNamespaceEntityID = convert(name, "UT").text
    if universal_id and universal_type:
        item.UniversalEntityID = convert(universal_id, "UT").text
        item.UniversalEntityIDType = convert(universal_type, "CS").text
    return item if len(item) else None


def _name_parts(spot: Spot, field_type: FieldType) -> list[str | None]:
    if field_type is FieldType.NDL:
        # NDL-1 is a name in subcomponents: number, family, given, ... (chapter 2A, CNN). Some write the name alone.
        parts = [spot.subtext(0, 1 + offset) for offset in _XCN]
        return parts if any(parts) else [spot.text(), *[None] * 5]
    return [spot.text(offset) for offset in (_XCN if field_type is FieldType.XCN else _XPN)]


def _code(value: str | None, meaning: str | None, scheme: str | None, *, needs_more: bool = True) -> Item | None:
    """Return a code item (PS3.3 table 8.8-1). A value without meaning and scheme is a text, no code."""
    if not value:
        return None
    if needs_more and not (meaning or scheme):
        return Item(None)
    item, notices = Dataset(), []
    code = convert(value, "UC").text
    if len(code) <= LIMITS["SH"]:
        item.CodeValue = code
    else:
        item.LongCodeValue = code
    item.CodingSchemeDesignator = convert(scheme or LOCAL_SCHEME, "SH").text
    text = convert(meaning or code, "UC").text
    if len(text) > LIMITS["LO"]:
        notices.append(f"the meaning of the code, {len(text)} characters, was shortened to {LIMITS['LO']}")
    item.CodeMeaning = text[: LIMITS["LO"]].rstrip()
    return Item(item, tuple(notices))


def _issuer(spot: Spot, field_type: FieldType) -> Item | None:
    if not spot.text():
        return None
    if field_type is FieldType.EI:
        return Item(hierarchic_designator(spot.text(1), spot.text(2), spot.text(3)))
    parts = (spot.subtext(_CX_AUTHORITY, number) for number in (1, 2, 3))
    return Item(hierarchic_designator(*parts))


def _person(spot: Spot, field_type: FieldType) -> Item | None:
    """Return the item of a Person Identification (PS3.3 table 10-1) of type XCN or NDL."""
    if field_type is FieldType.NDL:
        number, scheme = spot.subtext(0, 1), spot.subtext(0, _XCN_AUTHORITY + 1)
        number = number if spot.subtext(0, 2) else None
    else:
        number, scheme = spot.text(), spot.text(_XCN_AUTHORITY)
    name = read_name(spot, field_type)
    code = _code(number, (name.text if name else "") or number, scheme)
    if code is None or code.dataset is None:
        return None
    item = Dataset()
    item.PersonIdentificationCodeSequence = [code.dataset]
    return Item(item, code.notices)
