"""How values look: DICOM's names, dates and times, sizes and numbers, in the language of the request."""

from __future__ import annotations

from datetime import UTC, date, datetime, time, timedelta
from typing import NamedTuple

from babel.dates import format_date, format_timedelta
from babel.numbers import format_decimal, format_percent
from babel.units import format_unit
from flask import Flask

from pacs.web.language import current_language

_SIZE_UNITS = ("byte", "kilobyte", "megabyte", "gigabyte", "terabyte", "petabyte")
_PN_PARTS = 5
# Units of spans: from how many seconds on, and how many seconds one is.
_SPAN_UNITS = (("day", 2 * 86_400, 86_400), ("hour", 3600, 3600), ("minute", 0, 60))
_MONTHS_OF_INFANCY = 24
# Of equal width for columns. In English the month is a word: 03/04 means two days to its readers.
_DATE_PATTERNS = {"en": "dd MMM y", "es": "dd/MM/y", "pt": "dd/MM/y"}


class PersonName(NamedTuple):
    """A person's name in the order in which PACS lists show it: FAMILY, Given Middle.

    Attributes
    ----------
    family : family name, or the whole name where it is not divided.
    given : given and middle names, prefix and suffix.
    ideographic : the name in the person's own script, when the alphabetic one is another.
    """

    family: str
    given: str
    ideographic: str

    def __str__(self) -> str:
        listed = ", ".join(filter(None, (self.family, self.given)))
        return f"{listed} ({self.ideographic})" if self.ideographic else listed


def person_name(value: str | None) -> PersonName:
    """Read a value of VR PN (DICOM PS3.5 section 6.2.1): groups parted by "=", components by "^"."""
    alphabetic, ideographic, *_ = [*(value or "").split("="), "", ""]
    shown = alphabetic.strip(" ^") or ideographic
    other = ideographic if alphabetic.strip(" ^") else ""
    parts = [part.strip() for part in shown.split("^")] + [""] * _PN_PARTS
    family, given, middle, prefix, suffix = parts[:_PN_PARTS]
    rest = " ".join(filter(None, (prefix, given, middle, suffix)))
    family = family.upper() if rest else family
    return PersonName(family or rest, rest if family else "", other.replace("^", " ").strip())


def dicom_date(value: str | date | None) -> date | None:
    """Read a value of VR DA (also the older YYYY.MM.DD). None for what is empty or no date."""
    if value is None or isinstance(value, date):
        return value
    digits = value.strip().replace(".", "").replace("-", "")
    try:
        return datetime.strptime(digits, "%Y%m%d").replace(tzinfo=UTC).date()
    except ValueError:
        return None


def dicom_time(value: str | time | None) -> time | None:
    """Read a value of VR TM, hours to fractions of a second. None for what is empty or no time."""
    if value is None or isinstance(value, time):
        return value
    digits = value.strip().replace(":", "").partition(".")[0]
    try:
        hours, minutes, seconds = (int(digits[place : place + 2] or 0) for place in (0, 2, 4))
        return time(hours, minutes, min(seconds, 59)) if digits else None
    except ValueError:
        return None


def show_date(value: str | date | None) -> str:
    """Write a date; a DICOM value that is none is shown as it stands."""
    day = dicom_date(value)
    if day is None:
        return str(value or "")
    language = current_language()
    return format_date(day, _DATE_PATTERNS[language.code], locale=language.locale)


def show_day(day: date) -> str:
    """Write a day out, with the day of the week."""
    return format_date(day, "full", locale=current_language().locale)


def show_month(day: date) -> str:
    """Write a month with its year."""
    return format_date(day, "LLLL yyyy", locale=current_language().locale)


def show_time(value: str | time | None) -> str:
    """Write the hour and minute, by the 24-hour clock as hospitals do."""
    moment = dicom_time(value)
    return moment.strftime("%H:%M") if moment else str(value or "")


def show_moment(value: datetime | None) -> str:
    """Write a moment in the hospital's time zone."""
    if value is None:
        return ""
    language = current_language()
    local = value.astimezone(language.time_zone)
    return f"{show_date(local.date())} {local:%H:%M:%S}"


def show_ago(value: datetime | None) -> str:
    """Say how long ago a moment was."""
    if value is None:
        return ""
    return format_timedelta(value - datetime.now(UTC), add_direction=True, locale=current_language().locale)


def show_duration(seconds: float) -> str:
    """Write a span of time in its two largest units, the smaller one left out from a day on."""
    span = timedelta(seconds=round(seconds))
    return format_timedelta(span, threshold=1.5, format="short", locale=current_language().locale)


def show_span(seconds: float) -> str:
    """Write a span of time in one unit with one decimal: for tables in which spans are compared."""
    unit, size_seconds = next((unit, size) for unit, least, size in _SPAN_UNITS if seconds >= least)
    number = round(seconds / size_seconds, 1)
    return format_unit(number, f"duration-{unit}", length="short", locale=current_language().locale)


def show_age(birth: str | date | None, at: str | date | None) -> str:
    """Write a patient's age on the day of the study: days in the first month, months in the first two years."""
    born, day = dicom_date(birth), dicom_date(at)
    if born is None or day is None or day < born:
        return ""
    months = (day.year - born.year) * 12 + day.month - born.month - (day.day < born.day)
    if months >= _MONTHS_OF_INFANCY:
        number, unit = months // 12, "year"
    else:
        number, unit = (months, "month") if months else ((day - born).days, "day")
    return format_unit(number, f"duration-{unit}", length="short", locale=current_language().locale)


def show_size(size_bytes: float) -> str:
    """Write a size with three digits at most, in powers of 1000 as disks are sold."""
    power = 0
    while size_bytes >= 999.5 and power < len(_SIZE_UNITS) - 1:  # noqa: PLR2004
        size_bytes, power = size_bytes / 1000, power + 1
    pattern = "#,##0.#" if power and size_bytes < 100 else "#,##0"  # noqa: PLR2004
    return format_unit(
        size_bytes, f"digital-{_SIZE_UNITS[power]}", length="short", format=pattern, locale=current_language().locale
    )


def show_number(number: float) -> str:
    """Write a number with the separators of the language."""
    return format_decimal(number, locale=current_language().locale)


def show_percent(ratio: float) -> str:
    """Write a ratio of 0 to 1 as a percentage."""
    return format_percent(ratio, locale=current_language().locale)


def show_exact_percent(ratio: float) -> str:
    """Write a ratio of 0 to 1 as a percentage with two decimals."""
    return format_percent(ratio, "#,##0.00%", locale=current_language().locale)


def install(app: Flask) -> None:
    """Give the templates these functions as filters."""
    app.jinja_env.filters |= {
        "person_name": person_name,
        "date": show_date,
        "day": show_day,
        "month": show_month,
        "time": show_time,
        "moment": show_moment,
        "ago": show_ago,
        "duration": show_duration,
        "span": show_span,
        "size": show_size,
        "number": show_number,
        "percent": show_percent,
        "exact_percent": show_exact_percent,
    }
    app.jinja_env.globals |= {"age": show_age}
