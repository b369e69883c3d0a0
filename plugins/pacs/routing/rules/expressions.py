"""Expressions in the Common Expression Language (CEL) for what the plain form can't say.

The names are those of the plain form. Numbers are numbers, texts are texts. What a study has once (patient, study,
`sender`, `time`) is one value; what its series may have differently (Modality, `labels`) is a list, and a sequence is
a list of its items.
"""

from __future__ import annotations

from collections.abc import Iterator, Mapping
from dataclasses import dataclass, field
from functools import lru_cache
from typing import Any

import celpy
from celpy import celtypes
from celpy.adapter import json_to_cel
from celpy.celparser import CELParseError
from celpy.evaluation import CELEvalError
from lark import Token, Tree

from pacs.routing.rules import readings
from pacs.routing.rules.conditions import Explained
from pacs.routing.rules.facts import Facts
from pacs.routing.rules.names import Kind, Own, fault_of, is_sequence, kind_of
from pacs.routing.rules.patterns import Pattern, compiled
from pacs.settings_files.faults import did_you_mean

_LONGEST_EXPRESSION = 1000
_MOST_SHOWN = 20
_MOST_NESTED = 2
# A pair of brackets is some ten levels of the tree.
_HIGHEST = 300
_COST = 200
_FUNCTIONS = frozenset(
    "bool contains double dyn endsWith has int map matches size startsWith string".split()  # noqa: SIM905 (one line)
)
_BINDING = frozenset({"all", "exists", "exists_one", "filter", "map"})
# What a study has once; PS3.3 C.7.1 and C.7.2 name the modules of patient and study.
ONCE = frozenset(
    {
        *(name.value for name in Own if name not in (Own.LABELS, Own.BODY_PART, Own.SENDER, Own.SENDER_ADDRESS)),
        "AccessionNumber",
        "AdmissionID",
        "IssuerOfPatientID",
        "PatientAge",
        "PatientBirthDate",
        "PatientID",
        "PatientName",
        "PatientSex",
        "PatientSize",
        "PatientWeight",
        "ReferringPhysicianName",
        "StudyDate",
        "StudyDescription",
        "StudyID",
        "StudyInstanceUID",
        "StudyTime",
    }
) - {Own.CALLED.value}
_NUMBERS = frozenset({Kind.NUMBER})


@dataclass(frozen=True)
class Expression:
    """An expression that is met when it says true."""

    words: str
    line: int
    names: frozenset[str]
    program: celpy.Runner = field(repr=False, compare=False)
    cost: int = _COST

    def met(self, facts: Facts) -> bool:
        """Tell whether it says true; one that can't be evaluated for this study is not met."""
        try:
            return self._say(facts)
        except (CELEvalError, ValueError, TypeError, OverflowError):
            return False

    def explain(self, facts: Facts) -> Explained:
        """Tell it with the values of its names, and why it could not be evaluated."""
        shown = [f"{name} = {', '.join(facts.get(name)) or '–'}" for name in sorted(self.names)]
        try:
            return Explained(self.words, self.line, self._say(facts), tuple(shown[:_MOST_SHOWN]))
        except (CELEvalError, ValueError, TypeError, OverflowError) as error:
            fault = str(error.args[0]) if error.args else type(error).__name__
            return Explained(self.words, self.line, is_met=False, found=tuple(shown[:_MOST_SHOWN]), fault=fault)

    def _say(self, facts: Facts) -> bool:
        said = self.program.evaluate({name: _value(facts, name) for name in self.names})
        if not isinstance(said, celtypes.BoolType):
            raise ValueError(f"it says {type(said).__name__}, expected true or false")  # noqa: TRY004 (of its content)
        return bool(said)


