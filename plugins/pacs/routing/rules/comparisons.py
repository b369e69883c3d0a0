"""What a value is compared with: `CT`, `"*trauma*"`, `/^CT .*head/`, `< 18`, `10..20`, `absent`, 20:00-07:00.

A comparison is met when any of the values meets it. Texts are compared without regard to case and accents; regular
expressions are RE2's, whose time grows with the text's length and never explodes.
"""

from __future__ import annotations

import ipaddress
import operator
from collections.abc import Callable, Sequence
from dataclasses import dataclass
from datetime import date, timedelta
from typing import Any, Protocol

from pacs.routing.rules import readings
from pacs.routing.rules.facts import Facts
from pacs.routing.rules.patterns import Pattern
from pacs.studies.names import fold

OPERATORS: dict[str, Callable[[Any, Any], bool]] = {
    "<=": operator.le,
    ">=": operator.ge,
    "<": operator.lt,
    ">": operator.gt,
    "=": operator.eq,
}


class Comparison(Protocol):
    """What values are compared with."""

    def met(self, facts: Facts, name: str) -> bool:
        """Tell whether a value of `name` meets it."""


@dataclass(frozen=True)
class OneOf:
    """Equal to one of these, folded."""

    texts: frozenset[str]

    def met(self, facts: Facts, name: str) -> bool:
        """Tell whether a value is one of them."""
        return not self.texts.isdisjoint(facts.folded(name))


@dataclass(frozen=True)
class Matches:
    """Fits a pattern. `is_folded`: the pattern is of a wildcard, already folded."""

    pattern: Pattern
    is_folded: bool

    def met(self, facts: Facts, name: str) -> bool:
        """Tell whether a value fits."""
        found = facts.folded(name) if self.is_folded else facts.get(name)
        return any(self.pattern.search(value) is not None for value in found)


@dataclass(frozen=True)
class Compared:
    """Less than, more than, or equal to something that has an order."""

    reading: Callable[[str], Any]
    compare: Callable[[Any, Any], bool]
    bound: Any

    def met(self, facts: Facts, name: str) -> bool:
        """Tell whether a value does; what can't be read does not."""
        return any(self.compare(value, self.bound) for value in facts.read(name, self.reading))


@dataclass(frozen=True)
class DayCompared:
    """Before, on or after the day that is so many days before the day of the evaluation."""

    compare: Callable[[date, date], bool]
    days_ago: int

    def met(self, facts: Facts, name: str) -> bool:
        """Tell whether a value is."""
        bound = facts.at.date() - timedelta(days=self.days_ago)
        return any(self.compare(value, bound) for value in facts.read(name, readings.day_of))


@dataclass(frozen=True)
class Between:
    """From one to another, both included; `wraps` over midnight, when the first is the later one."""

    reading: Callable[[str], Any]
    first: Any
    last: Any
    wraps: bool = False

    def met(self, facts: Facts, name: str) -> bool:
        """Tell whether a value is."""
        return any(self._holds(value) for value in facts.read(name, self.reading))

    def _holds(self, value: Any) -> bool:
        if self.wraps and self.first > self.last:
            return bool(value >= self.first or value <= self.last)
        return bool(self.first <= value <= self.last)


@dataclass(frozen=True)
class Within:
    """An address of one of these networks."""

    networks: tuple[ipaddress.IPv4Network | ipaddress.IPv6Network, ...]

    def met(self, facts: Facts, name: str) -> bool:
        """Tell whether an address is."""
        found = facts.read(name, readings.address)
        return any(one in network for network in self.networks for one in found if one.version == network.version)


@dataclass(frozen=True)
class Absent:
    """No value, or an empty one."""

    def met(self, facts: Facts, name: str) -> bool:
        """Tell whether there is none."""
        return not facts.get(name)


@dataclass(frozen=True)
class Present:
    """Any value."""

    def met(self, facts: Facts, name: str) -> bool:
        """Tell whether there is one."""
        return bool(facts.get(name))


@dataclass(frozen=True)
class AnyOf:
    """One of several comparisons."""

    parts: tuple[Comparison, ...]

    def met(self, facts: Facts, name: str) -> bool:
        """Tell whether one of them is met."""
        return any(part.met(facts, name) for part in self.parts)


def any_of(parts: Sequence[Comparison]) -> Comparison:
    """Return one comparison that is met when one of `parts` is: equal texts become one look-up."""
    texts = frozenset[str]().union(*(part.texts for part in parts if isinstance(part, OneOf)))
    others = tuple(part for part in parts if not isinstance(part, OneOf))
    merged: tuple[Comparison, ...] = (*((OneOf(texts),) if texts else ()), *others)
    return merged[0] if len(merged) == 1 else AnyOf(merged)


def equal_to(text: str) -> OneOf:
    """Return the comparison with one text."""
    return OneOf(frozenset({fold(text)}))
