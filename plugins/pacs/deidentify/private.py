"""Private attributes: all go, but elements that are known to be safe, by their creator (PS3.15 E.3.10).

What the instance says of itself (Private Data Element Characteristics Sequence) is not believed: a list of ours, or of
the site, is what knows.
"""

from __future__ import annotations

from pydicom.datadict import private_dictionary_VR

from pacs.deidentify.options import Retain
from pacs.deidentify.plan import Action, Plan, Rule
from pacs.deidentify.project import PrivateElements
from pacs.deidentify.values import Element, ascii_values

_CREATORS = range(0x10, 0x100)
_REMOVED = Rule(Action.REMOVE, Action.REMOVE, "")
_RESERVED = Rule(Action.KEEP, Action.REMOVE, "LO", is_listed=False)
_TEMPORAL = frozenset({"DA", "DT", "TM"})


class PrivateBlocks:
    """The private blocks of one dataset, told its elements in the order of their tags."""

    def __init__(self, safe: PrivateElements, plan: Plan) -> None:
        self._safe = safe
        self._plan = plan
        self._creators: dict[int, str] = {}
        self._used: set[int] = set()

    def rule(self, element: Element) -> Rule:
        """Return what is done with a private element."""
        if not self._safe:
            return _REMOVED
        group, number = element.tag >> 16, element.tag & 0xFFFF
        if number in _CREATORS:
            return self._reserve(element, group)
        creator_tag = group << 16 | number >> 8
        creator = self._creators.get(creator_tag, "")
        if number & 0xFF not in self._safe.get((creator, group), ()):
            return _REMOVED
        self._used.add(creator_tag)
        return self._of_vr(_vr(element, creator))

    def unused_creators(self) -> list[int]:
        """Return the tags of creators of whose elements none stays."""
        return sorted(self._creators.keys() - self._used)

    def _reserve(self, element: Element, group: int) -> Rule:
        creator = ascii_values(element)[0]
        if (creator, group) not in self._safe:
            return _REMOVED
        self._creators[element.tag] = creator
        return _RESERVED

    def _of_vr(self, vr: str) -> Rule:
        if vr in _TEMPORAL:
            return Rule(self._plan.of_time(), Action.REMOVE, vr)
        if vr == "UI" and not self._plan.has(Retain.UIDS):
            return Rule(Action.UID, Action.REMOVE, vr)
        return _REMOVED if vr in ("PN", "UR") else Rule(Action.KEEP, Action.REMOVE, vr)


def _vr(element: Element, creator: str) -> str:
    if element.VR and element.VR != "UN":
        return str(element.VR)
    try:
        return private_dictionary_VR(element.tag, creator)
    except KeyError:
        return "UN"
