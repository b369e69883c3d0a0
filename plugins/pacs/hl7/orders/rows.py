"""One row of a mapping: an attribute of DICOM, where its value comes from, and what is done with it on the way."""

from __future__ import annotations

import re
from dataclasses import dataclass, field
from enum import StrEnum
from functools import cached_property

from pydicom.datadict import dictionary_VR, tag_for_keyword

from pacs.hl7.orders.sources import Source, parse_source
from pacs.settings_files.faults import Place, did_you_mean
from pacs.settings_files.marked_yaml import Node

_SOURCE = "a source such as OBR-18, or a list of them"
_DATE_AND_TIME = re.compile(r"(\w+Date) \+ (\w+Time)")
NAME_PARTS = ("family", "given", "middle", "prefix", "suffix")  # In the order of VR PN (PS3.5 section 6.2.1).
_KEYS = frozenset({"from", "as", "table", "all", "if_bad"})


class FieldType(StrEnum):
    """Data types of HL7 fields that hold more than a text, by what they are called in the standard (chapter 2A)."""

    XPN = "XPN"  # a person's name
    XCN = "XCN"  # number and name of a person
    NDL = "NDL"  # number and name of a person, in subcomponents
    CWE = "CWE"  # code, meaning, coding scheme
    EI = "EI"  # number and who gave it
    CX = "CX"  # number and who gave it, in subcomponents


# What each VR can be read from.
_NAMES = frozenset({FieldType.XPN, FieldType.XCN, FieldType.NDL})
_ITEMS = frozenset({FieldType.XCN, FieldType.NDL, FieldType.CWE, FieldType.EI, FieldType.CX})


class IfBad(StrEnum):
    """What happens to a value that DICOM has no room for."""

    REFUSE = "refuse"  # the message becomes a dead letter
    SHORTEN = "shorten"  # text that is too long is shortened, with a notice; what else is wrong is left out
    LEAVE_OUT = "leave out"  # the attribute is left out, with a notice


class TakeAll(StrEnum):
    """Take every repetition of every source, rather than the first value found."""

    VALUES = "values"
    LINES = "lines"


@dataclass(frozen=True)
class Row:
    """How one attribute (or a date and its time) is filled.

    Attributes
    ----------
    keywords : one, or date and time.
    sources : tried in this order.
    parts : for a name that is put together: its parts by `NAME_PARTS`, instead of `sources`.
    """

    keywords: tuple[str, ...]
    place: Place
    sources: tuple[Source, ...] = ()
    parts: dict[str, tuple[Source, ...]] = field(default_factory=dict)
    field_type: FieldType | None = None
    table: str = ""
    take_all: TakeAll | None = None
    if_bad: IfBad = IfBad.REFUSE

    @property
    def keyword(self) -> str:
        """The first attribute."""
        return self.keywords[0]

    @cached_property
    def vr(self) -> str:
        """VR of the first attribute."""
        return dictionary_VR(self.keyword)

    @property
    def name(self) -> str:
        """What the mapping calls it."""
        return " + ".join(self.keywords)

    @property
    def all_sources(self) -> tuple[Source, ...]:
        """Every source, of the parts too."""
        return (*self.sources, *(source for sources in self.parts.values() for source in sources))


def parse_row(name: str, node: Node) -> Row | None:
    """Return the row that a mapping writes as `name: node`; None notes a fault."""
    keywords = _keywords(name, node)
    if keywords is None:
        return None
    if not node.is_mapping:
        return Row(keywords, node.place, _sources(node))
    entries = node.entries("a source or `from:`")
    if any(part in entries for part in NAME_PARTS):
        return _name_row(keywords, node, entries)
    for key in entries.keys() - _KEYS:
        entries[key].fault(f'unknown key "{key}"; {did_you_mean(key, _KEYS | set(NAME_PARTS))}')
    if "from" not in entries:
        node.fault(f"{name} has no `from:`; say where its value comes from.")
        return None
    row = Row(
        keywords,
        node.place,
        _sources(entries["from"]),
        field_type=_choice(entries.get("as"), FieldType),
        table=_word(entries.get("table"), "the name of a table"),
        take_all=_choice(entries.get("all"), TakeAll),
        if_bad=_choice(entries.get("if_bad"), IfBad) or IfBad.REFUSE,
    )
    _check_type(row, node)
    return row


def _name_row(keywords: tuple[str, ...], node: Node, entries: dict[str, Node]) -> Row | None:
    for key in entries.keys() - set(NAME_PARTS) - {"if_bad"}:
        entries[key].fault(f'"{key}" is no part of a name; {did_you_mean(key, NAME_PARTS)}')
    if dictionary_VR(keywords[0]) != "PN":
        node.fault(f"{keywords[0]} is no person's name; it has no {' or '.join(NAME_PARTS[:2])}.")
        return None
    parts = {part: _sources(entries[part]) for part in NAME_PARTS if part in entries}
    if_bad = _choice(entries.get("if_bad"), IfBad) or IfBad.REFUSE
    return Row(keywords, node.place, parts=parts, if_bad=if_bad)


def _keywords(name: str, node: Node) -> tuple[str, ...] | None:
    if pair := _DATE_AND_TIME.fullmatch(name):
        keywords: tuple[str, ...] = (pair[1], pair[2])
    else:
        keywords = (name,)
    for keyword in keywords:
        if tag_for_keyword(keyword) is None:
            node.fault(f'"{keyword}" is no attribute of DICOM; {_nearest_keyword(keyword)}')
            return None
    return keywords


def _nearest_keyword(keyword: str) -> str:
    # Imported here: thousands of words, needed only to cure a mistake.
    from pydicom.datadict import keyword_dict  # noqa: PLC0415

    return did_you_mean(keyword, keyword_dict) or "write its keyword as PS3.6 does, for example AccessionNumber."


def _sources(node: Node) -> tuple[Source, ...]:
    found = []
    for text in node.texts(_SOURCE):
        try:
            found.append(parse_source(text.text))
        except ValueError as error:
            node.fault_at(text.place, f"{error}.")
    return tuple(found)


def _check_type(row: Row, node: Node) -> None:
    """Note a fault where the attribute can't hold what the row reads."""
    if row.vr == "SQ" and row.field_type not in _ITEMS:
        node.fault(f"{row.keyword} is a sequence; say `as:` {', '.join(sorted(_ITEMS))}.")
    elif row.vr != "SQ" and row.field_type and not (row.vr == "PN" and row.field_type in _NAMES):
        node.fault(f"{row.keyword} has VR {row.vr}, which is not read `as: {row.field_type}`.")


def _choice[Choice: StrEnum](node: Node | None, choices: type[Choice]) -> Choice | None:
    if node is None or (word := node.text("one of " + ", ".join(choices))) is None:
        return None
    try:
        return choices(word)
    except ValueError:
        node.fault(f'"{word}" is none of: {", ".join(choices)}.')
        return None


def _word(node: Node | None, expected: str) -> str:
    return "" if node is None else node.text(expected) or ""
