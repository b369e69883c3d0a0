"""`Finder`: answers to C-FIND. The database narrows by the columns it has, what it lets through is compared whole."""

from __future__ import annotations

from collections.abc import Iterator

from pydicom import Dataset
from sqlalchemy import ColumnElement, and_, not_, or_, select
from sqlalchemy.orm import InstrumentedAttribute

from pacs.database import Database
from pacs.errors import InvalidInput
from pacs.monitoring.identity import AE_TITLE, PATIENT_PREFIX
from pacs.studies.names import contains_words, fold, typed_words
from pacs.worklist.encoding import decoded
from pacs.worklist.matching import bounds, is_any_name, matches, text_of
from pacs.worklist.models import StepRecord
from pacs.worklist.questions import LATIN_1, UTF_8, answer_to, is_latin_1
from pacs.worklist.settings import StationSettings, WorklistSettings

_ROWS_AT_ONCE = 200
_ESCAPE = "\\"
_LAST_TIME = "235959"
_COLUMNS = (StepRecord.attributes, StepRecord.status, StepRecord.priority)
_ROOT_COLUMNS = {
    "PatientID": StepRecord.patient_id,
    "IssuerOfPatientID": StepRecord.issuer_of_patient_id,
    "AccessionNumber": StepRecord.accession_number,
    "StudyInstanceUID": StepRecord.study_instance_uid,
    "RequestedProcedureID": StepRecord.requested_procedure_id,
    "PlacerOrderNumberImagingServiceRequest": StepRecord.placer_order_number,
    "FillerOrderNumberImagingServiceRequest": StepRecord.filler_order_number,
}
_STEP_COLUMNS = {
    "Modality": StepRecord.modality,
    "ScheduledProcedureStepID": StepRecord.step_id,
    "ScheduledProcedureStepLocation": StepRecord.location,
    "ScheduledProcedureStepStatus": StepRecord.status,
}


class Finder:
    """Finds the entries that a station asks for. Safe to use from any thread."""

    def __init__(self, database: Database, settings: WorklistSettings) -> None:
        self._database = database
        self._settings = settings

    def find(self, question: Dataset, *, calling_aet: str) -> Iterator[Dataset]:
        """See `Worklist.find`."""
        station = self._settings.stations.get(calling_aet, StationSettings())
        wanted = station.character_set or _understood(question) or self._settings.character_set
        count = 0
        for entry in self._entries(self._conditions(question, calling_aet, station)):
            if not matches(question, entry, self._settings.names):
                continue
            count += 1
            if count > self._settings.most_answers:
                raise InvalidInput(
                    f"The worklist has more than {self._settings.most_answers} steps that match this question.",
                    remedy="Let the station ask for its day, its modality or its AE title, "
                    "or raise Pacs.Worklist.MostAnswers.",
                )
            answer = answer_to(question, entry)
            answer.SpecificCharacterSet = wanted if wanted == UTF_8 or is_latin_1(answer) else UTF_8
            yield answer

    def _entries(self, conditions: list[ColumnElement[bool]]) -> Iterator[Dataset]:
        statement = select(*_COLUMNS).where(*conditions)
        ordered = statement.order_by(StepRecord.start_key, StepRecord.id)
        with self._database.session() as session:
            for row in session.execute(ordered.execution_options(yield_per=_ROWS_AT_ONCE)):
                entry = decoded(row.attributes)
                entry.ScheduledProcedureStepSequence[0].ScheduledProcedureStepStatus = row.status
                if row.priority:
                    entry.RequestedProcedurePriority = row.priority
                yield entry

    def _conditions(self, question: Dataset, calling_aet: str, station: StationSettings) -> list[ColumnElement[bool]]:
        """Return conditions that every entry meets that matches; others may meet them too."""
        step = (question.get("ScheduledProcedureStepSequence") or [Dataset()])[0]
        conditions = [
            _among(column, asked)
            for keys, columns in ((question, _ROOT_COLUMNS), (step, _STEP_COLUMNS))
            for keyword, column in columns.items()
            if (asked := _asked(keys, keyword))
        ]
        if not _asked(step, "ScheduledProcedureStepStatus"):
            conditions.append(StepRecord.status.in_(self._settings.statuses))
        if calling_aet != AE_TITLE:
            # No technician should see the golden signal's entry among the patients.
            conditions.append(not_(StepRecord.patient_id.startswith(PATIENT_PREFIX)))
        conditions += _starts(_asked(step, "ScheduledProcedureStepStartDate"))
        if stations := _asked(step, "ScheduledStationAETitle"):
            conditions.append(or_(*(_has_station(one.strip()) for one in stations.split("\\"))))
        if self._settings.only_own_steps if station.only_own_steps is None else station.only_own_steps:
            conditions.append((StepRecord.stations_key == "") | _has_station(calling_aet))
        if (name := _asked(question, "PatientName")) and not is_any_name(name):
            conditions.append(self._has_name(name))
        return conditions

    def _has_name(self, asked: str) -> ColumnElement[bool]:
        # Of a name's end, nothing is asked by signs that empty components match as well.
        ways: list[ColumnElement[bool]] = [
            StepRecord.folded_name.like(f"%{_pattern(fold(group).rstrip('^* '))}%", escape=_ESCAPE)
            for group in asked.split("=")
            if group.rstrip("^ ")
        ]
        if self._settings.names == "words" and (typed := typed_words(asked)):
            by_words = [StepRecord.words_key.like(pattern) for pattern in contains_words(typed)]
            ways.append(and_(*by_words))
        return or_(*ways)


def _asked(keys: Dataset, keyword: str) -> str:
    """Return what is asked of an attribute, "" for anything."""
    asked = text_of(keys[keyword]) if keyword in keys else ""
    return asked if asked.strip("*") else ""


def _understood(question: Dataset) -> str | None:
    """Return the character set that the station showed to understand by asking in it; None when it did not say."""
    sets = question.get("SpecificCharacterSet") or ""
    return next((known for known in (UTF_8, LATIN_1) if known in ([sets] if isinstance(sets, str) else sets)), None)


def _among(column: InstrumentedAttribute[str], asked: str) -> ColumnElement[bool]:
    ways = [one.strip() for one in asked.split("\\")]
    if not any({"*", "?"} & set(one) for one in ways):
        return column.in_(ways)
    return or_(*(column.like(_pattern(one), escape=_ESCAPE) for one in ways))


def _has_station(aet: str) -> ColumnElement[bool]:
    return StepRecord.stations_key.like(f"%|{_pattern(fold(aet))}|%", escape=_ESCAPE)


def _pattern(asked: str) -> str:
    """Return a value with DICOM's wildcards as a LIKE pattern."""
    for special in (_ESCAPE, "%", "_"):
        asked = asked.replace(special, _ESCAPE + special)
    return asked.replace("*", "%").replace("?", "_")


def _starts(date: str) -> list[ColumnElement[bool]]:
    if not date:
        return []
    first, last = bounds(date)
    conditions = [StepRecord.start_key >= first] if first else [StepRecord.start_key != ""]
    return [*conditions, StepRecord.start_key <= last + _LAST_TIME] if last else conditions
