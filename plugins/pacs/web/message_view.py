"""A message as a person reads it: raw beside field by field, with the standard's names."""

from __future__ import annotations

from collections.abc import Iterable, Iterator
from dataclasses import dataclass
from itertools import zip_longest

from pacs.hl7.charsets import codec_of, decode
from pacs.hl7.errors import DATA_TYPE_ERROR, Fault, Hl7Error
from pacs.hl7.header import Header
from pacs.hl7.message import Message
from pacs.hl7.names import component_name, field_name, segment_name
from pacs.hl7.paths import Path
from pacs.hl7.segment import Repetition, Segment
from pacs.hl7.settings import PeerSettings

# What is shown: a report as PDF would fill the page with base64.
LONGEST_SHOWN = 120_000
_LONGEST_VALUE = 600
_HEADERS = frozenset({"MSH", "FHS", "BHS"})


@dataclass(frozen=True)
class Part:
    """A component of a field.

    Attributes
    ----------
    place : "PID-3.1", with the repetition where there are several.
    value : None for HL7's null.
    """

    place: str
    name: str
    value: str | None


@dataclass(frozen=True)
class FieldView:
    """A field that has something in it.

    Attributes
    ----------
    raw : as it came, shortened where it is too long to be read.
    parts : its components; one alone where it has none.
    """

    number: int
    place: str
    name: str
    raw: str
    parts: tuple[Part, ...]
    is_faulty: bool

    @property
    def anchor(self) -> str:
        """Name for links within the page."""
        return self.place.replace("[", "-").replace("]", "")


@dataclass(frozen=True)
class SegmentView:
    """A segment.

    Attributes
    ----------
    cells : raw text of every field with its view, None for an empty one; the first is the segment's name.
    is_faulty : a fault is about the segment, or about a field that it does not have.
    """

    name: str
    title: str
    separator: str
    cells: tuple[tuple[str, FieldView | None], ...]
    is_faulty: bool

    @property
    def fields(self) -> list[FieldView]:
        """The fields that have something in them."""
        return [view for _, view in self.cells if view is not None]


@dataclass(frozen=True)
class MessageView:
    """A message taken apart, or the text alone where it can't be.

    Attributes
    ----------
    text : whole; for the form.
    fault : why it could not be decoded or taken apart, "" for nothing.
    is_cut : more came than is shown.
    """

    text: str
    codec: str
    segments: tuple[SegmentView, ...]
    fault: str = ""
    is_cut: bool = False

    @property
    def first_faulty(self) -> FieldView | None:
        """The first field that is marked."""
        return next((field for segment in self.segments for field in segment.fields if field.is_faulty), None)


def read_text(raw: bytes, peer: PeerSettings) -> tuple[str, str]:
    """Return a message's text and Python's name of its character set. Raises Hl7Error."""
    decoded = decode(raw, Header.scan(raw), default=peer.charset, sniff_utf8=peer.sniff_utf8)
    return decoded.text, decoded.codec


def view(raw: bytes, peer: PeerSettings, locations: Iterable[str] = ()) -> MessageView:
    """Return what is shown of a message; whatever came can be shown.

    Parameters
    ----------
    locations : of what is wrong with it, as ERR-2 writes them.
    """
    try:
        text, codec = read_text(raw, peer)
        shown = text[:LONGEST_SHOWN]
        segments = tuple(_segments(Message.parse(shown), [location for location in locations if location]))
    except Hl7Error as error:
        return MessageView(raw.decode("latin-1"), "latin-1", (), fault=str(error), is_cut=len(raw) > LONGEST_SHOWN)
    return MessageView(text, codec, segments, is_cut=len(text) > LONGEST_SHOWN)


def written(text: str, like: bytes, peer: PeerSettings) -> bytes:
    """Return a corrected text in the character set of the message that it corrects, or in one that it declares.

    Raises
    ------
    Hl7Error : it has letters that can't be written so, or it is no message.
    """
    text = text.replace("\r\n", "\r").replace("\n", "\r").strip("\x0b\x1c") or text
    header = Header.scan(text.encode("utf-8"))
    labels = [*header.charset_names, peer.charset]
    codecs = [read_text(like, peer)[1], *(codec for label in labels if (codec := codec_of(label)))]
    for codec in dict.fromkeys(codecs):
        try:
            raw = text.encode(codec)
            if read_text(raw, peer)[0] == text:
                return raw
        except (UnicodeEncodeError, Hl7Error):
            continue
    raise Hl7Error(
        f"The text has letters that {', '.join(labels)} does not have.",
        remedy="Declare another character set in MSH-18, for example UNICODE UTF-8.",
        location="MSH^1^18",
        hl7_code=DATA_TYPE_ERROR,
    )


