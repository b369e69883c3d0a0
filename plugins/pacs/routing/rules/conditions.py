"""Conditions: names compared with values, groups of them, and what is asked of single series."""

from __future__ import annotations

from collections.abc import Callable, Iterable, Iterator
from dataclasses import dataclass
from typing import Protocol

from pacs.routing.rules.comparisons import Comparison
from pacs.routing.rules.facts import Facts

_MOST_SHOWN = 20


@dataclass(frozen=True)
class Explained:
    """A condition, tried: for the tester.

    Attributes
    ----------
    words : as the file has it; of a group what it asks for: "all", "any", "not", "none", "one series", "every series".
    line : of the file.
    is_met : what it comes to.
    found : the values that were compared.
    fault : why an expression could not be evaluated, "" else.
    parts : of a group.
    """

    words: str
    line: int
    is_met: bool
    found: tuple[str, ...] = ()
    fault: str = ""
    parts: tuple[Explained, ...] = ()


class Condition(Protocol):
    """Something that is met or not."""

    @property
    def cost(self) -> int:
        """How dear it is to ask, compared with others: the cheap ones are asked first."""

    @property
    def names(self) -> frozenset[str]:
        """The names whose values it asks for."""

    def met(self, facts: Facts) -> bool:
        """Tell whether it is met."""

    def explain(self, facts: Facts) -> Explained:
        """Tell it with what was found, all parts of it."""


@dataclass(frozen=True)
class Named:
    """A name compared with something. `texts`: what it is compared with, as the file has it."""

    name: str
    texts: tuple[str, ...]
    line: int
    comparison: Comparison
    cost: int = 1

    @property
    def words(self) -> str:
        """The condition as the file has it."""
        return f"{self.name}: {', '.join(self.texts)}"

    @property
    def names(self) -> frozenset[str]:
        """The one name."""
        return frozenset({self.name})

    def met(self, facts: Facts) -> bool:
        """Tell whether a value meets it."""
        return self.comparison.met(facts, self.name)

    def explain(self, facts: Facts) -> Explained:
        """Tell it with the values."""
        return Explained(self.words, self.line, self.met(facts), facts.get(self.name)[:_MOST_SHOWN])


@dataclass(frozen=True)
class Group:
    """Conditions taken together: "all", "any", "not" or "none" of them."""

    kind: str
    line: int
    parts: tuple[Condition, ...]
    cost: int
    names: frozenset[str]
    judge: Callable[[Iterable[bool]], bool]

    def met(self, facts: Facts) -> bool:
        """Tell whether as many are met as the kind asks for; no more are asked than it takes."""
        return self.judge(part.met(facts) for part in self.parts)

    def explain(self, facts: Facts) -> Explained:
        """Tell it with all parts, asked whether or not it takes them."""
        parts = tuple(part.explain(facts) for part in sorted(self.parts, key=_line))
        return Explained(self.kind, self.line, self.met(facts), parts=parts)


@dataclass(frozen=True)
class OfSeries:
    """What is asked of each series by itself: that "one series" meets it, or "every series" does."""

    kind: str
    line: int
    condition: Condition
    judge: Callable[[Iterable[bool]], bool]

    @property
    def cost(self) -> int:
        """Dearer than what is asked once."""
        return self.condition.cost * 8

    @property
    def names(self) -> frozenset[str]:
        """Those of the condition."""
        return self.condition.names

    def met(self, facts: Facts) -> bool:
        """Tell whether one or every series meets it; the facts of one series are that series."""
        return self.judge(self.condition.met(one) for one in facts.series or (facts,))

    def explain(self, facts: Facts) -> Explained:
        """Tell it with every series, twenty at most."""
        parts = tuple(self.condition.explain(one) for one in (facts.series or (facts,))[:_MOST_SHOWN])
        return Explained(self.kind, self.line, self.met(facts), parts=parts)


def _none(results: Iterable[bool]) -> bool:
    return not any(results)


def _not_all(results: Iterable[bool]) -> bool:
    return not all(results)


_JUDGES: dict[str, Callable[[Iterable[bool]], bool]] = {"all": all, "any": any, "not": _not_all, "none": _none}
GROUPS = tuple(_JUDGES)
OF_SERIES: dict[str, Callable[[Iterable[bool]], bool]] = {"one series": any, "every series": all}


def group(kind: str, line: int, parts: Iterable[Condition]) -> Condition:
    """Return conditions as one; the cheapest is asked first."""
    ordered = tuple(sorted(parts, key=_cost))
    if len(ordered) == 1 and kind in ("all", "any"):
        return ordered[0]
    names = frozenset[str]().union(*(part.names for part in ordered))
    return Group(kind, line, ordered, sum(part.cost for part in ordered), names, _JUDGES[kind])


def of_series(kind: str, line: int, condition: Condition) -> Condition:
    """Return what one or every series must meet."""
    return OfSeries(kind, line, condition, OF_SERIES[kind])


def always(line: int) -> Condition:
    """Return the condition of a rule without any."""
    return group("all", line, ())


def _cost(condition: Condition) -> int:
    return condition.cost


def _line(condition: Condition) -> int:
    line: int = getattr(condition, "line", 0)
    return line


def compared(condition: Condition, name: str) -> Iterator[str]:
    """Yield every text that `name` is compared with somewhere in a condition."""
    if isinstance(condition, Named) and condition.name == name:
        yield from condition.texts
    elif isinstance(condition, Group):
        for part in condition.parts:
            yield from compared(part, name)
    elif isinstance(condition, OfSeries):
        yield from compared(condition.condition, name)
