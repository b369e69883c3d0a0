"""One instance, attribute by attribute, at every depth."""

from __future__ import annotations

from collections.abc import Callable, Mapping
from dataclasses import dataclass

from pydicom.dataelem import DataElement
from pydicom.dataset import Dataset

from pacs.deidentify import dates, structures
from pacs.deidentify.changes import Change, Done
from pacs.deidentify.charsets import Charset
from pacs.deidentify.keys import Keys
from pacs.deidentify.lawful import has_terms, is_lawful
from pacs.deidentify.plan import Action, Rule
from pacs.deidentify.private import PrivateBlocks
from pacs.deidentify.project import Project
from pacs.deidentify.subject import Subject
from pacs.deidentify.traces import Traces
from pacs.deidentify.values import BULK_VRS, Element, aged, ascii_values, dummy, even, items_of, put
from pacs.deidentify.words import only_allowed

PRIVATE_BIT = 0x10000
# Larger ones are tables of colors, curves and the like.
_LARGEST_SEARCHED_BYTES = 1 << 16
_NUMBERS = frozenset({"DS", "IS"})
_TEXT_VRS = frozenset({"AE", "CS", "DS", "IS", "LO", "LT", "PN", "SH", "ST", "UC", "UN", "UR", "UT"})
_PATIENT_AGE = 0x00101010
_PIXEL_GROUP = 0x7FE0
_REMOVED = Rule(Action.REMOVE, Action.REMOVE, "")
type Overrides = Mapping[int, Rule]


# Dates move by whole days: times stay as they are, if they are any.
_SHIFTS: dict[str, Callable[[str, int], str | None]] = {
    "DA": dates.shifted_date,
    "DT": dates.shifted_date_time,
    "TM": lambda text, _days: dates.time_of_day(text),
    "SH": lambda text, _days: dates.offset_from_utc(text),
}


@dataclass(frozen=True, slots=True)
class At:
    """An element, where it stands, and what is done with it.

    Attributes
    ----------
    place : of the dataset: "" or, of an item, `0040A730[2].`.
    """

    dataset: Dataset
    element: Element
    rule: Rule
    place: str
    charset: Charset

    @property
    def vr(self) -> str:
        """The standard's VR, or the file's where the standard has none."""
        return self.rule.vr or self.element.VR or "UN"

    def within(self, number: int) -> str:
        """Return the place of an item of it, counted from 1."""
        return f"{self.place}{self.element.tag:08X}[{number}]."


