"""Text of HL7 made into values of DICOM: nothing is cut or replaced without being told (PS3.5 section 6.2)."""

from __future__ import annotations

import re
from dataclasses import dataclass, replace
from datetime import datetime, tzinfo

# Longest value in characters; a person's name for each group.
LIMITS = {"AE": 16, "CS": 16, "DS": 16, "IS": 12, "LO": 64, "LT": 10240, "PN": 64, "SH": 16, "ST": 1024, "UI": 64}
_TEXTS = frozenset({"LO", "SH", "PN", "UC"})
_LONG_TEXTS = frozenset({"LT", "ST", "UT"})
_TIMESTAMP = re.compile(
    r"(?P<date>\d{8})(?:(?P<hour>\d\d)(?:(?P<minute>\d\d)(?:(?P<second>\d\d)(?:\.?(?P<fraction>\d{1,6}))?)?)?)?"
    r"(?P<zone>[+-]\d{4})?"
)
_CODE_STRING = re.compile(r"[A-Z0-9 _]+")
_UID = re.compile(r"(0|[1-9]\d*)(\.(0|[1-9]\d*))+")
_CONTROLS = re.compile(r"[\x00-\x1f\x7f-\x9f]+")
_LINE_CONTROLS = re.compile(r"[\x00-\x08\x0b\x0e-\x1f\x7f-\x9f]+")
_NUMBER = re.compile(r"[+-]?(\d+\.?\d*|\.\d+)([eE][+-]?\d+)?")
_HIGHEST_US = 65535
_ZONE_LENGTH = len("+HHMM")


class BadValue(ValueError):
    """DICOM has no room for the value. Says what is wrong, never the value itself, which may name a patient.

    Attributes
    ----------
    shortened : what remains when it may be shortened; None when that is no cure.
    """

    def __init__(self, message: str, shortened: str | None = None) -> None:
        super().__init__(message)
        self.shortened = shortened


@dataclass(frozen=True)
class Converted:
    """A value as DICOM writes it, and what had to be changed for that ("" for nothing)."""

    text: str
    notice: str = ""


@dataclass(frozen=True)
class Moment:
    """A point in time as HL7 writes it (type TS or DTM).

    Attributes
    ----------
    time : HHMMSS with or without a fraction, "" when only the day is known.
    zone : offset from UTC as +HHMM, "" when not said.
    """

    date: str
    time: str
    zone: str

    def at(self, time_zone: tzinfo | None) -> Moment:
        """Return the same moment by the clocks of another time zone; itself where its own, or the hour, is not said.

        Raises
        ------
        BadValue : its zone, or the day there, does not exist.
        """
        if not (self.zone and self.time):
            return self
        seconds, dot, fraction = self.time.partition(".")
        try:
            there = datetime.fromisoformat(f"{self.date}T{seconds}{self.zone}").astimezone(time_zone)
        except (ValueError, OverflowError):
            raise BadValue("expected a time zone that exists") from None
        return Moment(f"{there.year:04}{there:%m%d}", f"{there:%H%M%S}{dot}{fraction}", f"{there:%z}"[:_ZONE_LENGTH])


def read_moment(text: str) -> Moment:
    """Read a timestamp; also 17 digits, whose last three are milliseconds.

    Raises
    ------
    BadValue : it is none, or that day or time does not exist.
    """
    found = _TIMESTAMP.fullmatch(text.strip())
    if found is None:
        raise BadValue("expected a date or time as YYYYMMDDHHMMSS")
    hour, minute, second = (found[part] or "00" for part in ("hour", "minute", "second"))
    try:
        datetime.fromisoformat(f"{found['date']}T{hour}{minute}{second}")
    except ValueError:
        raise BadValue("expected a day and time that exist") from None
    fraction = f".{found['fraction']}" if found["fraction"] else ""
    time = f"{hour}{minute}{second}{fraction}" if found["hour"] else ""
    return Moment(found["date"], time, found["zone"] or "")


def convert(text: str, vr: str) -> Converted:
    """Return `text` as a value of `vr`. Blanks around it don't count (PS3.5 section 6.2).

    Raises
    ------
    BadValue : DICOM has no room for it.
    """
    text = text.strip()
    if vr in _LONG_TEXTS:
        converted = _long_text(text)
    elif vr in _TEXTS:
        converted = _text(text, vr)
    else:
        converted = Converted(_EXACT[vr](text) if vr in _EXACT else text)
    limit = LIMITS.get(vr)
    if limit is not None and len(converted.text) > limit:
        raise BadValue(
            f"expected at most {limit} characters, found {len(converted.text)}",
            shortened=converted.text[:limit].rstrip() if vr in _TEXTS | _LONG_TEXTS else None,
        )
    return converted


def name_part(text: str) -> Converted:
    """Return a part of a person's name without the signs that part it (PS3.5 section 6.2.1)."""
    bare = re.sub(r"[\^=\\]+", " ", text)
    converted = _text(bare.strip(), "PN")
    if bare != text:
        return replace(converted, notice="signs that part a name (^ = \\) became blanks")
    return converted


def _text(text: str, vr: str) -> Converted:
    bare = _CONTROLS.sub(" ", text).strip()
    notice = "line ends or control characters became blanks" if bare != text else ""
    if "\\" in bare:
        if vr == "SH":
            raise BadValue("expected no backslash, which parts values")
        return Converted(bare.replace("\\", "/"), "a backslash, which parts values, became a slash")
    return Converted(bare, notice)


def _long_text(text: str) -> Converted:
    lines = re.sub(r"\r\n|\r|\n", "\r\n", text)
    bare = _LINE_CONTROLS.sub(" ", lines)
    return Converted(bare, "control characters became blanks" if bare != lines else "")


def _code_string(text: str) -> str:
    upper = text.upper()
    if text and not _CODE_STRING.fullmatch(upper):
        raise BadValue("expected letters A to Z, digits, blanks and underscores")
    return upper


def _uid(text: str) -> str:
    if text and not _UID.fullmatch(text):
        raise BadValue("expected a UID: numbers with dots between them, none with a leading zero")
    return text


def _application_entity(text: str) -> str:
    if _CONTROLS.search(text) or "\\" in text or not text.isascii():
        raise BadValue("expected an AE title: plain characters without a backslash")
    return text


def _number(text: str) -> str:
    plain = text.replace(",", ".") if text.count(",") == 1 and "." not in text else text
    if text and not _NUMBER.fullmatch(plain):
        raise BadValue("expected a number")
    return plain


def _unsigned_short(text: str) -> str:
    if text and not (text.isascii() and text.isdigit() and int(text) <= _HIGHEST_US):
        raise BadValue(f"expected a whole number up to {_HIGHEST_US}")
    return text


def _date(text: str) -> str:
    return read_moment(text).date if text else ""


def _time(text: str) -> str:
    return read_moment(text).time if text else ""


_EXACT = {
    "CS": _code_string,
    "UI": _uid,
    "AE": _application_entity,
    "DS": _number,
    "IS": _number,
    "US": _unsigned_short,
    "DA": _date,
    "TM": _time,
}
