"""Messages built and checked by hl7apy (strict), once for each kind: then only their values are filled in.

hl7apy takes some 20 ms to build a message and holds Python's lock meanwhile, which is Orthanc's too. So it builds each
kind of message one time, with a mark in the place of every value; what is sent is that message with the marks replaced.
"""

from __future__ import annotations

import re
from collections.abc import Iterator, Mapping
from dataclasses import dataclass
from functools import cache
from typing import Any

from hl7apy import load_library
from hl7apy.consts import VALIDATION_LEVEL
from hl7apy.core import Message, is_base_datatype

from pacs.hl7.outbound.conformance import faults
from pacs.hl7.outbound.layout import VALUES, MessageType, segments
from pacs.hl7.separators import STANDARD_ENCODING, Separators

SEPARATORS = Separators.of("|", STANDARD_ENCODING)
# Z segments are nobody's standard, hl7apy's neither: IHE RAD-4 adds this one to ORM messages.
_STUDY_SEGMENT = "ZDS|{study_instance_uid}^^Application^DICOM"
_NAME = re.compile(r"\{(\w+)\}")
# A mark is one character of Unicode's private use area: hl7apy checks lengths too.
_FIRST_MARK = 0xE000
_SLOT = re.compile("[\ue000-\ue0ff]")
# These are checked for being a date: their marks are dates that no patient has.
_MOMENTS = {"now": "1801010101", "at": "1802020202", "scheduled_start": "1803030303", "patient_birth_date": "18040404"}
_EMPTY_ENDS = re.compile(r"[&^~]+(?=[|\r]|\Z)|&+(?=\^)")
_EMPTY_FIELDS = re.compile(r"\|+(?=\r|\Z)")


@dataclass(frozen=True)
class Template:
    """A message with places for values.

    Attributes
    ----------
    text : segments, each ended by CR; a mark stands for each value.
    """

    text: str

    def filled(self, values: Mapping[str, str]) -> str:
        """Return the message with `values` (plain text) in their places, and no empty parts at the ends.

        A segment of which all places are empty is left out, unless it has none.
        """
        escaped = {mark(name): SEPARATORS.escaped(value) for name, value in values.items()}
        lines = (_filled(line, escaped) for line in self.text.split("\r") if line)
        return "".join(f"{line}\r" for line in lines if line)


@cache
def template(message: MessageType, version: str, link: str) -> Template:
    """Return the template of a kind of message. The first call for a kind takes some 50 ms.

    Raises
    ------
    HL7apyException, ValueError : the layout is no valid message of this kind: a fault of this program.
    """
    made = Message(message, version=version, validation_level=VALIDATION_LEVEL.STRICT)
    for name, fields in segments(message, version, link):
        segment = made.msh if name == "MSH" else _added(made, name)
        for position in sorted(fields, key=_order):
            _set(segment, position, _NAME.sub(_valid_mark, fields[position]))
    if found := faults(made):
        message_text = f"The layout of {message} in version {version} is wrong: {found}"
        raise ValueError(message_text)
    text = made.to_er7(trailing_children=False).rstrip("\r") + "\r"
    for name, moment in _MOMENTS.items():
        text = text.replace(moment, mark(name))
    if message is MessageType.ORM_O01:
        text += _NAME.sub(lambda found: mark(found[1]), _STUDY_SEGMENT) + "\r"
    return Template(text)


def _filled(line: str, escaped: Mapping[str, str]) -> str:
    marks = _SLOT.findall(line)
    if marks and not any(escaped[each] for each in marks):
        return ""
    text = _SLOT.sub(lambda found: escaped[found[0]], line)
    # MSH-2 looks like empty components.
    head = len("MSH|") + len(STANDARD_ENCODING) if line.startswith("MSH") else 0
    return text[:head] + _EMPTY_FIELDS.sub("", _EMPTY_ENDS.sub("", text[head:]))


def mark(name: str) -> str:
    """Return the character that stands for a value."""
    return chr(_FIRST_MARK + VALUES.index(name))


def _valid_mark(found: re.Match[str]) -> str:
    return _MOMENTS.get(found[1]) or mark(found[1])


def _order(position: str) -> tuple[int, ...]:
    """Sort by number; the type of an observation (OBX-2) then stands before its value."""
    return tuple(map(int, position.split(".")))


def _added(made: Message, name: str) -> Any:
    """Add a segment in the group where the structure of the message has it first."""
    parent: Any = made
    path = list(_path_to(load_library(made.version).get(made.name, "Message")[1], name))
    for group in path:
        there = [child for child in parent.children if child.name == group]
        # A second observation is a group of its own.
        is_new = not there or (group == path[-1] and any(child.name == name for child in there[-1].children))
        parent = parent.add_group(group) if is_new else there[-1]
    return parent.add_segment(name)


def _path_to(children: Any, name: str) -> Iterator[str]:
    """Yield the groups that lead to a segment."""
    for child_name, reference, _, kind in children:
        if kind == "GRP":
            inner = list(_path_to(reference[1], name)) if _has(reference[1], name) else None
            if inner is not None:
                yield child_name
                yield from inner
                return
        elif child_name == name:
            return


def _has(children: Any, name: str) -> bool:
    return any(_has(child[1][1], name) if child[3] == "GRP" else child[0] == name for child in children)


def _set(segment: Any, position: str, value: str) -> None:
    """Set a field, component or subcomponent by its numbers: "3.4.1"."""
    field, *inner = position.split(".")
    target, name = segment, f"{segment.name}_{field}"
    for number in inner:
        target = getattr(target, name.lower())
        if is_base_datatype(target.datatype, target.version):
            # Older versions have no parts there.
            target.value = value
            return
        name = f"{target.datatype}_{number}"
    setattr(target, name.lower(), value)
