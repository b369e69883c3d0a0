"""A message taken apart without loss: what is read is what was sent, and `str(message)` is the text itself.

Nothing is copied until it is asked for, so a message of 64 MB costs its text alone.

Source: HL7 v2.5.1 chapter 2.5 (message construction) and 2.7 (escape sequences).
"""

from __future__ import annotations

import re
from collections.abc import Iterator
from functools import cache

from pacs.errors import InvalidInput
from pacs.hl7.errors import NotHl7
from pacs.hl7.groups import OrderGroup, PatientGroup, order_groups, patient_groups
from pacs.hl7.paths import Path
from pacs.hl7.segment import Segment
from pacs.hl7.separators import Separators

_LINE = re.compile(r"[^\r\n]+")
_START = re.compile(r"(?:\A|[\r\n])[\ufeff\x00\x0b\t ]*(MSH)([!-/:-@\[-`{-~])([^\r\n]*)")


class Message:
    """One HL7 v2 message; never changed, so it may be read from any thread.

    Attributes
    ----------
    separators : those of MSH-1 and MSH-2.
    segments : in the order they came, under whatever name.
    """

    __slots__ = ("_by_name", "_text", "segments", "separators")

    def __init__(self, text: str, separators: Separators, segments: tuple[Segment, ...]) -> None:
        self._text = text
        self.separators = separators
        self.segments = segments
        self._by_name: dict[str, list[Segment]] = {}
        for segment in segments:
            self._by_name.setdefault(segment.name, []).append(segment)

    @classmethod
    def parse(cls, text: str) -> Message:
        r"""Split a message into its segments, which may end in CR, LF or CRLF.

        A line that does not start with a segment's name goes on with the segment before it: so reads a text with
        line ends that were not escaped.

        Raises
        ------
        NotHl7
            When there is no MSH segment.
        """
        start = _START.match(text) or _START.search(text)
        if start is None:
            raise NotHl7("Expected an HL7 v2 message, found a text without an MSH segment.")
        encoding = start[3].split(start[2], 1)[0]
        separators = Separators.of(start[2], encoding)
        return cls(text, separators, tuple(_segments(text, separators)))

    def __str__(self) -> str:
        return self._text

    def all(self, name: str) -> list[Segment]:
        """Return every segment of that name, in the order they came."""
        return list(self._by_name.get(name, ()))

    def first(self, name: str) -> Segment | None:
        """Return the first segment of that name."""
        found = self._by_name.get(name)
        return found[0] if found else None

    def text(self, path: str) -> str | None:
        """Read "PID-5.1" from the first segment of that name, or "OBX[2]-5" from the second; see `Path`."""
        parsed = Path.parse(path)
        segment = self._named(parsed)
        return parsed.read(segment) if segment else None

    def order_groups(self) -> list[OrderGroup]:
        """Return each OBR with its ORC and what follows it."""
        return order_groups(self.segments)

    def patient_groups(self) -> list[PatientGroup]:
        """Return each PID with the MRG that follows it."""
        return patient_groups(self.segments)

    def with_value(self, path: str, text: str | None) -> Message:
        """Return a copy with another value at one place; all else stays byte for byte.

        Parameters
        ----------
        path : what is replaced: "PID-5" the whole repetition, "PID-5.1" the component, "PID-5.1.2" the subcomponent.
        text : unescaped; "" writes the HL7 null (`""`: delete the value), None leaves the place empty.

        Raises
        ------
        InvalidInput
            When the path is none, or the message lacks the segment.
        """
        parsed = Path.parse(path)
        segment = self._named(parsed)
        if segment is None:
            raise InvalidInput(f"The message has no segment {parsed.segment}[{parsed.occurrence}].")
        value = "" if text is None else self.separators.escaped(text) or '""'
        changed = parsed.write(str(segment), value, self.separators)
        return Message.parse(self._text[: segment.start] + changed + self._text[segment.end :])

    def _named(self, path: Path) -> Segment | None:
        found = self._by_name.get(path.segment, [])
        return found[path.occurrence - 1] if path.occurrence <= len(found) else None


def _segments(text: str, separators: Separators) -> list[Segment]:
    field = separators.field
    counts: dict[str, int] = {}
    segments: list[Segment] = []
    for begin, end in _lines(text):
        start, name = begin, text[begin : begin + 3]
        if not (text.startswith(field, start + 3) and name.isupper() and name.isalnum()):
            start, name = _unusual_start(text, start, end, field)
        if name:
            counts[name] = number = counts.get(name, 0) + 1
            segments.append(Segment(name, number, text, start, end, separators))
        elif segments:
            segments[-1].end = end
    return segments


def _lines(text: str) -> Iterator[tuple[int, int]]:
    """Yield where each line that is not empty begins and ends."""
    if "\n" in text:
        yield from (line.span() for line in _LINE.finditer(text))
        return
    # As the standard has it, and much faster to find.
    find, start, length = text.find, 0, len(text)
    while start < length:
        end = find("\r", start)
        if end < 0:
            end = length
        if end > start:
            yield start, end
        start = end + 1


def _unusual_start(text: str, start: int, end: int, field: str) -> tuple[int, str]:
    """Find a segment that is indented or has a name alone; the name is "" where the line starts none."""
    found = _name(field).match(text, start, end)
    return (found.start(1), found[1]) if found else (start, "")


@cache
def _name(field: str) -> re.Pattern[str]:
    return re.compile(rf"[\ufeff\x00\x0b\t ]*([A-Z][A-Z0-9]{{2}})(?={re.escape(field)}|\Z)")
