"""The message header, read from the bytes before anything else is known of them.

Source: HL7 v2.5.1 chapter 2.15.9 (MSH).
"""

from __future__ import annotations

import re
from dataclasses import dataclass

from pacs.hl7.errors import NotHl7
from pacs.hl7.separators import Separators

# A byte order mark, blanks or a stray start byte may stand in front; batch segments (FHS, BHS) may come before.
_START = re.compile(rb"(?:\A|[\r\n])(?:\xef\xbb\xbf|[\x00\x0b\t ])*(MSH)(?=[!-/:-@\[-`{-~])")
# A header that goes on for longer has lost its end.
_LONGEST_BYTES = 64 * 1024
# Types with a single event, which old messages leave out.
_ONLY_EVENTS = {"ORM": "O01", "OMG": "O19", "OMI": "O23", "ORU": "R01"}
# Up to MSH-18; what a short header lacks is empty.
_FIELDS = 18


@dataclass(frozen=True)
class Header:
    """MSH as it came: outer blanks of codes are dropped, nothing is unescaped.

    Attributes
    ----------
    sending_application, sending_facility, receiving_application, receiving_facility : the whole field, with the
        universal ids it may have (`HIS^1.2.3^ISO`); see `name_of` for the name alone.
    sent_at : MSH-7, raw.
    message_type, trigger_event, structure : MSH-9.1 to .3; an event that is missing is filled in where the type has
        no other.
    control_id : MSH-10 exactly as it came, since MSA-2 must return it. Empty when it is only blanks.
    processing_id : MSH-11.1.
    version : MSH-12.1.
    accept_acknowledgment, application_acknowledgment : MSH-15, MSH-16.
    charset_names : MSH-18, every repetition.
    codec : Python's name of what this segment was decoded with, so that an answer gives back the same bytes.
    fields : raw MSH-1 to MSH-18 (at index 1 to 18), "" where absent.
    """

    separators: Separators
    sending_application: str
    sending_facility: str
    receiving_application: str
    receiving_facility: str
    sent_at: str
    message_type: str
    trigger_event: str
    structure: str
    control_id: str
    processing_id: str
    version: str
    accept_acknowledgment: str
    application_acknowledgment: str
    charset_names: tuple[str, ...]
    codec: str
    fields: tuple[str, ...]

    @classmethod
    def scan(cls, raw: bytes) -> Header:
        """Find and read MSH in a message of any size and any character set. May be called in any thread.

        Raises
        ------
        NotHl7
            When there is no MSH at the start of a segment.
        """
        segment, codec = _decoded(_segment(raw))
        field_separator = segment[3]
        fields = segment.split(field_separator, _FIELDS)[:_FIELDS]
        fields += [""] * (_FIELDS - len(fields))
        separators = Separators.of(field_separator, fields[1])
        component = separators.component or "^"
        kind = [part.strip() for part in fields[8].split(component)] + ["", ""]
        return cls(
            separators=separators,
            sending_application=fields[2].strip(),
            sending_facility=fields[3].strip(),
            receiving_application=fields[4].strip(),
            receiving_facility=fields[5].strip(),
            sent_at=fields[6].strip(),
            message_type=kind[0],
            trigger_event=kind[1] or _ONLY_EVENTS.get(kind[0], ""),
            structure=kind[2],
            control_id=fields[9] if fields[9].strip() else "",
            processing_id=fields[10].split(component, 1)[0].strip(),
            version=fields[11].split(component, 1)[0].strip(),
            accept_acknowledgment=fields[14].strip(),
            application_acknowledgment=fields[15].strip(),
            charset_names=_charset_names(fields[17], separators),
            codec=codec,
            fields=(segment[:3], field_separator, *fields[1:]),
        )

    @property
    def field_separator(self) -> str:
        """Return MSH-1."""
        return self.separators.field

    @property
    def encoding_characters(self) -> str:
        """Return MSH-2 as it came."""
        return self.separators.encoding

    @property
    def type(self) -> str:
        """Return message type and trigger event as one word, "ADT^A08"; without an event "ORU"."""
        return f"{self.message_type}^{self.trigger_event}" if self.trigger_event else self.message_type

    @property
    def release(self) -> tuple[int, int]:
        """Return the version as numbers to compare, (2, 5) for 2.5.1 and (0, 0) for what is no version."""
        found = re.match(r"(\d{1,9})\.(\d{1,9})", self.version)
        return (int(found[1]), int(found[2])) if found else (0, 0)

    def name_of(self, field: str) -> str:
        """Return the name alone of an application or facility (HD.1 of HD)."""
        component = self.separators.component
        return field.split(component, 1)[0] if component else field


def _segment(raw: bytes) -> bytes:
    """Return the bytes of MSH without its end."""
    if raw.startswith(b"MSH") and _START.match(raw):
        start = 0
    elif found := _START.search(raw):
        start = found.start(1)
    else:
        raise NotHl7(
            f"Expected an HL7 v2 message, found {len(raw)} bytes without an MSH segment.",
            remedy="Send ER7 (the form with vertical bars) inside MLLP frames.",
        )
    longest = start + _LONGEST_BYTES
    return raw[start:longest].replace(b"\n", b"\r").split(b"\r", 1)[0]


def _decoded(segment: bytes) -> tuple[str, str]:
    for codec in ("ascii", "utf-8"):
        try:
            return segment.decode(codec), codec
        except UnicodeDecodeError:
            continue
    return segment.decode("latin-1"), "latin-1"


def _charset_names(field: str, separators: Separators) -> tuple[str, ...]:
    """Split MSH-18; a component separator inside is taken for a repetition, as some write it."""
    if not field:
        return ()
    for separator in (separators.component, separators.repetition):
        field = field.replace(separator, "\n") if separator else field
    return tuple(name.strip() for name in field.split("\n") if name.strip())
