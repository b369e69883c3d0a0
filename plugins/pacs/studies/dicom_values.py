"""Values of DICOM attributes and of Orthanc's metadata, as Python's."""

from __future__ import annotations

from collections.abc import Iterable
from datetime import UTC, date, datetime, time


def text(value: object) -> str:
    """Return a value as text a database can hold: padding and U+0000, which PostgreSQL refuses, taken away."""
    return str(value or "").replace("\0", "").strip()


def day(value: object) -> date | None:
    """Read a value of VR DA (PS3.5 section 6.2), also YYYY.MM.DD of the older standard; None for anything else."""
    digits = text(value).replace(".", "").replace("-", "")
    if len(digits) != len("YYYYMMDD") or not digits.isascii() or not digits.isdigit():
        return None
    try:
        return date.fromisoformat(digits)
    except ValueError:
        return None


def time_of_day(value: object) -> time | None:
    """Read a value of VR TM, HH to HHMMSS with a fraction, also HH:MM:SS; None for anything else. Whole seconds."""
    digits = text(value).replace(":", "").partition(".")[0]
    if not digits.isascii() or not digits.isdigit() or len(digits) not in (2, 4, 6):
        return None
    hours, minutes, seconds = (int(digits[place : place + 2] or 0) for place in (0, 2, 4))
    try:
        # PS3.5 allows the leap second 60.
        return time(hours, minutes, min(seconds, 59))
    except ValueError:
        return None


def moment(value: object) -> datetime | None:
    """Read a moment as Orthanc writes it, 20261122T014022, always in UTC; None for anything else."""
    try:
        return datetime.strptime(text(value).partition(".")[0], "%Y%m%dT%H%M%S").replace(tzinfo=UTC)
    except ValueError:
        return None


def newest_first_key(study_date: date | None, study_time: time | None) -> str:
    """Return YYYYMMDDHHMMSS, midnight without a time, "" without a date: backwards it sorts the undated last."""
    if study_date is None:
        return ""
    at = study_time or time()
    return f"{study_date.year:04}{study_date:%m%d}{at:%H%M%S}"


def enclosed(values: Iterable[str]) -> str:
    """Return the distinct values, sorted, as |CT|SR|, "" for none: one LIKE finds a whole value."""
    distinct = sorted({value.replace("|", "") for value in values} - {""})
    return f"|{'|'.join(distinct)}|" if distinct else ""


def parted(key: str) -> tuple[str, ...]:
    """Return the values of `enclosed`."""
    return tuple(key.strip("|").split("|")) if key else ()
