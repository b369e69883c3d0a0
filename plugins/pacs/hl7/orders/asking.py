"""Sources of a mapping asked for their values."""

from __future__ import annotations

import uuid
from collections.abc import Callable, Iterator, Sequence
from dataclasses import dataclass, replace
from datetime import datetime

from pacs.hl7.orders.composites import read_name
from pacs.hl7.orders.explanation import Notice
from pacs.hl7.orders.rows import Row
from pacs.hl7.orders.scope import Scope, Spot
from pacs.hl7.orders.sources import AttributeTerm, ConstantTerm, FieldTerm, NowTerm, Source, Term, UidTerm
from pacs.hl7.orders.tables import Table
from pacs.hl7.orders.values import Converted

# Any fixed one will do; never changed, for the UIDs made with it are in studies.
_UID_NAMESPACE = uuid.UUID("6f0a7c7e-4f1d-5a52-9b0e-2f5f5c1f7f10")
ISSUER = "IssuerOfAccessionNumberSequence"

type _Text = tuple[Converted, Spot | None]


@dataclass(frozen=True)
class Circumstances:
    """What a mapping may use beside the message.

    Parameters
    ----------
    received_at : when the message came, in the hospital's time zone.
    site : name that makes derived UIDs those of this hospital.
    """

    received_at: datetime
    site: str


@dataclass(frozen=True)
class Taken:
    """A value on its way: the text ("" for HL7's null), where it stood, and what was done with it."""

    text: str
    spot: Spot | None
    source: Source
    note: str = ""

    @property
    def place(self) -> str:
        """Where it stood, "" for nowhere in the message."""
        return self.spot.place if self.spot else ""


class Asking:
    """Asks sources for values.

    Parameters
    ----------
    found : tells what was found for another attribute, "" for nothing.
    notices : gets the words that a table does not have.
    """

    def __init__(
        self,
        scope: Scope,
        tables: dict[str, Table],
        circumstances: Circumstances,
        found: Callable[[str], str],
        notices: list[Notice],
    ) -> None:
        self._scope = scope
        self._tables = tables
        self._circumstances = circumstances
        self._found = found
        self._notices = notices

    def values(self, source: Source, row: Row, *, every: bool = False) -> Iterator[Taken]:
        """Yield what a source gives: one value, or with `every` all of them, after the row's table."""
        if not self._may_give(source):
            return
        for texts, spot in self._texts(source, row, every=every):
            joined = " ".join(filter(None, (text.text for text in texts)))
            notes = dict.fromkeys(text.notice for text in texts if text.notice)
            taken = Taken(joined, spot, source, "; ".join(notes))
            if not row.table:
                yield taken
            elif (looked_up := self._look_up(row.table, taken)) is not None:
                yield looked_up

    def spots(self, source: Source, *, every: bool = False) -> Iterator[Spot]:
        """Yield the places that a source of a sequence means."""
        term = source.terms[0]
        if isinstance(term, FieldTerm) and self._scope.says(term):
            yield from self._scope.spots(term, every=every)

    def _may_give(self, source: Source) -> bool:
        return any(not isinstance(term, FieldTerm) or self._scope.says(term) for term in source.terms)

    def _texts(self, source: Source, row: Row, *, every: bool) -> Iterator[tuple[Sequence[Converted], Spot | None]]:
        if len(source.terms) == 1:
            for text, spot in self._term_texts(source.terms[0], row, every=every):
                yield [text], spot
            return
        found = [next(self._term_texts(term, row, every=False), None) for term in source.terms]
        given = [each for each in found if each is not None]
        if given:
            yield [text for text, _ in given], given[0][1]

    def _term_texts(self, term: Term, row: Row, *, every: bool) -> Iterator[_Text]:
        if isinstance(term, FieldTerm):
            for spot in self._scope.spots(term, every=every):
                text = read_name(spot, row.field_type) if row.field_type else _plain(spot, term)
                if text is not None:
                    yield text, spot
                    if not every:
                        return
        elif (supposed := self._supposed(term)) is not None:
            yield Converted(supposed), None

    def _supposed(self, term: Term) -> str | None:
        match term:
            case ConstantTerm(text):
                return text
            case AttributeTerm(keyword):
                return self._found(keyword) or None
            case UidTerm(keyword):
                return self._uid(self._found(keyword))
            case NowTerm():
                return self._circumstances.received_at.strftime("%Y%m%d%H%M%S")
        return None

    def _uid(self, of: str) -> str | None:
        """Return a UID that is the same whenever site, issuer and `of` are (PS3.5 annex B.2)."""
        if not of:
            return None
        words = f"{self._circumstances.site}\x1f{self._found(ISSUER)}\x1f{of}"
        return f"2.25.{uuid.uuid5(_UID_NAMESPACE, words).int}"

    def _look_up(self, table: str, taken: Taken) -> Taken | None:
        if not taken.text:
            return taken
        value = self._tables[table].look_up(taken.text)
        if value is None:
            if not taken.source.is_guess:
                place = taken.place or taken.source.text
                self._notices.append(Notice(place, f'"{taken.text}" is not in the table "{table}"'))
            return None
        note = "" if value == taken.text else f'"{taken.text}" is "{value}" in the table "{table}"'
        return replace(taken, text=value, note=note)


def _plain(spot: Spot, term: FieldTerm) -> Converted | None:
    text = spot.text()
    if text is not None and term.first_word:
        text = next(iter(text.split()), None)
    return None if text is None else Converted(text)
