"""What pages ask of the table."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from datetime import date
from typing import cast

from sqlalchemy import ColumnElement, Select, Table, and_, bindparam, not_, or_, select
from sqlalchemy.orm import Session

from pacs.errors import NotFound
from pacs.monitoring.identity import PATIENT_PREFIX
from pacs.studies.names import contains_words, typed_words
from pacs.worklist.models import StepHistoryRecord, StepRecord
from pacs.worklist.rows import event_of, row_from, row_of
from pacs.worklist.statuses import StepStatus
from pacs.worklist.steps import StepDetails, StepRow, StepSelector

_LAST = "235959"
_ORDER_NUMBERS = ("accession_number", "placer_order_number", "filler_order_number")
# Made once, and without the object-relational part: every order asks it.
_steps = cast("Table", StepRecord.__table__)
_OF_ORDER = (
    select(_steps)
    .where(or_(*(_steps.c[name] == bindparam(name) for name in _ORDER_NUMBERS)))
    .order_by(_steps.c.start_key, _steps.c.id)
)


@dataclass(frozen=True)
class Wanted:
    """What narrows a page; see `Worklist.page`."""

    day: date | None
    modality: str
    location: str
    text: str
    status: StepStatus | None


def page(session: Session, wanted: Wanted, *, offset: int, limit: int) -> list[StepRow]:
    """See `Worklist.page`."""
    statement = _first_first(select(StepRecord).where(*_conditions(wanted)))
    return [row_of(record) for record in session.scalars(statement.offset(offset).limit(limit))]


def locations(session: Session, day: date) -> list[tuple[str, str]]:
    """See `Worklist.locations`."""
    statement = select(StepRecord.modality, StepRecord.location).where(of_day(day)).distinct()
    return sorted((modality, location) for modality, location in session.execute(statement))


def select_steps(session: Session, which: Sequence[StepSelector]) -> list[StepRow]:
    """See `Worklist.select`."""
    named = [and_(*(getattr(StepRecord, name) == value for name, value in one.given().items())) for one in which]
    if not named:
        return []
    return [row_of(record) for record in session.scalars(_first_first(select(StepRecord).where(or_(*named))))]


def of_order(session: Session, numbers: Mapping[str, str]) -> list[StepRow]:
    """See `Worklist.of_order`."""
    # Nothing is equal to NULL, while "" is what many steps have.
    given = {name: numbers.get(name) or None for name in _ORDER_NUMBERS}
    session.flush()
    return [row_from(row) for row in session.connection().execute(_OF_ORDER, given).mappings()]


def details(session: Session, row_id: int) -> StepDetails:
    """See `Worklist.get`."""
    record = session.get(StepRecord, row_id)
    if record is None:
        raise NotFound(f"The worklist has no step {row_id}.")
    statement = select(StepHistoryRecord).where(StepHistoryRecord.step_row_id == row_id)
    events = session.scalars(statement.order_by(StepHistoryRecord.id))
    return StepDetails(row_of(record), tuple(event_of(event) for event in events))


def of_day(day: date) -> ColumnElement[bool]:
    """Return the condition that a step starts on `day`, as a range of the index."""
    return (StepRecord.start_key >= f"{day.year:04}{day:%m%d}") & (
        StepRecord.start_key <= f"{day.year:04}{day:%m%d}{_LAST}"
    )


def _conditions(wanted: Wanted) -> list[ColumnElement[bool]]:
    # The golden signal's entry comes and goes within seconds: nobody is to wonder who that was.
    conditions = [not_(StepRecord.patient_id.startswith(PATIENT_PREFIX)), *([of_day(wanted.day)] if wanted.day else [])]
    for column, value in (
        (StepRecord.modality, wanted.modality),
        (StepRecord.location, wanted.location),
        (StepRecord.status, wanted.status),
    ):
        if value:
            conditions.append(column == value)
    return conditions + [StepRecord.words_key.like(pattern) for pattern in contains_words(typed_words(wanted.text))]


def _first_first(statement: Select[StepRecord]) -> Select[StepRecord]:
    return statement.order_by(StepRecord.start_key, StepRecord.id)
