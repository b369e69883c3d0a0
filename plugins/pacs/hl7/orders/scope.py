"""The part of a message that a mapping reads for one entry, and the places in it where a value may stand."""

from __future__ import annotations

from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass

from pacs.hl7.message import Message
from pacs.hl7.orders.sources import Condition, FieldTerm
from pacs.hl7.segment import NULL, Repetition, Segment


@dataclass(frozen=True)
class Spot:
    """One repetition of a field, seen from one of its components on.

    Attributes
    ----------
    component : from 1; the spot's own first position.
    component_is_named : whether the mapping says it; else the spot is the whole field.
    """

    segment: Segment
    field: int
    repetition: int
    component: int
    subcomponent: int
    component_is_named: bool
    content: Repetition

    def text(self, offset: int = 0) -> str | None:
        """Return the component `offset` places further; None when absent, "" for HL7's null."""
        return self.content.text(self.component + offset, 1 if offset else self.subcomponent)

    def subtext(self, offset: int, subcomponent: int) -> str | None:
        """Return a subcomponent of the component `offset` places further."""
        return self.content.text(self.component + offset, subcomponent)

    @property
    def is_null(self) -> bool:
        """Whether the sender wants the whole value deleted."""
        return self.content.raw == NULL or self.text() == ""

    @property
    def place(self) -> str:
        """Where it is, for people: OBR[2]-18, PID-3[2].4."""
        number = f"[{self.segment.number}]" if self.segment.number > 1 else ""
        repetition = f"[{self.repetition}]" if self.repetition > 1 else ""
        component = f".{self.component}" if self.component_is_named else ""
        subcomponent = f".{self.subcomponent}" if self.subcomponent > 1 else ""
        return f"{self.segment.name}{number}-{self.field}{repetition}{component}{subcomponent}"

    @property
    def location(self) -> str:
        """Where it is, as ERR-2 writes it: OBR^2^18."""
        return f"{self.segment.name}^{self.segment.number}^{self.field}" + (
            f"^{self.repetition}^{self.component}" if self.component_is_named or self.repetition > 1 else ""
        )


class Scope:
    """What belongs to one worklist entry.

    Parameters
    ----------
    own : segments by name that are those of the entry alone; of every other name, all of the message are seen.
    """

    def __init__(self, message: Message, own: Mapping[str, Sequence[Segment]]) -> None:
        self._message = message
        self._own = own

    def segments(self, name: str) -> Sequence[Segment]:
        """Return the segments of that name, in the order they came."""
        return self._own[name] if name in self._own else self._message.all(name)

    def says(self, term: FieldTerm) -> bool:
        """Tell whether the field that `term` means is there at all: most that a mapping looks at are not."""
        return any(segment.raw(term.path.field) for segment in self.segments(term.path.segment))

    def spots(self, term: FieldTerm, *, every: bool = False) -> Iterator[Spot]:
        """Yield the places that `term` means: one of each segment, or every repetition.

        Without a repetition in the mapping the first one counts whose first component says something, so that all
        components of a field are read from the same one, and empty repetitions are passed over.
        """
        for segment in self.segments(term.path.segment):
            found = [spot for spot in _repetitions(segment, term) if _holds_all(term.conditions, spot)]
            if len(found) > 1 and not every and not term.has_repetition:
                found = sorted(found, key=lambda spot: not spot.content.text(1))[:1]
            yield from found

    def holds(self, condition: Condition) -> bool:
        """Tell whether a condition holds for any segment that it looks at."""
        return any(_holds_anywhere(condition, segment) for segment in self.segments(condition.path.segment))


def _repetitions(segment: Segment, term: FieldTerm) -> Iterator[Spot]:
    path = term.path
    for number, content in enumerate(segment.repetitions(path.field), start=1):
        if content.raw and (not term.has_repetition or number == path.repetition):
            yield Spot(
                segment, path.field, number, path.component or 1, path.subcomponent or 1, path.component > 0, content
            )


def _holds_all(conditions: Sequence[Condition], spot: Spot) -> bool:
    for condition in conditions:
        path = condition.path
        if path.field == spot.field:
            if not _fits(condition, spot.content.text(path.component or 1, path.subcomponent or 1)):
                return False
        elif not _holds_anywhere(condition, spot.segment):
            return False
    return True


def _holds_anywhere(condition: Condition, segment: Segment) -> bool:
    path = condition.path
    return any(
        _fits(condition, repetition.text(path.component or 1, path.subcomponent or 1))
        for repetition in segment.repetitions(path.field)
    )


def _fits(condition: Condition, value: str | None) -> bool:
    if not value:
        return False
    return not condition.wanted or value.strip().casefold() in condition.wanted
