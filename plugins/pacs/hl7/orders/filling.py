"""Rows of a mapping applied to a message: the attributes they give, and an account of each."""

from __future__ import annotations

from collections.abc import Iterable
from dataclasses import replace
from functools import cache

from pydicom import Dataset
from pydicom.datadict import dictionary_VR
from pydicom.tag import BaseTag, Tag

from pacs.hl7.orders.asking import Asking, Circumstances, Taken
from pacs.hl7.orders.composites import join_name, read_item
from pacs.hl7.orders.explanation import Explained, Notice, Unusable
from pacs.hl7.orders.rows import NAME_PARTS, IfBad, Row, TakeAll
from pacs.hl7.orders.scope import Scope, Spot
from pacs.hl7.orders.sources import Source
from pacs.hl7.orders.tables import Table
from pacs.hl7.orders.values import BadValue, convert, read_moment

type Value = str | list[str] | list[Dataset]

# A null in these says nothing: without them nobody knows which entry is meant, or when and by what it is done.
NEVER_DELETED = frozenset(
    {
        "AccessionNumber",
        "Modality",
        "RequestedProcedureID",
        "ScheduledProcedureStepID",
        "ScheduledProcedureStepStartDate",
        "StudyInstanceUID",
    }
)
_START = ("ScheduledProcedureStepStartDate", "ScheduledProcedureStepStartTime")
_ZONE = "TimezoneOffsetFromUTC"
_MIDNIGHT = "000000"