class Treatment:
    """The de-identification of one instance. Changes the dataset in place; used once, in one thread.

    Attributes
    ----------
    changes : what was done, in the order in which it was done.
    """

    def __init__(self, project: Project, keys: Keys, subject: Subject) -> None:
        self.changes: list[Change] = []
        self.plan = project.plan
        self.uid: Callable[[str], str] = keys.uid
        self._project = project
        self._subject = subject
        self._traces = Traces()
        self._kept: list[At] = []
        self._by_action: dict[Action, Callable[[At], None]] = {
            Action.REMOVE: self._remove,
            Action.EMPTY: self._empty,
            Action.DUMMY: self._dummy,
            Action.UID: self._remap,
            Action.WORDS: self._clean_words,
            Action.SHIFT: self._shift,
            Action.KEEP: self._keep,
        }

    def run(self, dataset: Dataset) -> None:
        """Treat an instance whole."""
        self._gather(dataset, Charset.of(dataset))
        self._traces.finish()
        self._treat(dataset, "", Charset.of(dataset))
        self._search_what_stays()

    def _treat(self, dataset: Dataset, place: str, charset: Charset, overrides: Overrides | None = None) -> None:
        """Treat a dataset and all below it.

        Parameters
        ----------
        place : of the dataset: "" or, of an item, `0040A730[2].`.
        overrides : rules that hold for this dataset alone.
        """
        blocks = PrivateBlocks(self._project.safe_elements, self.plan)
        for element in list(dataset.elements()):
            if element.tag & PRIVATE_BIT:
                rule = blocks.rule(element)
            elif place and element.tag >> 16 == _PIXEL_GROUP:
                # Pictures within sequences, thumbnails of the unmasked image among them (table E.1-1, note 11).
                rule = _REMOVED
            else:
                rule = (overrides and overrides.get(element.tag)) or self.plan.rule(element.tag)
            self._apply(At(dataset, element, rule, place, charset))
        for tag in blocks.unused_creators():
            del dataset[tag]
            self._change(place, tag, Done.REMOVED)

    def _apply(self, at: At) -> None:
        if at.element.VR != "SQ" and at.rule.vr != "SQ":
            self._by_action[at.rule.action](at)
        elif at.rule.vr not in ("SQ", "") or at.rule.action is Action.REMOVE:
            self._remove(at)
        else:
            self._sequence(at)

    def _sequence(self, at: At) -> None:
        items = items_of(at.dataset, at.element)
        if items is None:
            self._remove(at)
        elif at.rule.action is Action.EMPTY:
            self._put_items(at, [], Done.EMPTIED)
        elif at.rule.action is Action.DUMMY:
            self._put_items(at, structures.dummies(items, at.element.tag, self), Done.REPLACED)
        elif at.rule.action is Action.STRUCTURE:
            self._clean_structure(at, items)
        elif at.rule.action is Action.CODES:
            public = structures.without_local_codes(items)
            if len(public) < len(items):
                self._put_items(at, public, Done.CLEANED)
            self._enter(at, public)
        else:
            self._enter(at, items)

    def _enter(self, at: At, items: list[Dataset]) -> None:
        """Treat the items of a sequence that stays."""
        for number, item in enumerate(items, start=1):
            self._treat(item, at.within(number), at.charset.within(item))

    def _clean_structure(self, at: At, items: list[Dataset]) -> None:
        """Look through content items, each by a rule for its value."""
        kept = []
        for number, item in enumerate(items, start=1):
            tag, rule = structures.rule_of(item, self.plan)
            if rule.action is Action.REMOVE:
                self._change(at.within(number), tag or at.element.tag, Done.REMOVED)
            else:
                self._treat(item, at.within(number), at.charset.within(item), {tag: rule})
                kept.append(item)
        if len(kept) < len(items):
            kept = kept or structures.dummies(items, at.element.tag, self)
            at.dataset[at.element.tag] = DataElement(at.element.tag, "SQ", kept)

    def _change(self, place: str, tag: int, done: Done) -> None:
        self.changes.append(Change(f"{place}{tag:08X}", done))

    def _remove(self, at: At) -> None:
        del at.dataset[at.element.tag]
        self._change(at.place, at.element.tag, Done.REMOVED)

    def _otherwise(self, at: At) -> None:
        action = at.rule.otherwise if at.rule.otherwise is not at.rule.action else Action.REMOVE
        self._by_action[action](at)

    def _empty(self, at: At) -> None:
        self._put(at, b"", Done.EMPTIED)

    def _dummy(self, at: At) -> None:
        if at.rule.vr == "UI":
            self._remap(at)
        elif at.element.is_empty if isinstance(at.element, DataElement) else not at.element.value:
            self._put(at, b"", Done.EMPTIED)
        else:
            self._put(at, dummy(at.vr), Done.REPLACED)

    def _remap(self, at: At) -> None:
        value = "\\".join(part and self.uid(part) for part in ascii_values(at.element)).encode("ascii")
        self._put(at, value + bytes(len(value) % 2), Done.REMAPPED)

    def _shift(self, at: At) -> None:
        shift = _SHIFTS.get(at.vr, _no_date)
        values = ascii_values(at.element)
        moved = [shift(value, self._subject.shift_days) if value else "" for value in values]
        if None in moved:
            self._otherwise(at)
        elif moved != values:
            self._put(at, even("\\".join(filter(None, moved))), Done.SHIFTED)

    def _clean_words(self, at: At) -> None:
        text = at.charset.text(at.element).strip(" \0")
        cleaned = only_allowed(text, self._project.words, self._traces.words)
        if text and not cleaned:
            self._otherwise(at)
        elif cleaned != text:
            self._put(at, at.charset.encoded(cleaned), Done.CLEANED)

    def _keep(self, at: At) -> None:
        vr = at.vr
        if not is_lawful(vr, at.element):
            self._put(at, b"", Done.UNLAWFUL)
        elif (vr in _TEXT_VRS or vr in BULK_VRS) and not has_terms(at.element.tag):
            self._kept.append(at)
        elif at.element.tag == _PATIENT_AGE:
            limited = aged(ascii_values(at.element)[0], self._project.oldest_age_years)
            if limited:
                self._put(at, even(limited), Done.REPLACED)

    def _put(self, at: At, value: bytes, done: Done) -> None:
        put(at.dataset, at.element, at.rule.vr, value)
        self._change(at.place, at.element.tag, done)

    def _put_items(self, at: At, items: list[Dataset], done: Done) -> None:
        at.dataset[at.element.tag] = DataElement(at.element.tag, "SQ", items)
        self._change(at.place, at.element.tag, done)

    def _gather(self, dataset: Dataset, charset: Charset) -> None:
        """Note what must not be said, in the whole instance, before anything is taken away."""
        self._traces.gather(dataset, self.plan, charset.text)
        for element in list(dataset.elements()):
            if element.VR == "SQ" or (not element.tag & PRIVATE_BIT and self.plan.rule(element.tag).vr == "SQ"):
                for item in items_of(dataset, element) or ():
                    self._gather(item, charset.within(item))

    def holds_trace(self, text: str) -> bool:
        """Tell whether a text holds something that is taken away elsewhere."""
        return self._traces.is_in(text)

    def _search_what_stays(self) -> None:
        """Empty what stays and holds something that was taken away: all is searched at once, for it is rarely so."""
        for is_number in (False, True):
            kept = [(at, _searched(at)) for at in self._kept if (at.vr in _NUMBERS) is is_number]
            if self._traces.is_in("\n".join(text for _, text in kept), is_number=is_number):
                for at, text in kept:
                    if self._traces.is_in(text, is_number=is_number):
                        self._put(at, b"", Done.TRACED)


def _searched(at: At) -> str:
    value = at.element.value
    if isinstance(value, bytes) and len(value) > _LARGEST_SEARCHED_BYTES:
        return ""
    return Charset.any_text(value) if isinstance(value, bytes) and at.vr in BULK_VRS else at.charset.text(at.element)


def _no_date(_text: str, _days: int) -> None:
    return None