def parse_expression(text: str, line: int) -> Expression:
    """Return a compiled expression.

    Raises
    ------
    ValueError : it is none, or uses a name that is not known; the message says what to do.
    """
    if len(text) > _LONGEST_EXPRESSION:
        raise ValueError(f"an expression of {len(text)} characters; expected {_LONGEST_EXPRESSION} at most")
    environment = celpy.Environment(runner_class=celpy.InterpretedRunner)
    try:
        tree = environment.compile(text)
    except CELParseError as error:
        where = f" at character {error.column}" if error.column else ""
        raise ValueError(
            f'no expression{where}: "{text}"; write for example `"CT" in Modality && age_years < 16.0`'
        ) from None
    if not _is_flat(tree):
        raise ValueError(f'too many brackets in each other: "{text[:40]}..."; write several conditions instead')
    if _depth(tree) > _MOST_NESTED:
        raise ValueError(f"more than {_MOST_NESTED} of all, exists, filter, map in each other; it would take too long")
    for function in sorted(set(_functions(tree)) - _FUNCTIONS - _BINDING):
        raise ValueError(f'no function "{function}"; {did_you_mean(function, _FUNCTIONS | _BINDING)}')
    names = frozenset(_names(tree, frozenset()))
    for name in sorted(names):
        if fault := fault_of(name):
            raise ValueError(fault)
    return Expression(text, line, names, environment.program(tree, functions={"matches": _matches}))


def _matches(text: celtypes.Value, pattern: celtypes.Value) -> celtypes.Value:
    """Search as CEL's own function does, in time that grows with the text alone."""
    return celtypes.BoolType(_kept(str(pattern)).search(str(text)) is not None)


@lru_cache(maxsize=256)
def _kept(pattern: str) -> Pattern:
    return compiled(pattern)


def _names(tree: Tree[Token] | Token, bound: frozenset[str]) -> Iterator[str]:
    """Yield the names that an expression takes from outside; macros bind names of their own."""
    if isinstance(tree, Token):
        return
    if tree.data == "ident":
        name = str(tree.children[0])
        if name not in bound:
            yield name
        return
    if tree.data == "member_dot_arg" and str(tree.children[1]) in _BINDING:
        yield from _names(tree.children[0], bound)
        arguments = list(tree.children[2].children) if isinstance(tree.children[2], Tree) else []
        variable = next((str(token) for token in _tokens(arguments[0])), "") if arguments else ""
        for argument in arguments[1:]:
            yield from _names(argument, bound | {variable})
        return
    for child in tree.children:
        yield from _names(child, bound)


def _is_flat(tree: Tree[Token]) -> bool:
    """Tell whether it can be evaluated: that goes by recursion, which has an end."""
    try:
        return _height(tree) <= _HIGHEST
    except RecursionError:
        return False


def _height(tree: Tree[Token] | Token) -> int:
    return 0 if isinstance(tree, Token) else 1 + max(map(_height, tree.children), default=0)


def _depth(tree: Tree[Token] | Token) -> int:
    """Return how many macros stand in each other: each goes through a list for every item of the one around it."""
    if isinstance(tree, Token):
        return 0
    is_macro = tree.data == "member_dot_arg" and str(tree.children[1]) in _BINDING
    return is_macro + max(map(_depth, tree.children), default=0)


def _functions(tree: Tree[Token] | Token) -> Iterator[str]:
    """Yield the functions that an expression calls."""
    if isinstance(tree, Token):
        return
    if tree.data in ("ident_arg", "member_dot_arg"):
        yield str(tree.children[0 if tree.data == "ident_arg" else 1])
    for child in tree.children:
        yield from _functions(child)


def _tokens(tree: Tree[Token] | Token) -> Iterator[Token]:
    if isinstance(tree, Token):
        yield tree
        return
    for child in tree.children:
        yield from _tokens(child)


def _value(facts: Facts, name: str) -> Any:
    """Return the value of a name as CEL's."""
    kept: dict[str, Any] = facts.expression_values
    if name not in kept:
        kept[name] = _cel(facts, name)
    return kept[name]


def _cel(facts: Facts, name: str) -> Any:
    if is_sequence(name):
        return json_to_cel(_plain(facts.nested.get(name, [])))
    is_number = kind_of(name) in _NUMBERS
    values = [_one(value, is_number=is_number) for value in facts.get(name)]
    kept = [value for value in values if value is not None]
    if name in ONCE:
        return kept[0] if kept else (None if is_number else celtypes.StringType(""))
    return celtypes.ListType(kept)


def _one(value: str, *, is_number: bool) -> Any:
    if not is_number:
        return celtypes.StringType(value)
    found = readings.number(value)
    return None if found is None else celtypes.DoubleType(found)


def _plain(value: Any) -> Any:
    """Return what JSON has of a sequence, every leaf as text."""
    if isinstance(value, Mapping):
        return {str(key): _plain(part) for key, part in value.items()}
    if isinstance(value, list):
        return [_plain(part) for part in value]
    return str(value)
