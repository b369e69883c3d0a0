"""A segment and the values in it.

Words: None is a value that is absent, "" is the HL7 null (`""`): the sender wants the value deleted.

Source: HL7 v2.5.1 chapter 2.5.3 (fields, null) and 2.6 (message construction rules).
"""

from __future__ import annotations

from pacs.hl7.separators import Separators

NULL = '""'
_HEADERS = frozenset({"MSH", "FHS", "BHS"})
# A longer segment (a report as PDF) is looked up in place instead of being split into a second copy.
_SPLIT_CHARACTERS = 256 * 1024


class Repetition:
    """One repetition of a field."""

    __slots__ = ("_separators", "raw")

    def __init__(self, raw: str, separators: Separators) -> None:
        self.raw = raw
        self._separators = separators

    def __str__(self) -> str:
        return self.raw

    def text(self, component: int = 1, subcomponent: int = 1) -> str | None:
        """Return an unescaped value; None when absent, "" for null. A null field has every component null."""
        return _value(self.raw, component, subcomponent, self._separators)


class Segment:
    """A segment inside its message.

    Attributes
    ----------
    name : "PID".
    number : the how manieth of that name in the message, from 1.
    start, end : place in the message's text, in characters, without the segment's end.
    """

    __slots__ = ("_fields", "_message_text", "end", "name", "number", "separators", "start")

    def __init__(  # noqa: PLR0917 made in a loop over all segments of a message: names cost a third of it
        self, name: str, number: int, message_text: str, start: int, end: int, separators: Separators
    ) -> None:
        self.name = name
        self.number = number
        self.start = start
        self.end = end
        self.separators = separators
        self._message_text = message_text
        self._fields: list[str] | None = None

    def __str__(self) -> str:
        return self._message_text[self.start : self.end]

    def __repr__(self) -> str:
        return f"<Segment {self.name}[{self.number}]>"  # no patient data in logs

    @property
    def fields(self) -> list[str]:
        """Return the raw fields; index 3 is the third field, index 0 the name. Not to be changed."""
        if self._fields is None:
            fields = str(self).split(self.separators.field)
            if self.name in _HEADERS:
                fields.insert(1, self.separators.field)
            self._fields = fields
        return self._fields

    def raw(self, field: int) -> str:
        """Return a field as it came; "" when absent."""
        if self._fields is None and self.end - self.start > _SPLIT_CHARACTERS:
            start, end = self.bounds(field)
            return self._message_text[start:end]
        fields = self.fields
        return fields[field] if field < len(fields) else ""

    def text(self, field: int, component: int = 1, subcomponent: int = 1, repetition: int = 1) -> str | None:
        """Return an unescaped value, all positions from 1; None when absent, "" for null."""
        raw = self.raw(field)
        if not raw:
            return None
        separators = self.separators
        if field <= 2 and self.name in _HEADERS:  # noqa: PLR2004 MSH-1 and MSH-2 are the separators themselves
            return raw
        if separators.repetition and separators.repetition in raw:
            repetitions = raw.split(separators.repetition)
            raw = repetitions[repetition - 1] if repetition <= len(repetitions) else ""
        elif repetition > 1:
            return None
        return _value(raw, component, subcomponent, separators)

    def repetitions(self, field: int) -> list[Repetition]:
        """Return every repetition, empty ones among them so that places stay; [] when the field is absent."""
        raw = self.raw(field)
        if not raw:
            return []
        separator = self.separators.repetition
        return [Repetition(part, self.separators) for part in (raw.split(separator) if separator else [raw])]

    def bounds(self, field: int, component: int = 0) -> tuple[int, int]:
        """Return where in the message's text a field (of its first repetition a component) stands, without copying.

        An absent one is an empty range.
        """
        text, separators = self._message_text, self.separators
        index = field - 1 if self.name in _HEADERS else field
        start, end = _part(text, separators.field, index, self.start, self.end)
        if component:
            start, end = _part(text, separators.repetition, 0, start, end)
            start, end = _part(text, separators.component, component - 1, start, end)
        return start, end

    def location(self, field: int = 0, component: int = 0) -> str:
        """Return a place of this segment as ERR-2 writes it: "PID^1^3" or, with a component, "PID^1^3^1^2"."""
        if not field:
            return f"{self.name}^{self.number}"
        return f"{self.name}^{self.number}^{field}" + (f"^1^{component}" if component else "")


def _value(raw: str, component: int, subcomponent: int, separators: Separators) -> str | None:
    """Read inside one repetition."""
    for separator, position in ((separators.component, component), (separators.subcomponent, subcomponent)):
        if not raw:
            return None
        if raw == NULL:
            return ""
        if separator and separator in raw:
            parts = raw.split(separator)
            raw = parts[position - 1] if position <= len(parts) else ""
        elif position > 1:
            return None
    if raw == NULL:
        return ""
    if not raw:
        return None
    return separators.unescaped(raw) if separators.escape in raw else raw


def _part(text: str, separator: str, index: int, start: int, end: int) -> tuple[int, int]:
    """Return the bounds of the index-th part, from 0, of text[start:end]; an empty range when there is none."""
    for _ in range(index):
        found = text.find(separator, start, end) if separator else -1
        if found < 0:
            return end, end
        start = found + 1
    found = text.find(separator, start, end) if separator else -1
    return start, end if found < 0 else found
