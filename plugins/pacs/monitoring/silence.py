"""How long a station was ever silent at this hour of this weekday: what its silence now is measured by.

A CT that sends nothing from Saturday noon to Monday morning is in order, and is not on a Tuesday at ten. So silence is
compared with the same hour of the same weekday of earlier weeks, holidays among them, in the hospital's time.
"""

from __future__ import annotations

from bisect import bisect_left
from collections.abc import Iterator, Sequence
from datetime import UTC, datetime, timedelta, tzinfo

WEEKS = 26
LEAST_WEEKS = 4
_HOUR = timedelta(hours=1)


def longest_silence(arrivals: Sequence[datetime], now: datetime, zone: tzinfo) -> timedelta | None:
    """Return the longest silence that there was at any moment of the present hour in earlier weeks.

    None with less than `LEAST_WEEKS` weeks of history: then nothing is known of what is usual.

    Parameters
    ----------
    arrivals : when images of the station came (aware), in order.
    """
    found = [_longest_within(arrivals, *hour) for hour in _same_hours(now, zone)]
    known = [silence for silence in found if silence is not None]
    return max(known) if len(known) >= LEAST_WEEKS else None


def _same_hours(now: datetime, zone: tzinfo) -> Iterator[tuple[datetime, datetime]]:
    """Yield beginning and end of the present hour in each earlier week, by the hospital's clock."""
    local = now.astimezone(zone).replace(minute=0, second=0, microsecond=0, tzinfo=None)
    for week in range(1, WEEKS + 1):
        begin = (local - timedelta(weeks=week)).replace(tzinfo=zone).astimezone(UTC)
        yield begin, begin + _HOUR


def _longest_within(arrivals: Sequence[datetime], begin: datetime, end: datetime) -> timedelta | None:
    """Return the longest silence at a moment from begin to end, None when nothing had come before."""
    first = bisect_left(arrivals, begin)
    if first == 0:
        return None
    last, longest = arrivals[first - 1], timedelta(0)
    for moment in arrivals[first : bisect_left(arrivals, end)]:
        longest, last = max(longest, moment - last), moment
    return max(longest, end - last)