def differences(before: str, after: str) -> list[tuple[str, str, str]]:
    """Return place, value before and value after of every field that is not the same."""
    old, new = ({(each.name, each.number): each for each in Message.parse(text).segments} for text in (before, after))
    found = []
    for key in dict.fromkeys([*old, *new]):
        fields = zip_longest(_raw_fields(old.get(key)), _raw_fields(new.get(key)), fillvalue="")
        for number, (was, now) in enumerate(fields):
            if was != now:
                place = str(Path(key[0], number, occurrence=key[1])) if number else key[0]
                found.append((place, _short(was), _short(now)))
    return found


def fault_place(fault: Fault) -> str:
    """Return a fault's place as people write it; of one that names no field, the segment."""
    path = Path.at(fault.location or "^")
    return str(path) if path else fault.location.partition("^")[0]


def place_to_correct(error_location: str | None) -> str:
    """Return the place that a correction most likely is about: the first component where a field has some."""
    path = Path.at(error_location or "^")
    if path is None:
        return ""
    is_composite = bool(component_name(path.segment, path.field, 1)) and not path.component
    return f"{path}.1" if is_composite else str(path)


def _segments(message: Message, locations: list[str]) -> Iterator[SegmentView]:
    for segment in message.segments:
        about_it = [location for location in locations if _is_about(location, segment)]
        faulty = {path.field for location in about_it if (path := Path.at(location))}
        cells = tuple(_cells(segment, faulty))
        has_field = any(view is not None and view.is_faulty for _, view in cells)
        yield SegmentView(
            segment.name, segment_name(segment.name), segment.separators.field, cells, bool(about_it) and not has_field
        )


def _is_about(location: str, segment: Segment) -> bool:
    name, _, rest = location.partition("^")
    return name == segment.name and (rest.partition("^")[0] if rest else "1") in ("", str(segment.number))


def _cells(segment: Segment, faulty: set[int]) -> Iterator[tuple[str, FieldView | None]]:
    is_header = segment.name in _HEADERS
    for number, raw in enumerate(segment.fields):
        if is_header and number == 1:
            continue
        # A field that is needed and empty is shown where it should be.
        is_faulty = number in faulty
        shown = number > 0 and (raw or is_faulty)
        yield _short(raw), _field(segment, number, is_faulty=is_faulty) if shown else None
    for number in sorted(number for number in faulty if number >= len(segment.fields)):
        yield "", _field(segment, number, is_faulty=True)


def _field(segment: Segment, number: int, *, is_faulty: bool) -> FieldView:
    path = Path(segment.name, number, occurrence=segment.number)
    parts = tuple(_parts(segment, number))
    return FieldView(number, str(path), field_name(segment.name, number), _short(segment.raw(number)), parts, is_faulty)


def _parts(segment: Segment, number: int) -> Iterator[Part]:
    if segment.name in _HEADERS and number <= 2:  # noqa: PLR2004 MSH-1 and MSH-2 are the separators themselves
        yield Part("", "", segment.raw(number))
        return
    for index, repetition in enumerate(segment.repetitions(number), start=1):
        yield from _components(segment, number, index, repetition)


def _components(segment: Segment, number: int, index: int, repetition: Repetition) -> Iterator[Part]:
    separators = segment.separators
    components = repetition.raw.split(separators.component) if separators.component else [repetition.raw]
    if len(components) == 1 and index == 1:
        yield Part("", "", _value(components[0], segment))
        return
    for component, raw in enumerate(components, start=1):
        if raw:
            path = Path(segment.name, number, component, repetition=index, occurrence=segment.number)
            yield Part(str(path), component_name(segment.name, number, component), _value(raw, segment))


def _value(raw: str, segment: Segment) -> str | None:
    """Return a value unescaped, its subcomponents beside each other; None for the null."""
    if raw == '""':
        return None
    separators = segment.separators
    pieces = raw.split(separators.subcomponent) if separators.subcomponent else [raw]
    return _short(" & ".join(filter(None, map(separators.unescaped, pieces))))


def _raw_fields(segment: Segment | None) -> list[str]:
    return segment.fields if segment else []


def _short(text: str) -> str:
    return text if len(text) <= _LONGEST_VALUE else f"{text[:_LONGEST_VALUE]}… ({len(text)})"
