"""`DryRuns`: what rules would have done with the studies of the last days, and how that differs from those in force.

Nothing is sent, stored or noted. One run at a time, in a thread of its own; its result is kept in memory.
"""

from __future__ import annotations

import logging
import queue
import threading
from collections import Counter
from collections.abc import Callable, Sequence
from dataclasses import dataclass, field, replace
from datetime import UTC, datetime, timedelta, tzinfo
from itertools import batched, count

from sqlalchemy import select

from pacs.database import Database
from pacs.errors import Conflict, NotFound, PacsError
from pacs.routing.rules.book import RuleBook
from pacs.routing.rules.gathering import Gatherer
from pacs.routing.rules.ruleset import RuleSet, Verdict
from pacs.routing.rules.triggers import Event
from pacs.studies.models import StudyRecord

_log = logging.getLogger(__name__)

MOST_DAYS = 31
MOST_STUDIES = 20_000
_KEPT_RUNS = 5
_MOST_SHOWN = 200
_STUDIES_AT_ONCE = 25
_LOOK_SECONDS = 0.5


@dataclass(frozen=True)
class Compared:
    """A study with what each set of rules decides of it.

    Attributes
    ----------
    before, after : rules met, and everything that they have done, under the rules in force and under the new ones.
    """

    orthanc_study_id: str
    study_instance_uid: str
    before: Verdict
    after: Verdict

    @property
    def added(self) -> tuple[str, ...]:
        """What the new rules do beyond the others: targets, and other things to do."""
        return tuple(sorted(_done(self.after) - _done(self.before)))

    @property
    def removed(self) -> tuple[str, ...]:
        """What the new rules do no longer."""
        return tuple(sorted(_done(self.before) - _done(self.after)))


@dataclass(frozen=True)
class DryRun:
    """A run, as far as it is.

    Attributes
    ----------
    text : the rules that are tried; `version` those in force that they are compared with.
    studies, done : how many there are, and how many were asked about.
    rules_before, rules_after : studies by the rule that they meet.
    targets_before, targets_after : studies by target.
    size_bytes_before, size_bytes_after : by target, what would be sent.
    differing : how many studies differ; `shown` has the first of them.
    is_cut : there were more studies than are tried.
    fault : why it ended early, "" when it did not.
    """

    number: int
    text: str
    version: int
    days: int
    actor: str
    began_at: datetime
    studies: int = 0
    done: int = 0
    is_over: bool = False
    is_cut: bool = False
    fault: str = ""
    differing: int = 0
    rules_before: Counter[str] = field(default_factory=Counter)
    rules_after: Counter[str] = field(default_factory=Counter)
    targets_before: Counter[str] = field(default_factory=Counter)
    targets_after: Counter[str] = field(default_factory=Counter)
    size_bytes_before: Counter[str] = field(default_factory=Counter)
    size_bytes_after: Counter[str] = field(default_factory=Counter)
    shown: tuple[Compared, ...] = ()

    @property
    def rule_names(self) -> list[str]:
        """The rules that some study meets, before or after."""
        return list(dict.fromkeys((*self.rules_after, *self.rules_before)))

    @property
    def target_names(self) -> list[str]:
        """The targets that some study goes to, before or after."""
        return sorted({*self.targets_after, *self.targets_before})


@dataclass(frozen=True)
class _Candidate:
    """A study that is asked about, at the moment when it came whole."""

    orthanc_study_id: str
    at: datetime
    size_bytes: int


