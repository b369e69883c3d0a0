"""Search in the study index: what is asked for, and a page of answers."""

from __future__ import annotations

from collections.abc import Collection, Sequence
from dataclasses import dataclass
from datetime import date, datetime, time, timedelta

from sqlalchemy import ColumnElement, RowMapping, Select, func, or_, select
from sqlalchemy.orm import InstrumentedAttribute, Session

from pacs.errors import InvalidInput
from pacs.studies.dicom_values import newest_first_key, parted
from pacs.studies.models import StudyRecord
from pacs.studies.names import contains_words, fold, typed_words

# A search counts up to here. Nobody turns 200 pages; a person narrows the search.
MOST_COUNTED = 10_000
MOST_ROWS = 1000
_ESCAPE = "\\"
_LONGEST_MODALITY = 16


@dataclass(frozen=True, kw_only=True)
class StudyQuery:
    """What someone searches for. Empty fields don't narrow; all others must be met.

    Parameters
    ----------
    text : words that each begin a word of the name, the patient ID or the accession number.
    patient_name : words that each begin a word of the name, in any order, without regard to accents.
    patient_id, accession_number : the whole value without regard to case; * stands for any characters, ? for one.
    description : words that each begin a word of StudyDescription.
    date_from, date_to : study dates, both included; None for an open end.
    modalities : at least one of them is in the study.
    received_since : aware.
    is_stable : None for both.
    offset, limit : how many studies to skip and how many to return.

    Raises
    ------
    InvalidInput : dates in the wrong order, a modality that can't be one, paging out of range.
    """

    text: str = ""
    patient_name: str = ""
    patient_id: str = ""
    accession_number: str = ""
    description: str = ""
    date_from: date | None = None
    date_to: date | None = None
    modalities: tuple[str, ...] = ()
    received_since: datetime | None = None
    is_stable: bool | None = None
    offset: int = 0
    limit: int = 50

    def __post_init__(self) -> None:
        if self.date_from and self.date_to and self.date_from > self.date_to:
            raise InvalidInput(
                f"The search begins on {self.date_from} and ends before that, on {self.date_to}.",
                remedy="Exchange the two dates.",
            )
        if self.offset < 0 or not 0 < self.limit <= MOST_ROWS:
            raise InvalidInput(
                f"Studies {self.offset} to {self.offset + self.limit} were asked for.",
                remedy=f"Expected an offset of 0 or more and 1 to {MOST_ROWS} studies at once.",
            )
        for modality in self.modalities:
            if not modality.replace("_", "").isalnum() or len(modality) > _LONGEST_MODALITY:
                raise InvalidInput(f"{modality!r} is no modality.", remedy="Expected a code such as CT, MR or US.")
        if self.received_since and self.received_since.tzinfo is None:
            raise InvalidInput("The moment of reception has no time zone.", remedy="Add one, for example +00:00.")


@dataclass(frozen=True)
class StudyRow:
    """A study in a list. Names and times as in `models.StudyRecord`."""

    orthanc_study_id: str
    study_instance_uid: str
    patient_name: str
    patient_id: str
    issuer_of_patient_id: str
    patient_birth_date: date | None
    patient_sex: str
    accession_number: str
    study_date: date | None
    study_time: time | None
    description: str
    referring_physician: str
    institution: str
    station_name: str
    remote_aet: str
    series_count: int
    instance_count: int
    size_bytes: int | None
    received_at: datetime
    last_update_at: datetime
    is_stable: bool
    modalities: tuple[str, ...]
    body_parts: tuple[str, ...]


@dataclass(frozen=True)
class StudyPage:
    """A part of what was found.

    Attributes
    ----------
    total : how many studies were found; `MOST_COUNTED` when there are more and `total_is_exact` is False.
    page, pages : which page this is and how many there are, from 1.
    """

    studies: tuple[StudyRow, ...]
    total: int
    total_is_exact: bool
    page: int
    pages: int


