"""The search form of the HL7 journal: what its fields hold, what they mean, and the address that repeats a search."""

from __future__ import annotations

import re
from dataclasses import dataclass, replace
from datetime import date, datetime, time, timedelta, tzinfo
from typing import TYPE_CHECKING
from urllib.parse import urlencode

from flask import url_for

from pacs.hl7.journal import Search
from pacs.hl7.states import Direction, MessageState
from pacs.web.period import Period

if TYPE_CHECKING:
    from werkzeug.datastructures import MultiDict

_LONGEST_TEXT = 128
_TYPE = re.compile(r"([A-Za-z][A-Za-z0-9]{2})(?:[\^_ ]?([A-Za-z][0-9]{2}))?")
_ID = re.compile(r"[0-9]{1,18}")
# What are several states to the program is one question to a person.
STATES: dict[str, tuple[MessageState, ...]] = {
    "failed": (MessageState.FAILED,),
    "waiting": (MessageState.WAITING,),
    "refused": (MessageState.REFUSED,),
    "done": (MessageState.DONE,),
    "aside": (MessageState.SKIPPED, MessageState.REPLACED),
}


@dataclass(frozen=True)
class JournalForm:
    """What a person entered, as entered.

    Attributes
    ----------
    type : message type, with or without its event: ORM, ADT^A08.
    first, last : moments in the hospital's time, without zone, both included.
    before : continues the list: messages older than this id.
    """

    q: str = ""
    direction: str = ""
    state: str = ""
    type: str = ""
    peer: str = ""
    period: Period = Period.ANY
    first: datetime | None = None
    last: datetime | None = None
    before: int | None = None

    @classmethod
    def read(cls, values: MultiDict[str, str]) -> JournalForm:
        """Read a query string; what can't be understood counts as not entered."""
        texts = {name: values.get(name, "").strip()[:_LONGEST_TEXT] for name in ("q", "type", "peer")}
        direction, state = values.get("direction", ""), values.get("state", "")
        first, last = _moment(values.get("from", "")), _moment(values.get("to", ""))
        period = Period.read(values.get("period", ""), has_dates=bool(first or last))
        before = values.get("before", "")
        return cls(
            **texts,
            direction=direction if direction in list(Direction) else "",
            state=state if state in STATES else "",
            period=period,
            first=first if period is Period.DATES else None,
            last=last if period is Period.DATES else None,
            before=int(before) if _ID.fullmatch(before) else None,
        )

    def search(self, now: datetime, most: int) -> Search:
        """Return what the journal is asked.

        Parameters
        ----------
        now : in the hospital's time zone.
        """
        kind = _TYPE.fullmatch(self.type)
        since, until = self._span(now)
        return Search(
            text=self.q,
            direction=Direction(self.direction) if self.direction else None,
            # A type that is none finds nothing: better than to show all as if it were of it.
            message_type=(kind[1] if kind else self.type).upper(),
            trigger_event=((kind[2] if kind else "") or "").upper(),
            peer=self.peer or None,
            states=STATES.get(self.state, ()),
            since=since,
            until=until,
            before_id=self.before,
            most=most,
        )

    def address(self, before: int | None = None) -> str:
        """Return the address that repeats this search, from the newest or from older than a message."""
        values = {
            "q": self.q,
            "direction": self.direction,
            "state": self.state,
            "type": self.type,
            "peer": self.peer,
            "period": self.period.value,
            "from": self.first.isoformat(timespec="minutes") if self.first else "",
            "to": self.last.isoformat(timespec="minutes") if self.last else "",
            "before": str(before or ""),
        }
        query = urlencode({name: value for name, value in values.items() if value})
        return url_for("hl7_journal.index") + (f"?{query}" if query else "")

    def in_state(self, state: str) -> str:
        """Return the address of the same search in another state."""
        return replace(self, state=state).address()

    @property
    def is_empty(self) -> bool:
        """Whether nothing narrows the search."""
        return self == JournalForm(before=self.before)

    def _span(self, now: datetime) -> tuple[datetime | None, datetime | None]:
        zone = now.tzinfo
        if days := self.period.days(now.date()):
            return _begin(days[0], zone), _begin(days[1] + timedelta(days=1), zone)
        last = self.last + timedelta(minutes=1) if self.last else None
        return _in_zone(self.first, zone), _in_zone(last, zone)


def _moment(text: str) -> datetime | None:
    try:
        return datetime.fromisoformat(text).replace(tzinfo=None) if text else None
    except ValueError:
        return None


def _begin(day: date, zone: tzinfo | None) -> datetime:
    return datetime.combine(day, time(), zone)


def _in_zone(moment: datetime | None, zone: tzinfo | None) -> datetime | None:
    return moment.replace(tzinfo=zone) if moment else None
