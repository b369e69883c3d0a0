"""The search form of the Studies page: what its fields hold, what they mean, and the address that repeats a search."""

from __future__ import annotations

import re
from dataclasses import dataclass
from datetime import date
from typing import TYPE_CHECKING
from urllib.parse import urlencode

from flask import url_for

from pacs.web.formatting import dicom_date
from pacs.web.period import Period

if TYPE_CHECKING:
    from werkzeug.datastructures import MultiDict

_LONGEST_TEXT = 128
_MODALITY = re.compile(r"[A-Z0-9_]{1,16}")
_MOST_PAGES = 100_000
_TEXT_FIELDS = ("q", "name", "id", "accession", "description")


@dataclass(frozen=True)
class StudyForm:
    """What a person entered, as entered.

    Attributes
    ----------
    q : one text for name, ID or accession number.
    page : 1 for the first.
    """

    q: str = ""
    name: str = ""
    id: str = ""
    accession: str = ""
    description: str = ""
    period: Period = Period.ANY
    first: date | None = None
    last: date | None = None
    modalities: tuple[str, ...] = ()
    page: int = 1

    @classmethod
    def read(cls, values: MultiDict[str, str]) -> StudyForm:
        """Read a query string; what can't be understood counts as not entered."""
        texts = {field: values.get(field, "").strip()[:_LONGEST_TEXT] for field in _TEXT_FIELDS}
        first, last = dicom_date(values.get("from", "")), dicom_date(values.get("to", ""))
        period = Period.read(values.get("period", ""), has_dates=bool(first or last))
        page = values.get("page", "")
        return cls(
            **texts,
            period=period,
            first=first if period is Period.DATES else None,
            last=last if period is Period.DATES else None,
            modalities=tuple(sorted(filter(_MODALITY.fullmatch, set(values.getlist("modality"))))),
            page=min(max(int(page), 1), _MOST_PAGES) if page.isascii() and page.isdigit() else 1,
        )

    def dates(self, today: date) -> tuple[date | None, date | None]:
        """Return the first and last day searched, both included, None for an open end."""
        if days := self.period.days(today):
            return days
        if self.first and self.last and self.first > self.last:
            return self.last, self.first
        return self.first, self.last

    def parameters(self, page: int = 1) -> dict[str, str | list[str]]:
        """Return the query string's parameters that repeat this search at a page, empty fields left out."""
        values: dict[str, str | list[str]] = {field: getattr(self, field) for field in _TEXT_FIELDS}
        values |= {
            "period": self.period.value,
            "from": self.first.isoformat() if self.first else "",
            "to": self.last.isoformat() if self.last else "",
            "modality": list(self.modalities),
            "page": str(page) if page > 1 else "",
        }
        return {name: value for name, value in values.items() if value}

    def address(self, page: int = 1) -> str:
        """Return the address that repeats this search at a page."""
        query = urlencode(self.parameters(page), doseq=True)
        return url_for("studies.index") + (f"?{query}" if query else "")

    @property
    def is_empty(self) -> bool:
        """Whether nothing narrows the search."""
        return not self.parameters()

    @property
    def uses_more_fields(self) -> bool:
        """Whether a field beyond the one box is in use."""
        return bool(self.name or self.id or self.accession or self.description)
