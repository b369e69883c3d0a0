"""Dates that move by whole days. Times stay, so all that happened within a day keeps its distances.

Source: PS3.5 section 6.2 (DA, DT), PS3.15 E.3.6.
"""

from __future__ import annotations

import re
from datetime import date, timedelta

# A date, also as YYYY.MM.DD of the older standard; of DT whatever precision and offset follow it.
_DATE = re.compile(r"(\d{4})(\.?)(\d{2})\2(\d{2})")
_DATE_TIME = re.compile(
    r"(\d{4})(\d{2})?(\d{2})?((?:(?:[01]\d|2[0-3])(?:[0-5]\d(?:[0-6]\d(?:\.\d{1,6})?)?)?)?)([+-]\d{4})?"
)
_TIME = re.compile(r"(?:[01]\d|2[0-3])(?::?[0-5]\d(?::?[0-6]\d(?:\.\d{1,6})?)?)?")
_OFFSET = re.compile(r"[+-]\d{4}")


def shifted_date(text: str, days: int) -> str | None:
    """Return a value of VR DA, `days` earlier; None when it is no date."""
    found = _DATE.fullmatch(text)
    moved = found and _moved(found[1], found[3], found[4], days)
    return f"{moved.year:04}{moved:%m%d}" if moved else None


def shifted_date_time(text: str, days: int) -> str | None:
    """Return a value of VR DT, `days` earlier, as precise as it was; None when it is no moment."""
    found = _DATE_TIME.fullmatch(text)
    if not found or (found[4] and not found[3]):
        return None
    moved = _moved(found[1], found[2] or "07", found[3] or "01", days)
    if not moved:
        return None
    precise = f"{moved.year:04}{moved:%m%d}"[: len(found[1] + (found[2] or "") + (found[3] or ""))]
    return f"{precise}{found[4]}{found[5] or ''}"


def time_of_day(text: str) -> str | None:
    """Return a value of VR TM as it is; None when it is no time."""
    return text if _TIME.fullmatch(text) else None


def offset_from_utc(text: str) -> str | None:
    """Return a value of TimezoneOffsetFromUTC as it is; None when it is none."""
    return text if _OFFSET.fullmatch(text) else None


def _moved(year: str, month: str, day: str, days: int) -> date | None:
    try:
        return date(int(year), int(month), int(day)) - timedelta(days=days)
    except (ValueError, OverflowError):
        return None
