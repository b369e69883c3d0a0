"""The search form of the Worklist page: which day, which modality and room, and the address that repeats it."""

from __future__ import annotations

import re
from dataclasses import dataclass, replace
from datetime import date, timedelta
from typing import TYPE_CHECKING
from urllib.parse import urlencode

from flask import url_for

from pacs.web.formatting import dicom_date
from pacs.worklist.statuses import StepStatus

if TYPE_CHECKING:
    from werkzeug.datastructures import MultiDict

_LONGEST_TEXT = 128
_MODALITY = re.compile(r"[A-Z0-9_ ]{1,16}")
_FIRST_DAY, _LAST_DAY = date(1900, 1, 1), date(9999, 12, 30)


@dataclass(frozen=True)
class WorklistForm:
    """What a person asked for.

    Attributes
    ----------
    q : words of name, patient ID or accession number.
    status : None for all.
    """

    today: date
    day: date
    q: str = ""
    modality: str = ""
    room: str = ""
    status: StepStatus | None = None

    @classmethod
    def read(cls, values: MultiDict[str, str], today: date) -> WorklistForm:
        """Read a query string; what can't be understood counts as not entered."""
        day = dicom_date(values.get("day", "")) or today
        modality, status = values.get("modality", ""), values.get("status", "")
        return cls(
            today=today,
            day=min(max(day, _FIRST_DAY), _LAST_DAY),
            q=values.get("q", "").strip()[:_LONGEST_TEXT],
            modality=modality if _MODALITY.fullmatch(modality) else "",
            room=values.get("room", "").strip()[:_LONGEST_TEXT],
            status=StepStatus(status) if status in list(StepStatus) else None,
        )

    def address(self, days: int = 0) -> str:
        """Return the address that repeats this, some days on."""
        day = self.day + timedelta(days=days)
        parameters = {
            "day": day.isoformat() if day != self.today else "",
            "q": self.q,
            "modality": self.modality,
            "room": self.room,
            "status": self.status or "",
        }
        query = urlencode({name: value for name, value in parameters.items() if value})
        return url_for("worklist.index") + (f"?{query}" if query else "")

    @property
    def on_today(self) -> WorklistForm:
        """The same of today."""
        return replace(self, day=self.today)

    @property
    def narrows(self) -> bool:
        """Whether anything but the day narrows the list."""
        return bool(self.q or self.modality or self.room or self.status)
