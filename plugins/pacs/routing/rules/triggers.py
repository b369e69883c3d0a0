"""When a rule is asked."""

from __future__ import annotations

import re
from dataclasses import dataclass
from datetime import datetime, timedelta
from enum import StrEnum

from pacs.routing.rules import readings
from pacs.routing.rules.comparisons import OneOf
from pacs.routing.rules.grammar import parse_comparison
from pacs.routing.rules.names import Own
from pacs.settings_files.faults import did_you_mean


class Event(StrEnum):
    """What happens, as rules write it under `on:`."""

    INSTANCE = "instance"
    SERIES_STABLE = "series stable"
    STUDY_STABLE = "study stable"
    STUDY_COMPLETE = "study complete"
    LABEL_SET = "label set"
    BY_HAND = "by hand"
    SCHEDULE = "schedule"
    APPOINTMENT = "appointment"


_BY_TIME = frozenset({Event.SCHEDULE, Event.APPOINTMENT})
_SCHEDULE = re.compile(r"at\s+(\d{1,2}):(\d{2})(?:\s+(\S+))?", re.IGNORECASE)
_AHEAD = re.compile(r"(\d{1,3})\s+(hour|day)s?\s+before\s+appointment", re.IGNORECASE)
_LONGEST_AHEAD = timedelta(days=31)
_ALL_DAYS = frozenset(range(7))


@dataclass(frozen=True)
class Ahead:
    """Some time before an appointment of the worklist. `words`: as the file has it."""

    words: str
    time: timedelta


@dataclass(frozen=True)
class Schedule:
    """A time of the day on some days of the week, in the hospital's time.

    Attributes
    ----------
    words : as the file has it.
    weekdays : 0 for Monday.
    """

    words: str
    hour: int
    minute: int
    weekdays: frozenset[int] = _ALL_DAYS

    def last_before(self, now: datetime) -> datetime:
        """Return the latest moment of it that is not after `now` (hospital's time)."""
        at = now.replace(hour=self.hour, minute=self.minute, second=0, microsecond=0)
        while at > now or at.weekday() not in self.weekdays:
            at -= timedelta(days=1)
        return at


@dataclass(frozen=True)
class Triggers:
    """Everything that makes a rule be asked."""

    events: frozenset[Event]
    schedules: tuple[Schedule, ...] = ()
    aheads: tuple[Ahead, ...] = ()

    def fire(self, event: Event, schedule: str = "") -> bool:
        """Tell whether an event asks.

        Parameters
        ----------
        schedule : words of a time of day, or of a time before appointments; "" for any.
        """
        if event not in _BY_TIME:
            return event in self.events
        found = self.aheads if event is Event.APPOINTMENT else self.schedules
        return any(schedule in ("", one.words) for one in found)

    @property
    def words(self) -> tuple[str, ...]:
        """As a file has them."""
        events = sorted(event.value for event in self.events)
        return (*events, *(one.words for one in self.schedules), *(one.words for one in self.aheads))


STUDY_STABLE = Triggers(frozenset({Event.STUDY_STABLE}))


def parse_trigger(text: str) -> Event | Schedule | Ahead:
    """Return what a text under `on:` means.

    Raises
    ------
    ValueError : nothing that happens.
    """
    if found := _SCHEDULE.fullmatch(text.strip()):
        return _schedule(" ".join(text.split()), found)
    if found := _AHEAD.fullmatch(text.strip()):
        return _ahead(" ".join(text.split()), found)
    words = [event.value for event in Event if event not in _BY_TIME]
    if text.lower() in words:
        return Event(text.lower())
    cure = did_you_mean(text.lower(), words)
    raise ValueError(
        f'"{text}" is nothing that happens; {cure} For a time of day write `at 22:00` or `at 22:00 Mon-Fri`, '
        "ahead of an appointment `12 hours before appointment`"
    )


def _ahead(words: str, found: re.Match[str]) -> Ahead:
    time = timedelta(**{f"{found[2].lower()}s": int(found[1])})
    if not timedelta(0) < time <= _LONGEST_AHEAD:
        raise ValueError(
            f'"{words}" is not from 1 hour to {_LONGEST_AHEAD.days} days; write `12 hours before appointment`'
        )
    return Ahead(words, time)


def _schedule(words: str, found: re.Match[str]) -> Schedule:
    hour, minute = int(found[1]), int(found[2])
    if hour > 23 or minute > 59:  # noqa: PLR2004
        raise ValueError(f'"{words}" is no time of day; write for example `at 22:00`')
    return Schedule(words, hour, minute, _weekdays(found[3]) if found[3] else _ALL_DAYS)


def _weekdays(text: str) -> frozenset[int]:
    days: set[int] = set()
    for part in filter(None, text.split(",")):
        comparison = parse_comparison(Own.WEEKDAY, part)
        if isinstance(comparison, OneOf):
            days |= {readings.WEEKDAYS.index(day) for day in comparison.texts}
    return frozenset(days) or _ALL_DAYS