class DryRuns:
    """Takes orders from any thread and does one after the other in the thread that calls `run`."""

    def __init__(
        self,
        database: Database,
        book: RuleBook,
        gatherer: Gatherer,
        *,
        time_zone: tzinfo,
        clock: Callable[[], datetime] = lambda: datetime.now(UTC),
    ) -> None:
        self._database = database
        self._book = book
        self._gatherer = gatherer
        self._time_zone = time_zone
        self._clock = clock
        self._numbers = count(1)
        self._waiting: queue.SimpleQueue[int] = queue.SimpleQueue()
        self._runs: dict[int, DryRun] = {}
        self._lock = threading.Lock()

    def start(self, text: str, *, days: int, actor: str) -> int:
        """Have rules tried and return the run's number at once.

        Raises
        ------
        RulesError : the text has mistakes.
        Conflict : another run goes on.
        """
        self._book.check(text)
        with self._lock:
            if any(not run.is_over for run in self._runs.values()):
                raise Conflict("Another dry run goes on.", remedy="Wait until it has ended.")
            number = next(self._numbers)
            kept = list(self._runs.values())[-_KEPT_RUNS + 1 :]
            run = DryRun(number, text, self._book.in_force().number, min(max(days, 1), MOST_DAYS), actor, self._clock())
            self._runs = {one.number: one for one in (*kept, run)}
        self._waiting.put(number)
        return number

    def get(self, number: int) -> DryRun:
        """Return a run as far as it is. Raises NotFound: only the last few are kept, none across a restart."""
        with self._lock:
            run = self._runs.get(number)
        if run is None:
            raise NotFound(f"Dry run {number} is not kept any more.", remedy="Start it again.")
        return run

    def run(self, stop: threading.Event) -> None:
        """Do what was asked for, until `stop` is set. A supervised thread."""
        while not stop.is_set():
            try:
                number = self._waiting.get(timeout=_LOOK_SECONDS)
            except queue.Empty:
                continue
            self._try(number, stop)

    def _try(self, number: int, stop: threading.Event) -> None:
        run = self.get(number)
        try:
            run = self._tried(run, stop)
            self._keep(replace(run, is_over=True, fault="" if run.done == run.studies else "It was stopped."))
        except PacsError as error:
            _log.warning("dry run %d ended early: %s", number, error)
            self._keep(replace(self.get(number), is_over=True, fault=str(error)))
        finally:
            # Whatever happened: nobody waits for it for ever.
            if not self.get(number).is_over:
                self._keep(replace(self.get(number), is_over=True, fault="It failed; the log tells more."))

    def _tried(self, run: DryRun, stop: threading.Event) -> DryRun:
        new, old = self._book.check(run.text), self._book.in_force().rules
        candidates = self._candidates(run.days)
        run = replace(run, studies=min(len(candidates), MOST_STUDIES), is_cut=len(candidates) > MOST_STUDIES)
        for some in batched(candidates[:MOST_STUDIES], _STUDIES_AT_ONCE, strict=False):
            if stop.is_set():
                break
            run = self._with(run, some, new, old)
            self._keep(run)
        return run

    def _with(self, run: DryRun, some: Sequence[_Candidate], new: RuleSet, old: RuleSet) -> DryRun:
        by_id = {one.orthanc_study_id: one for one in some}
        names = new.names | old.names
        gathered = self._gatherer.gather(list(by_id), names, self._clock().astimezone(self._time_zone))
        found = []
        for study_id, study in gathered.items():
            # Time of day and weekday are those at which the study was stable, not those of the trial.
            facts = replace(study.facts, at=by_id[study_id].at.astimezone(self._time_zone))
            before, after = old.decide(facts, Event.STUDY_STABLE), new.decide(facts, Event.STUDY_STABLE)
            _count(run.rules_before, run.targets_before, run.size_bytes_before, before, by_id[study_id].size_bytes)
            _count(run.rules_after, run.targets_after, run.size_bytes_after, after, by_id[study_id].size_bytes)
            compared = Compared(study_id, study.study_instance_uid, before, after)
            if compared.added or compared.removed:
                found.append(compared)
        shown = (*run.shown, *found)[:_MOST_SHOWN]
        return replace(run, done=run.done + len(some), differing=run.differing + len(found), shown=shown)

    def _candidates(self, days: int) -> list[_Candidate]:
        """Return the studies that came in the last days, oldest first."""
        since = self._clock() - timedelta(days=days)
        statement = (
            select(StudyRecord.orthanc_study_id, StudyRecord.last_update_at, StudyRecord.size_bytes)
            .where(StudyRecord.received_at >= since, StudyRecord.is_stable)
            .order_by(StudyRecord.received_at)
            .limit(MOST_STUDIES + 1)
        )
        with self._database.session() as session:
            return [_Candidate(row[0], row[1], row[2] or 0) for row in session.execute(statement)]

    def _keep(self, run: DryRun) -> None:
        with self._lock:
            self._runs[run.number] = run


def _count(rules: Counter[str], targets: Counter[str], sizes: Counter[str], verdict: Verdict, size_bytes: int) -> None:
    rules.update(verdict.names)
    targets.update(verdict.targets)
    sizes.update(dict.fromkeys(verdict.targets, size_bytes))


def _done(verdict: Verdict) -> set[str]:
    return {*(f"send: {name}" for name in verdict.targets), *verdict.task_words}
