"""Places in a message as people write them: PID-3, PID-3[2].4.1, OBX[2]-5.

Source: the notation of HL7 v2 chapters themselves (PID-3.4.1); [n] for a repetition is that of most integration tools.
"""

from __future__ import annotations

import re
from dataclasses import dataclass
from functools import lru_cache

from pacs.errors import InvalidInput
from pacs.hl7.segment import Segment
from pacs.hl7.separators import Separators

_HIGHEST = 9999
_PATH = re.compile(
    r"(?P<segment>[A-Z][A-Z0-9]{2})(?:\[(?P<occurrence>\d{1,4})\])?-(?P<field>\d{1,4})(?:\[(?P<repetition>\d{1,4})\])?"
    r"(?:\.(?P<component>\d{1,4})(?:\.(?P<subcomponent>\d{1,4}))?)?"
)
_LOCATION = ("segment", "occurrence", "field", "repetition", "component", "subcomponent")


@dataclass(frozen=True, slots=True)
class Path:
    """One place in a message.

    Attributes
    ----------
    occurrence : which segment of that name in the message, from 1.
    field, repetition : from 1.
    component, subcomponent : from 1; 0 when the path does not go down so far. Reading takes 0 for the first.
    """

    segment: str
    field: int
    component: int = 0
    subcomponent: int = 0
    repetition: int = 1
    occurrence: int = 1

    @classmethod
    def parse(cls, text: str) -> Path:
        """Read "PID-3[2].4.1" or "OBX[2]-5".

        Raises
        ------
        InvalidInput
            When it is no such path.
        """
        return _parsed(text)

    @classmethod
    def at(cls, location: str) -> Path | None:
        """Return the path of a fault's location ("PID^1^3"); None when it names no field."""
        parts = dict(zip(_LOCATION, location.split("^"), strict=False))
        numbers = {name: int(value) for name, value in parts.items() if name != "segment" and value.isdigit()}
        return cls(parts["segment"], **numbers) if numbers.get("field") else None

    def __str__(self) -> str:
        occurrence = f"[{self.occurrence}]" if self.occurrence > 1 else ""
        repetition = f"[{self.repetition}]" if self.repetition > 1 else ""
        parts = "".join(f".{part}" for part in (self.component, self.subcomponent) if part)
        return f"{self.segment}{occurrence}-{self.field}{repetition}{parts}"

    @property
    def location(self) -> str:
        """Return the place as ERR-2 writes it: "PID^1^3^2^4^1"."""
        parts = [self.segment, self.occurrence, self.field]
        if self.component or self.repetition > 1:
            parts += [part for part in (self.repetition, self.component, self.subcomponent) if part]
        return "^".join(map(str, parts))

    def read(self, segment: Segment) -> str | None:
        """Return the value in a segment of that name: None when absent, "" for null."""
        return segment.text(self.field, self.component or 1, self.subcomponent or 1, self.repetition)

    def write(self, segment: str, value: str, separators: Separators) -> str:
        """Return the raw segment with a raw value at this place, lengthened where it is too short.

        Raises
        ------
        InvalidInput
            When the message has no separator that the place needs, or the place is MSH-1 or MSH-2.
        """
        is_header = self.segment in {"MSH", "FHS", "BHS"}
        if is_header and self.field <= 2:  # noqa: PLR2004 the separators themselves
            raise InvalidInput(f"{self} holds the separators and can't be changed.")
        levels = [(separators.field, self.field - is_header), (separators.repetition, self.repetition - 1)]
        if self.component:
            levels.append((separators.component, self.component - 1))
        if self.subcomponent:
            levels.append((separators.subcomponent, self.subcomponent - 1))
        return _replaced(segment, levels, value)


@lru_cache(maxsize=4096)
def _parsed(text: str) -> Path:
    found = _PATH.fullmatch(text)
    if found is None:
        raise InvalidInput(f"{text[:40]!r} is no place in a message.", remedy="Write PID-3, PID-3.4 or PID-3[2].4.1.")
    numbers = {name: int(found[name] or 1) for name in ("occurrence", "field", "repetition")}
    numbers |= {name: int(found[name]) for name in ("component", "subcomponent") if found[name]}
    if 0 in numbers.values():
        raise InvalidInput(f"{text!r} is no place in a message: positions start at 1.")
    return Path(found["segment"], **numbers)


def _replaced(raw: str, levels: list[tuple[str, int]], value: str) -> str:
    """Go down level by level, put the value at the bottom, and join all again."""
    if not levels:
        return value
    (separator, index), deeper = levels[0], levels[1:]
    if not separator:
        if index:
            raise InvalidInput("The message has no separator for this place (MSH-2).")
        return _replaced(raw, deeper, value)
    parts = raw.split(separator)
    parts += [""] * (index + 1 - len(parts))
    parts[index] = _replaced(parts[index], deeper, value)
    return separator.join(parts)
