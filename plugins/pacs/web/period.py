"""The days that a search is about, as a person chooses them."""

from __future__ import annotations

from datetime import date, timedelta
from enum import StrEnum

from pacs.web.language import N_


class Period(StrEnum):
    """The choices."""

    ANY = ""
    TODAY = "today"
    YESTERDAY = "yesterday"
    WEEK = "7d"
    MONTH = "30d"
    DATES = "dates"

    @classmethod
    def read(cls, chosen: str, *, has_dates: bool) -> Period:
        """Read what was chosen; dates alone choose themselves."""
        period = cls(chosen) if chosen in list(cls) else cls.ANY
        return cls.DATES if period is cls.ANY and has_dates else period

    def days(self, today: date) -> tuple[date, date] | None:
        """Return the first and the last day, both included; None for any, or those that a person gives."""
        back = _DAYS_BACK.get(self)
        return None if back is None else (today - timedelta(days=back[0]), today - timedelta(days=back[1]))


_DAYS_BACK = {Period.TODAY: (0, 0), Period.YESTERDAY: (1, 1), Period.WEEK: (6, 0), Period.MONTH: (29, 0)}
PERIOD_TITLES = {
    Period.ANY: N_("Any date"),
    Period.TODAY: N_("Today"),
    Period.YESTERDAY: N_("Yesterday"),
    Period.WEEK: N_("7 days"),
    Period.MONTH: N_("30 days"),
    Period.DATES: N_("Dates…"),
}
