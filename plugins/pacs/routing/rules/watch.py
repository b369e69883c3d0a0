"""What nobody tells: times of day and appointments that come, labels that are set. A thread of its own looks."""

from __future__ import annotations

import logging
import threading
import time
from collections.abc import Callable, Iterable, Iterator
from dataclasses import dataclass
from datetime import UTC, datetime, timedelta, tzinfo
from itertools import batched

from sqlalchemy import Select, delete, exists, select
from sqlalchemy.orm import Session

from pacs.database import Database
from pacs.ports import Archive, Json
from pacs.routing.decisions.models import DecisionRecord, LabelRecord, MarkRecord
from pacs.routing.rules.appointments import Appointments
from pacs.routing.rules.book import RuleBook
from pacs.routing.rules.router import Note, Router
from pacs.routing.rules.ruleset import RuleSet
from pacs.routing.rules.triggers import Event, Schedule
from pacs.studies.models import StudyRecord
from pacs.studies.names import fold

_log = logging.getLogger(__name__)

_LOOK_SECONDS = 5.0
# So many times as long as a look took one waits for the next.
_REST = 5
# As many studies with a label as before may be others: they are listed all the same after so long.
_LIST_EVERY_SECONDS = 60.0
_SCHEDULE, _LABEL = "schedule", "label"
# Where a schedule stood before more than `_LONGEST_BACK` went by at once: a standstill, or a clock that is ahead.
_SCHEDULE_BEFORE = "schedule before"
# A server that was off for longer asks about its last week alone.
_LONGEST_BACK = timedelta(days=7)
_DELETED_AT_ONCE = 1000
# As few questions as LimitFindResults lets it be.
_FOUND_AT_ONCE = 10_000

type Clock = Callable[[], datetime]


@dataclass(frozen=True)
class _Seen:
    """The studies that had a label when they were listed."""

    studies: set[str]
    listed_at: float