class Filling:
    """Fills attributes row by row; a row may use what the rows above it found.

    Attributes
    ----------
    values : by keyword; "" for an attribute that is to be deleted.
    supposed : attributes that no field of the message gave.
    """

    def __init__(self, scope: Scope, tables: dict[str, Table], circumstances: Circumstances) -> None:
        self._tables = tables
        self._circumstances = circumstances
        self.values: dict[str, Value] = {}
        self.supposed: set[str] = set()
        self.explained: list[Explained] = []
        self.notices: list[Notice] = []
        self.faults: list[Unusable] = []
        self._asking = Asking(scope, tables, circumstances, self.text, self.notices)

    def fill(self, rows: Iterable[Row]) -> None:
        """Apply `rows` in their order. Nothing is raised: what can't be used is in `faults`."""
        for row in rows:
            if row.parts:
                self._fill_name(row)
            elif row.vr == "SQ":
                self._fill_items(row)
            elif row.take_all:
                self._fill_all(row)
            else:
                self._fill_first(row)

    def put(self, explained: Explained, value: Value) -> None:
        """Set an attribute that no row fills."""
        self.values[explained.keyword] = value
        self.explained.append(explained)

    def continued(self, scope: Scope) -> Filling:
        """Return a filling that goes on from this one with what another part of the message says."""
        other = Filling(scope, self._tables, self._circumstances)
        other.values |= self.values
        other.supposed |= self.supposed
        other.explained += self.explained
        other.notices += self.notices
        other.faults += self.faults
        return other

    def has_fault_of(self, keyword: str) -> bool:
        """Tell whether an attribute could not be filled because of a bad value."""
        return any(fault.keyword == keyword for fault in self.faults)

    # -- one row -------------------------------------------------------------------------------------------------------

    def _fill_first(self, row: Row) -> None:
        for source in row.sources:
            for taken in self._asking.values(source, row):
                if not taken.text and row.keyword in NEVER_DELETED:
                    continue
                self._set(row, taken)
                return

    def _set(self, row: Row, taken: Taken) -> None:
        """Convert and set one value. A bad one counts, too: the next source must not hide it."""
        try:
            if len(row.keywords) > 1:
                self._set_moment(row, taken)
            else:
                converted = convert(taken.text, row.vr)
                self._explain(row.keyword, converted.text, row, taken, converted.notice)
                self.values[row.keyword] = converted.text
        except BadValue as error:
            self._bad(row, taken, error)
            return
        if not taken.source.is_field or taken.source.is_guess:
            self.supposed |= set(row.keywords)

    def _set_moment(self, row: Row, taken: Taken) -> None:
        moment = read_moment(taken.text) if taken.text else None
        if moment and row.keywords == _START:
            # Modalities ask for the day and hour of the hospital.
            here = moment.at(self._circumstances.received_at.tzinfo)
            if here != moment:
                note = f'"{taken.text}" is {here.date} {here.time} in the hospital'
                moment, taken = here, replace(taken, note="; ".join(filter(None, (taken.note, note))))
        date, time = (moment.date, moment.time) if moment else ("", "")
        notice = ""
        if row.keywords == _START and not time:
            time, notice = _MIDNIGHT, "no time of day is said"
            self.supposed.add(row.keywords[1])
        for keyword, text in zip(row.keywords, (date, time), strict=True):
            if text or not moment:
                self._explain(keyword, text, row, taken, notice if keyword == row.keywords[1] else "")
                self.values[keyword] = text
        if moment and moment.zone and row.keywords == _START:
            self._explain(_ZONE, moment.zone, row, taken, "")
            self.values[_ZONE] = moment.zone

    def _fill_all(self, row: Row) -> None:
        texts: list[str] = []
        last: Taken | None = None
        for source in row.sources:
            for taken in self._asking.values(source, row, every=True):
                try:
                    converted = convert(taken.text, row.vr)
                except BadValue as error:
                    self._bad(row, taken, error)
                    continue
                self._note(taken, converted.notice)
                if converted.text not in texts:
                    texts.append(converted.text)
                    last = taken
        if last is not None:
            self._set_all(row, texts, last)

    def _set_all(self, row: Row, texts: list[str], last: Taken) -> None:
        kept = [text for text in texts if text]
        if row.take_all is TakeAll.LINES:
            self._set(row, replace(last, text="\r\n".join(kept)))
        else:
            self._explain(row.keyword, "\\".join(kept), row, last, "")
            self.values[row.keyword] = kept or ""

    def _fill_name(self, row: Row) -> None:
        found: dict[str, Taken] = {}
        for part, sources in row.parts.items():
            taken = next((taken for source in sources for taken in self._asking.values(source, row)), None)
            if taken is not None:
                found[part] = taken
        if not found:
            return
        first = next(iter(found.values()))
        name = join_name([found[part].text if part in found else "" for part in NAME_PARTS])
        self._set(row, replace(first, text=name.text, note=name.notice))

    def _fill_items(self, row: Row) -> None:
        items: list[Dataset] = []
        for source in row.sources:
            for spot in self._asking.spots(source, every=row.take_all is not None):
                if spot.is_null:
                    self.values[row.keyword] = ""
                    return
                item = self._item(row, spot, source)
                if item is not None:
                    items.append(item)
                    self._explain(row.keyword, _shown(item), row, Taken("", spot, source), "")
            if items and not row.take_all:
                break
        if items:
            self.values[row.keyword] = items if row.take_all else items[:1]

    def _item(self, row: Row, spot: Spot, source: Source) -> Dataset | None:
        assert row.field_type is not None  # noqa: S101 checked where mappings are read
        try:
            item = read_item(spot, row.field_type)
        except BadValue as error:
            self._bad(row, Taken("", spot, source), error)
            return None
        for notice in item.notices if item else ():
            self.notices.append(Notice(spot.place, f"{row.keyword}: {notice}"))
        return item.dataset if item else None

    # -- the account ---------------------------------------------------------------------------------------------------

    def text(self, keyword: str) -> str:
        """Return what was found for an attribute as text, "" for nothing."""
        value = self.values.get(keyword, "")
        return value if isinstance(value, str) else _shown_items(value)

    def _explain(self, keyword: str, value: str, row: Row, taken: Taken, notice: str) -> None:
        place = taken.place
        note = "; ".join(filter(None, (taken.note, notice)))
        self.explained.append(Explained(keyword, value, place, taken.source.text, row.place, note))
        self._note(taken, notice)

    def _note(self, taken: Taken, notice: str) -> None:
        if notice:
            self.notices.append(Notice(taken.place, notice))

    def _bad(self, row: Row, taken: Taken, error: BadValue) -> None:
        """Do with a bad value what the row says."""
        place = taken.place
        if row.if_bad is IfBad.REFUSE:
            location = taken.spot.location if taken.spot else ""
            self.faults.append(Unusable(location, f"{row.name}: {error}", keyword=row.keyword))
        elif row.if_bad is IfBad.SHORTEN and error.shortened is not None:
            self.notices.append(Notice(place, f"{row.name}: {error}; it was shortened"))
            self.values[row.keyword] = error.shortened
            source, note = taken.source.text, "; ".join(filter(None, (taken.note, "shortened")))
            self.explained.append(Explained(row.keyword, error.shortened, place, source, row.place, note))
        else:
            self.notices.append(Notice(place, f"{row.name}: {error}; it was left out"))


def _shown(item: Dataset) -> str:
    """Return the values of an item on one line."""
    return " ".join(str(element.value) for element in item.iterall() if element.VR != "SQ")


def _shown_items(items: list[str] | list[Dataset]) -> str:
    return " / ".join(_shown(item) if isinstance(item, Dataset) else item for item in items)


def dataset_of(values: dict[str, Value], keywords: Iterable[str]) -> Dataset:
    """Return the attributes of `values` that are among `keywords` as a data set."""
    dataset = Dataset()
    for keyword in keywords:
        if keyword in values:
            tag, vr = _tag_and_vr(keyword)
            dataset.add_new(tag, vr, _dicom_value(values[keyword], vr))
    return dataset


@cache
def _tag_and_vr(keyword: str) -> tuple[BaseTag, str]:
    return Tag(keyword), dictionary_VR(keyword)


def _dicom_value(value: Value, vr: str) -> Value | int | None:
    if value == "":
        return [] if vr == "SQ" else None
    return int(value) if vr == "US" and isinstance(value, str) else value
