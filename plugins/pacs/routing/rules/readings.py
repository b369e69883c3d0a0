"""Values of DICOM attributes as what they are compared as: numbers, days, seconds of the day."""

from __future__ import annotations

import ipaddress
import re
from datetime import date
from math import isfinite

from pacs.studies.dicom_values import day, time_of_day

WEEKDAYS = ("mon", "tue", "wed", "thu", "fri", "sat", "sun")
DAYS_A_YEAR = 365.25
_DAYS = {"D": 1.0, "W": 7.0, "M": DAYS_A_YEAR / 12, "Y": DAYS_A_YEAR}
_AGE = re.compile(r"(\d{1,3})([DWMY])")
_DATE_DIGITS = 8


def number(value: str) -> float | None:
    """Return a finite number, None for anything else."""
    try:
        found = float(value)
    except ValueError:
        return None
    return found if isfinite(found) else None


def day_of(value: str) -> date | None:
    """Return the day of a value of VR DA or DT, None for none."""
    return day(value if len(value) <= len("YYYY.MM.DD") else value[:_DATE_DIGITS])


def second_of_day(value: str) -> int | None:
    """Return the second of the day of a value of VR TM, None for none."""
    at = time_of_day(value)
    return None if at is None else (at.hour * 60 + at.minute) * 60 + at.second


def age_days(value: str) -> float | None:
    """Return an age (VR AS, 018Y) in days, None for none. Months and years have their mean length."""
    found = _AGE.fullmatch(value.strip().upper())
    return int(found[1]) * _DAYS[found[2]] if found else None


def weekday(value: str) -> int | None:
    """Return 0 for Monday to 6 for Sunday, None for what is no weekday."""
    short = value.strip().lower()[:3]
    return WEEKDAYS.index(short) if short in WEEKDAYS else None


def address(value: str) -> ipaddress.IPv4Address | ipaddress.IPv6Address | None:
    """Return a network address, None for none. IPv4 in IPv6's clothes is IPv4."""
    try:
        found = ipaddress.ip_address(value.strip())
    except ValueError:
        return None
    return getattr(found, "ipv4_mapped", None) or found