def search(session: Session, query: StudyQuery) -> StudyPage:
    """Return a page of the studies that `query` describes, newest study date first, the undated last."""
    conditions = _conditions(query)
    ids, total, is_exact = _narrowed(session, query, conditions) if conditions else _whole(session, query)
    return StudyPage(
        studies=_rows(session, ids),
        total=total,
        total_is_exact=is_exact,
        page=query.offset // query.limit + 1,
        pages=max(-(-total // query.limit), 1),
    )


def find_study(session: Session, orthanc_study_id: str) -> StudyRow | None:
    """Return a study by Orthanc's identifier, None when the index does not have it."""
    return find_studies(session, [orthanc_study_id]).get(orthanc_study_id)


def find_studies(session: Session, orthanc_study_ids: Collection[str]) -> dict[str, StudyRow]:
    """Return studies by Orthanc's identifier, a page of them at most, without those that the index does not have."""
    statement = select(*_COLUMNS).where(StudyRecord.orthanc_study_id.in_(list(orthanc_study_ids)))
    return {found["orthanc_study_id"]: _row(found) for found in session.execute(statement).mappings()}


def _narrowed(
    session: Session, query: StudyQuery, conditions: list[ColumnElement[bool]]
) -> tuple[Sequence[int], int, bool]:
    """Return the page's ids, the total, and whether that is exact.

    One walk in the list's order finds the page and counts: along an index that has all that is compared.
    """
    found = session.scalars(_newest_first(select(StudyRecord.id).where(*conditions)).limit(MOST_COUNTED + 1)).all()
    total = min(len(found), MOST_COUNTED)
    return found[query.offset : min(query.offset + query.limit, total)], total, len(found) <= MOST_COUNTED


def _whole(session: Session, query: StudyQuery) -> tuple[Sequence[int], int, bool]:
    statement = _newest_first(select(StudyRecord.id)).offset(query.offset).limit(query.limit)
    return session.scalars(statement).all(), session.scalar(select(func.count(StudyRecord.id))) or 0, True


def _newest_first(statement: Select[int]) -> Select[int]:
    return statement.order_by(StudyRecord.newest_first_key.desc(), StudyRecord.id.desc())


def _rows(session: Session, ids: Sequence[int]) -> tuple[StudyRow, ...]:
    statement = select(StudyRecord.id, *_COLUMNS).where(StudyRecord.id.in_(ids))
    by_id = {found["id"]: found for found in session.execute(statement).mappings()} if ids else {}
    # A study deleted since is left out.
    return tuple(_row(by_id[study_id]) for study_id in ids if study_id in by_id)


def _row(found: RowMapping) -> StudyRow:
    values = {name: found[name] for name in _PLAIN_COLUMNS}
    return StudyRow(**values, modalities=parted(found["modalities_key"]), body_parts=parted(found["body_parts_key"]))


_PLAIN_COLUMNS = tuple(name for name in StudyRow.__dataclass_fields__ if name not in ("modalities", "body_parts"))
_COLUMNS = tuple(StudyRecord.__table__.c[name] for name in (*_PLAIN_COLUMNS, "modalities_key", "body_parts_key"))


def _conditions(query: StudyQuery) -> list[ColumnElement[bool]]:
    conditions = [
        or_(StudyRecord.name_key.like(pattern), StudyRecord.identifiers_key.like(pattern))
        for pattern in contains_words(typed_words(query.text))
    ]
    for column, typed in ((StudyRecord.name_key, query.patient_name), (StudyRecord.description_key, query.description)):
        conditions += [column.like(pattern) for pattern in contains_words(typed_words(typed))]
    if identifier := fold(query.patient_id).strip():
        conditions.append(_is_identifier(StudyRecord.patient_id_key, identifier))
    if identifier := fold(query.accession_number).strip():
        conditions.append(_is_identifier(StudyRecord.accession_number_key, identifier))
    conditions += _date_conditions(query)
    if query.modalities:
        conditions.append(
            or_(*(StudyRecord.modalities_key.like(_of_modality(code), escape=_ESCAPE) for code in query.modalities))
        )
    if query.received_since:
        conditions.append(StudyRecord.received_at >= query.received_since)
    if query.is_stable is not None:
        conditions.append(StudyRecord.is_stable.is_(query.is_stable))
    return conditions


def _date_conditions(query: StudyQuery) -> list[ColumnElement[bool]]:
    """Compare the key of the list's order, so that a range of dates is a part of the walk."""
    conditions = []
    if query.date_from:
        conditions.append(StudyRecord.newest_first_key >= newest_first_key(query.date_from, None))
    if query.date_to and query.date_to < date.max:
        after = newest_first_key(query.date_to + timedelta(days=1), None)
        conditions += [StudyRecord.newest_first_key < after, StudyRecord.newest_first_key != ""]
    return conditions


def _of_modality(code: str) -> str:
    escaped = code.upper().replace("_", f"{_ESCAPE}_")
    return f"%|{escaped}|%"


def _is_identifier(column: InstrumentedAttribute[str], identifier: str) -> ColumnElement[bool]:
    """Compare with an identifier that may hold DICOM's wildcards (PS3.4 section C.2.2.2.4)."""
    if not {"*", "?"} & set(identifier):
        return column == identifier
    for special in (_ESCAPE, "%", "_"):
        identifier = identifier.replace(special, _ESCAPE + special)
    return column.like(identifier.replace("*", "%").replace("?", "_"), escape=_ESCAPE)
