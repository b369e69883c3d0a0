"""What is done with each attribute, for the options of a project: table E.1-1, compiled.

Where the table leaves a choice (X/Z, X/D, Z/D, X/Z/D: what the IOD's type of the attribute allows), the choice is the
one that every type allows: an empty value for X/Z, a dummy where D is among them, and sequences of references
(X/Z/U*) stay with other UIDs. What the table does not list is treated by its VR, as notes 1 and 4 of the table advise.
"""

from __future__ import annotations

from collections.abc import Iterable
from dataclasses import dataclass
from enum import Enum, auto

from pydicom.datadict import dictionary_VR, keyword_dict, keyword_for_tag

from pacs.deidentify.options import Clean, Option, Retain
from pacs.deidentify.table import Row, additional_attributes, confidentiality_profile


class Action(Enum):
    """What is done with an attribute. Sequences that stay are entered, whatever else is done."""

    KEEP = auto()
    REMOVE = auto()
    EMPTY = auto()
    DUMMY = auto()
    UID = auto()
    WORDS = auto()
    SHIFT = auto()
    STRUCTURE = auto()
    CODES = auto()


@dataclass(frozen=True, slots=True)
class Rule:
    """What is done, and what where that leaves nothing or can't be done.

    Attributes
    ----------
    vr : of the standard's dictionary; "" where it has none.
    """

    action: Action
    otherwise: Action
    vr: str
    is_listed: bool = True


_BASIC = {
    "X": Action.REMOVE,
    "Z": Action.EMPTY,
    "D": Action.DUMMY,
    "U": Action.UID,
    "X/Z": Action.EMPTY,
    "X/D": Action.DUMMY,
    "Z/D": Action.DUMMY,
    "X/Z/D": Action.DUMMY,
    "X/Z/U*": Action.UID,
}
_TEMPORAL = frozenset({"DA", "DT", "TM"})
_BYTES = frozenset({"OB", "OW", "UN"})
_LONG_TEXT = frozenset({"LT", "ST", "UC", "UT"})
# UIDs of what kind a thing is, not of which one (PS3.15 E.3.9 note 4), and a code too long for Code Value.
_STRUCTURAL = frozenset(
    keyword_dict[name]
    for name in [
        "SOPClassUID",
        "RelatedGeneralSOPClassUID",
        "OriginalSpecializedSOPClassUID",
        "SOPClassesInStudy",
        "SOPClassesSupported",
        "ReferencedSOPClassUID",
        "StoredInstanceTransferSyntaxUID",
        "AvailableTransferSyntaxUID",
        "FlowTransferSyntaxUID",
        "MACCalculationTransferSyntaxUID",
        "EncryptedContentTransferSyntaxUID",
        "CodingSchemeUID",
        "ContextUID",
        "MappingResourceUID",
        "LongCodeValue",
    ]
)
_SHORT_TEXT = frozenset({"LO", "SH"})
# Short texts that people write as they like, by what the standard calls them.
_PROSE = ("Comment", "Comments", "Notes", "Description", "Label", "Explanation", "Summary", "Text")
_GROUP_LENGTH = 0x0000
# Groups before it belong to commands, files and directories: in an instance they have no business, and all go.
_FIRST_GROUP = 0x0008
_OVERLAYS, _CURVES = 0x60, 0x50


class Plan:
    """The rules for one choice of options. Fills itself as attributes come by; safe to use from any thread."""

    def __init__(self, options: Iterable[Option]) -> None:
        self.options = frozenset(options)
        self._rules = dict(self._listed())

    def rule(self, tag: int) -> Rule:
        """Return what is done with a standard attribute; private ones have rules of their own."""
        found = self._rules.get(tag)
        if found is None:
            found = self._rules[tag] = self._unlisted(tag)
        return found

    def has(self, option: Option) -> bool:
        """Tell whether the project chose an option."""
        return option in self.options

    def of_row(self, row: Row, vr: str) -> Rule:
        """Return what a row of a table comes to with these options, for a value of this VR."""
        basic = _BASIC[row.basic]
        letters = {option: letter for option, letter in row.options.items() if option in self.options}
        if not letters:
            return Rule(basic, basic, vr)
        if Retain.MODIFIED_DATES in letters:
            # Also where another option would keep the date: one that did not move would betray by how much others did.
            return Rule(Action.SHIFT, basic, vr)
        if "K" in letters.values():
            return Rule(Action.KEEP, basic, vr)
        return Rule(self._cleaning(letters, vr, basic), basic, vr)

    def _cleaning(self, letters: dict[Option, str], vr: str, basic: Action) -> Action:
        if Clean.STRUCTURED in letters:
            return Action.STRUCTURE
        if Clean.GRAPHICS in letters:
            # Lines and points stay; texts among them have rules of their own.
            return Action.KEEP
        if vr == "SQ":
            return Action.CODES
        # Bytes can't be looked through for words.
        return basic if vr in _BYTES else Action.WORDS

    def _listed(self) -> Iterable[tuple[int, Rule]]:
        for row in (*additional_attributes(), *confidentiality_profile()):
            if row.key.isalnum() and "x" not in row.key and row.key != "private":
                tag = int(row.key, 16)
                if tag >> 16 >= _FIRST_GROUP:
                    yield tag, self.of_row(row, _vr(tag))

    def _unlisted(self, tag: int) -> Rule:
        group, vr = tag >> 16, _vr(tag)
        # What overlays and curves show can't be looked through: whole groups go, with and without Clean Graphics.
        if not vr or group < _FIRST_GROUP or group >> 8 in (_OVERLAYS, _CURVES) or tag & 0xFFFF == _GROUP_LENGTH:
            action = Action.REMOVE
        else:
            action = self._by_vr(tag, vr)
        otherwise = Action.DUMMY if action in (Action.SHIFT, Action.WORDS) else Action.REMOVE
        return Rule(action, otherwise, vr, is_listed=False)

    def _by_vr(self, tag: int, vr: str) -> Action:
        if tag in _STRUCTURAL:
            return Action.KEEP
        if vr in _TEMPORAL:
            return self.of_time()
        if vr in _LONG_TEXT or (vr in _SHORT_TEXT and keyword_for_tag(tag).endswith(_PROSE)):
            return Action.WORDS if Clean.DESCRIPTORS in self.options else Action.DUMMY
        if vr == "UI":
            return Action.KEEP if Retain.UIDS in self.options else Action.UID
        return {"PN": Action.EMPTY, "UR": Action.REMOVE, "UN": Action.REMOVE}.get(vr, Action.KEEP)

    def of_time(self) -> Action:
        """Return what is done with a date or time that no row is about."""
        if Retain.MODIFIED_DATES in self.options:
            return Action.SHIFT
        return Action.KEEP if Retain.FULL_DATES in self.options else Action.DUMMY


def _vr(tag: int) -> str:
    """Return the first VR that the standard has for a tag, "" for none."""
    try:
        return dictionary_VR(tag).partition(" or ")[0]
    except KeyError:
        return ""
