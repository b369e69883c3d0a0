"""Where a value comes from, as a mapping writes it.

OBR-18                                      a field; its first component, its first repetition that says something
PID-3[2].4.1                                repetition 2, component 4, subcomponent 1
OBX-5 where OBX-3.2 is Body Weight          of the segment (or the repetition) for which that holds
PID-9 where PID-35 is given
first word of OBR-4.2                       for a table
PV1-3.1 + PV1-3.2                           both, with a blank between them
=OT                                         these very letters
AccessionNumber                             what this mapping found for another attribute
uid of AccessionNumber                      a UID that is always the same for the same site and accession number
now                                         when the message came
"""

from __future__ import annotations

import re
from dataclasses import dataclass

from pacs.errors import InvalidInput
from pacs.hl7.paths import Path

_PATH = re.compile(r"[A-Z][A-Z0-9]{2}-\d+(\[\d+\])?(\.\d+){0,2}")
_KEYWORD = re.compile(r"[A-Z][A-Za-z]{2,}")
_JOIN = " + "
_WHERE, _AND, _IS, _OR = " where ", " and ", " is ", " or "
_GIVEN = "given"
_UID_OF = "uid of "
_FIRST_WORD_OF = "first word of "
_NOW = "now"


@dataclass(frozen=True)
class Condition:
    """Holds where `path` is one of `wanted` (without regard to case); any value will do where `wanted` is empty.

    Attributes
    ----------
    text : how the mapping writes it.
    """

    path: Path
    wanted: frozenset[str]
    text: str


@dataclass(frozen=True)
class FieldTerm:
    """A field of the message.

    Attributes
    ----------
    has_repetition : whether the mapping itself says which repetition it means.
    first_word : whether only the first word counts.
    """

    path: Path
    has_repetition: bool
    first_word: bool = False
    conditions: tuple[Condition, ...] = ()


@dataclass(frozen=True)
class ConstantTerm:
    """Letters that the mapping itself gives."""

    text: str


@dataclass(frozen=True)
class AttributeTerm:
    """What was found for another attribute of the same mapping."""

    keyword: str


@dataclass(frozen=True)
class UidTerm:
    """A UID made of the site and of what was found for another attribute."""

    keyword: str


@dataclass(frozen=True)
class NowTerm:
    """When the message came."""


type Term = FieldTerm | ConstantTerm | AttributeTerm | UidTerm | NowTerm


@dataclass(frozen=True)
class Source:
    """One way to get a value: terms that are joined with a blank. `text` is how the mapping writes it."""

    terms: tuple[Term, ...]
    text: str

    @property
    def attributes(self) -> tuple[str, ...]:
        """The attributes that it builds on."""
        return tuple(term.keyword for term in self.terms if isinstance(term, AttributeTerm | UidTerm))

    @property
    def is_field(self) -> bool:
        """Whether it reads the message, rather than deriving or supposing a value."""
        return any(isinstance(term, FieldTerm) for term in self.terms)

    @property
    def is_guess(self) -> bool:
        """Whether it is the beginning of a text, of which nobody expects that every word is in a table."""
        return any(isinstance(term, FieldTerm) and term.first_word for term in self.terms)


def parse_source(text: str) -> Source:
    """Return the source that a mapping writes as `text`.

    Raises
    ------
    ValueError : it is none; says why and what is.
    """
    if text.startswith("="):
        return Source((ConstantTerm(text[1:].strip()),), text)
    return Source(tuple(_term(part.strip()) for part in text.split(_JOIN)), text)


def parse_condition(text: str) -> Condition:
    """Return the condition that a mapping writes as `text`, such as OBR-24 is LAB.

    Raises
    ------
    ValueError : it is none; says why and what is.
    """
    path_text, is_, wanted_text = text.partition(_IS)
    wanted = wanted_text.strip()
    if not is_ or not wanted:
        raise ValueError(f'"{text.strip()}" is no condition; write `OBX-3.2 is Weight` or `PID-35 is given`')
    path, _ = _path(path_text.strip())
    words = frozenset() if wanted == _GIVEN else frozenset(word.strip().casefold() for word in wanted.split(_OR))
    return Condition(path, words, text.strip())


def _term(text: str) -> Term:
    if text == _NOW:
        return NowTerm()
    if text.startswith(_UID_OF) and _KEYWORD.fullmatch(keyword := text.removeprefix(_UID_OF).strip()):
        return UidTerm(keyword)
    if _KEYWORD.fullmatch(text):
        return AttributeTerm(text)
    first_word = text.startswith(_FIRST_WORD_OF)
    path_text, _, condition_text = text.removeprefix(_FIRST_WORD_OF).partition(_WHERE)
    path, has_repetition = _path(path_text.strip())
    conditions = tuple(_condition(part, path) for part in condition_text.split(_AND) if condition_text)
    return FieldTerm(path, has_repetition, first_word, conditions)


def _path(text: str) -> tuple[Path, bool]:
    if not _PATH.fullmatch(text):
        raise ValueError(
            f'"{text}" is no place in a message; write for example OBR-18, PID-3.4 or OBX-5 where OBX-3.2 is Weight'
        )
    try:
        return Path.parse(text), "[" in text
    except InvalidInput as error:
        raise ValueError(str(error).rstrip(".")) from None


def _condition(text: str, of: Path) -> Condition:
    condition = parse_condition(text)
    if condition.path.segment != of.segment:
        raise ValueError(
            f"a condition looks at the segment that is read ({of.segment}), not at {condition.path.segment}"
        )
    return condition
