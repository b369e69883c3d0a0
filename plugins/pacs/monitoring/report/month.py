"""A month of the hospital's calendar, and what a report tells of it."""

from __future__ import annotations

import calendar
import re
from collections.abc import Mapping
from dataclasses import dataclass
from datetime import UTC, date, datetime, tzinfo

from pacs.errors import InvalidInput
from pacs.monitoring.incidents import Incident
from pacs.monitoring.settings import ReferenceLevel

_WRITTEN = re.compile(r"(\d{4})-(\d{2})")
_MONTHS = 12


@dataclass(frozen=True, order=True)
class Month:
    """A month."""

    year: int
    number: int

    @classmethod
    def parse(cls, text: str) -> Month:
        """Read YYYY-MM. Raise InvalidInput."""
        found = _WRITTEN.fullmatch(text)
        if not found or not 1 <= int(found[2]) <= _MONTHS or not int(found[1]):
            raise InvalidInput(f"Expected a month such as 2026-10, found {text[:20]!r}.")
        return cls(int(found[1]), int(found[2]))

    @classmethod
    def of(cls, moment: datetime, zone: tzinfo) -> Month:
        """Return the month in which a moment is."""
        local = moment.astimezone(zone)
        return cls(local.year, local.month)

    def __str__(self) -> str:
        return f"{self.year:04}-{self.number:02}"

    @property
    def first(self) -> date:
        """Its first day."""
        return date(self.year, self.number, 1)

    @property
    def days(self) -> int:
        """How many days it has."""
        return calendar.monthrange(self.year, self.number)[1]

    def plus(self, months: int) -> Month:
        """Return the month so many later (earlier: negative)."""
        year, number = divmod(self.year * _MONTHS + self.number - 1 + months, _MONTHS)
        return Month(year, number + 1)

    def begin(self, zone: tzinfo) -> datetime:
        """Return the moment at which it begins in the hospital."""
        return datetime(self.year, self.number, 1, tzinfo=zone).astimezone(UTC)

    def end(self, zone: tzinfo) -> datetime:
        """Return the moment at which it is over in the hospital."""
        return self.plus(1).begin(zone)


@dataclass(frozen=True)
class OfModality:
    """What came of one modality.

    Attributes
    ----------
    by_hour : studies that began to come in each hour of the hospital's day, 24 numbers.
    without_order : studies that no entry of the worklist knows.
    """

    modality: str
    studies: int
    images: int
    size_bytes: int
    by_hour: tuple[int, ...]
    without_order: int


@dataclass(frozen=True)
class Spread:
    """How a figure is spread: the middle, and what nine of ten are below."""

    count: int
    median: float
    ninth_tenth: float


@dataclass(frozen=True)
class Turnaround:
    """How long things took at one modality, in seconds; None where nothing is known.

    Attributes
    ----------
    to_images : from the order until its first image came.
    to_report : from the first image until the report's message (ORU) came.
    in_all : from the order until the report.
    """

    modality: str
    to_images: Spread | None
    to_report: Spread | None
    in_all: Spread | None


@dataclass(frozen=True)
class DoseOfProtocol:
    """The doses of one protocol; a median is None where no examination tells it.

    Attributes
    ----------
    examinations : studies in which it was used.
    ctdi_vol_mgy : of each examination its highest.
    dlp_mgy_cm, dose_area_gy_cm2 : of each examination the sum.
    glandular_dose_mgy : of each exposure.
    level : the national reference level it is compared with, None without one.
    """

    modality: str
    protocol: str
    examinations: int
    ctdi_vol_mgy: float | None
    dlp_mgy_cm: float | None
    dose_area_gy_cm2: float | None
    glandular_dose_mgy: float | None
    level: ReferenceLevel | None

    @property
    def exceeded(self) -> tuple[str, ...]:
        """Names of the figures whose median is above the level."""
        names = ("ctdi_vol_mgy", "dlp_mgy_cm", "dose_area_gy_cm2", "glandular_dose_mgy")
        return tuple(name for name in names if _is_above(getattr(self, name), getattr(self.level, name, None)))


def _is_above(figure: float | None, level: float | None) -> bool:
    return figure is not None and level is not None and figure > level


@dataclass(frozen=True)
class Availability:
    """What the golden signal found.

    Attributes
    ----------
    measured_seconds : the time in which it was sent; less than the month where it was switched on or off.
    down_seconds : of these, when it failed or the archive was not there to send it.
    """

    measured_seconds: float
    down_seconds: float
    runs: int
    failed_runs: int

    @property
    def ratio(self) -> float:
        """Of 0 to 1."""
        return 1 - self.down_seconds / self.measured_seconds if self.measured_seconds else 1.0


@dataclass(frozen=True)
class Storage:
    """How the archive grew.

    Attributes
    ----------
    grown_bytes : in this month.
    total_bytes : at its end.
    by_month : bytes that came in each of the last twelve months, this one last.
    """

    grown_bytes: int
    total_bytes: int
    by_month: Mapping[Month, int]


@dataclass(frozen=True)
class Report:
    """A month.

    Attributes
    ----------
    made_at : a report of a month that is not over tells of the part until then.
    by_day : studies on each day, first to last.
    studies_before : of the month before.
    """

    month: Month
    made_at: datetime
    modalities: tuple[OfModality, ...]
    by_day: tuple[int, ...]
    studies_before: int
    turnarounds: tuple[Turnaround, ...]
    storage: Storage
    doses: tuple[DoseOfProtocol, ...]
    availability: Availability | None
    incidents: tuple[Incident, ...]

    @property
    def studies(self) -> int:
        """Studies of all modalities."""
        return sum(one.studies for one in self.modalities)

    @property
    def images(self) -> int:
        """Images of all modalities."""
        return sum(one.images for one in self.modalities)

    @property
    def without_order(self) -> int:
        """Studies without an order, of all modalities."""
        return sum(one.without_order for one in self.modalities)