class Watch:
    """Notes schedules and labels. Its methods are called by the one thread that runs it.

    Parameters
    ----------
    time_zone : of the hospital, in which times of day are meant.
    """

    def __init__(
        self,
        database: Database,
        archive: Archive,
        book: RuleBook,
        router: Router,
        *,
        time_zone: tzinfo,
        clock: Clock = lambda: datetime.now(UTC),
        monotonic: Callable[[], float] = time.monotonic,
    ) -> None:
        self._database = database
        self._archive = archive
        self._book = book
        self._router = router
        self._time_zone = time_zone
        self._clock = clock
        self._monotonic = monotonic
        self._appointments = Appointments(database, self._note_appointment, time_zone=time_zone, clock=clock)
        # By label; all of it is in the database, too.
        self._seen: dict[str, _Seen] = {}

    def run(self, stop: threading.Event) -> None:
        """Look until `stop` is set. A supervised thread."""
        pause_seconds = _LOOK_SECONDS
        while not stop.wait(pause_seconds):
            began = time.monotonic()
            self.look()
            took_seconds = time.monotonic() - began
            # Ten thousand studies with a label take Orthanc a second or two to name: the more, the more seldom.
            pause_seconds = max(_LOOK_SECONDS, took_seconds * _REST)

    def look(self) -> None:
        """Note what came since the last look, each once, whoever died in between."""
        rules = self._book.in_force().rules
        for schedule in rules.schedules:
            self._look_at_clock(schedule)
        self._appointments.look(rules.aheads)
        self._look_at_labels(rules)

    # -- times of day --------------------------------------------------------------------------------------------------

    def _look_at_clock(self, schedule: Schedule) -> None:
        """Note the studies that came since a schedule's time before, when its time has come."""
        now = self._clock()
        due = schedule.last_before(now.astimezone(self._time_zone)).astimezone(UTC)
        with self._database.session(write=True) as session:
            mark = session.get(MarkRecord, (_SCHEDULE, schedule.words))
            if mark is None:
                # A schedule that is new begins with its next time.
                session.add(MarkRecord(kind=_SCHEDULE, name=schedule.words, at=due))
                return
            if mark.at > now:
                _put_back(session, mark, due)
            if due <= mark.at:
                return
            if due - mark.at > _LONGEST_BACK:
                session.merge(MarkRecord(kind=_SCHEDULE_BEFORE, name=schedule.words, at=mark.at))
            since, mark.at = max(mark.at, due - _LONGEST_BACK), due
            ids = session.scalars(_undecided(schedule, since)).all()
            notes = [Note(Event.SCHEDULE, study_id, schedule.words) for study_id in ids]
            self._router.put(session, notes, dedupe=f"{schedule.words} {due.isoformat()}")
        _log.info("routing: %s, %d studies", schedule.words, len(ids))

    def _note_appointment(self, session: Session, name: str, words: str, *, dedupe: str) -> None:
        self._router.put(session, [Note(Event.APPOINTMENT, name, words)], dedupe=dedupe)

    # -- labels --------------------------------------------------------------------------------------------------------

    def _look_at_labels(self, rules: RuleSet) -> None:
        wanted = rules.watched_labels
        self._stop_watching(wanted)
        if not wanted:
            return
        labels = [label for label in self._archive.get_json("/tools/labels") if fold(label) in wanted]
        for label in labels:
            if self._may_differ(label):
                self._look_at_label(label, set(self._labelled(label)))
        self._begin_watching(wanted)

    def _may_differ(self, label: str) -> bool:
        """Tell whether the studies with a label may be others than at the last look: counting is cheap, listing not."""
        seen = self._seen.get(label)
        if seen is None or self._monotonic() >= seen.listed_at + _LIST_EVERY_SECONDS:
            return True
        return bool(self._archive.post_json("/tools/count-resources", _question(label))["Count"] != len(seen.studies))

    def _look_at_label(self, label: str, found: set[str]) -> None:
        with self._database.session(write=True) as session:
            seen = set(session.scalars(select(LabelRecord.orthanc_study_id).where(LabelRecord.label == label)))
            _forget(session, label, seen - found)
            new = sorted(found - seen)
            session.add_all(LabelRecord(label=label, orthanc_study_id=study_id) for study_id in new)
            # What had the label before anybody waited for it is no news.
            if session.get(MarkRecord, (_LABEL, fold(label))) is not None:
                self._router.put(session, [Note(Event.LABEL_SET, study_id, label) for study_id in new])
        self._seen[label] = _Seen(found, self._monotonic())

    def _begin_watching(self, wanted: Iterable[str]) -> None:
        with self._database.session() as session:
            watched = set(session.scalars(select(MarkRecord.name).where(MarkRecord.kind == _LABEL)))
        if missing := set(wanted) - watched:
            with self._database.session(write=True) as session:
                session.add_all(MarkRecord(kind=_LABEL, name=name, at=self._clock()) for name in sorted(missing))

    def _stop_watching(self, wanted: frozenset[str]) -> None:
        with self._database.session() as session:
            watched = set(session.scalars(select(MarkRecord.name).where(MarkRecord.kind == _LABEL)))
        self._seen = {label: seen for label, seen in self._seen.items() if fold(label) in wanted}
        if left := watched - wanted:
            with self._database.session(write=True) as session:
                session.execute(delete(MarkRecord).where(MarkRecord.kind == _LABEL, MarkRecord.name.in_(left)))
                seen = session.scalars(select(LabelRecord.label).distinct()).all()
                gone = [label for label in seen if fold(label) in left]
                session.execute(delete(LabelRecord).where(LabelRecord.label.in_(gone)))

    def _labelled(self, label: str) -> Iterator[str]:
        """Yield the studies that have a label."""
        since = 0
        question = _question(label) | {"Expand": False}
        while page := self._archive.post_json("/tools/find", question | {"Since": since, "Limit": _FOUND_AT_ONCE}):
            yield from page
            since += len(page)


def _put_back(session: Session, mark: MarkRecord, due: datetime) -> None:
    """Have a schedule go on that fired by a clock that was ahead: its next time is one by the clock of now.

    What it was asked about meanwhile is known by its decisions. What it was not, because more time than `_LONGEST_BACK`
    seemed to have gone by, is what came after its last time before that.
    """
    before = session.get(MarkRecord, (_SCHEDULE_BEFORE, mark.name))
    mark.at = due if before is None else min(before.at, due)
    if before is not None:
        session.delete(before)
    _log.warning("routing: %s fired by a clock that was ahead; it goes on by the clock of now", mark.name)


def _undecided(schedule: Schedule, since: datetime) -> Select[str]:
    """Return what asks for the studies that came since a moment, without those that it was decided about after that.

    A clock that was wrong makes studies seem to have come since that the schedule was asked about.
    """
    decision = DecisionRecord
    is_decided = exists().where(
        decision.orthanc_study_id == StudyRecord.orthanc_study_id,
        decision.event == Event.SCHEDULE.value,
        decision.detail == schedule.words,
        decision.at >= StudyRecord.last_update_at,
    )
    return select(StudyRecord.orthanc_study_id).where(StudyRecord.last_update_at >= since, ~is_decided)


def _question(label: str) -> dict[str, Json]:
    return {"Level": "Study", "Query": {}, "Labels": [label], "LabelsConstraint": "All"}


def _forget(session: Session, label: str, gone: set[str]) -> None:
    # Databases take only so many values at once.
    for some in batched(sorted(gone), _DELETED_AT_ONCE, strict=False):
        session.execute(delete(LabelRecord).where(LabelRecord.label == label, LabelRecord.orthanc_study_id.in_(some)))
