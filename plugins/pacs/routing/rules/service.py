"""`Rules`: everything that decides, put together for the application."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from datetime import UTC, datetime, tzinfo
from functools import partial
from pathlib import Path

from sqlalchemy import select

from pacs.database import Database
from pacs.deidentify.errors import ProjectsError
from pacs.deidentify.projects import Projects
from pacs.errors import NotFound
from pacs.hl7.outbound.outbox import Outbox
from pacs.mesh.jobs.service import Models
from pacs.mesh.recipe import Preset
from pacs.metrics import Metrics
from pacs.ports import Archive
from pacs.routing.actions.archive import ArchiveTasks
from pacs.routing.actions.copies import StudyCopies
from pacs.routing.actions.hl7 import Hl7Tasks
from pacs.routing.actions.models import ModelTasks
from pacs.routing.actions.notices import NoticeTasks
from pacs.routing.actions.orders import Tasks
from pacs.routing.decisions.journal import DecisionJournal
from pacs.routing.rules.appointments import appointment, find_appointment
from pacs.routing.rules.book import RuleBook
from pacs.routing.rules.dry_run import DryRuns
from pacs.routing.rules.facts import Facts
from pacs.routing.rules.figures import RuleFigures
from pacs.routing.rules.gathering import Gatherer
from pacs.routing.rules.known import Known, Names
from pacs.routing.rules.router import TRIAL, Note, OrderDeliveries, Router
from pacs.routing.rules.ruleset import RuleSet, Trial, Verdict
from pacs.routing.rules.triggers import Event
from pacs.routing.rules.watch import Watch
from pacs.routing.settings import RoutingSettings
from pacs.routing.targets.reading import credential
from pacs.studies import ChangeFeed
from pacs.studies.models import StudyRecord
from pacs.work import Supervisor, WorkQueue
from pacs.worklist.worklist import Worklist


@dataclass(frozen=True)
class RulesAround:
    """What rules have to do with.

    Attributes
    ----------
    targets : names of targets that there are.
    archives : names of those that can be searched, and asked to send.
    order : puts deliveries into the ledger, in the caller's transaction.
    time_zone : of the hospital.
    """

    database: Database
    archive: Archive
    worklist: Worklist
    models: Models
    outbox: Outbox
    targets: Names
    archives: Names
    order: OrderDeliveries
    metrics: Metrics
    time_zone: tzinfo


@dataclass(frozen=True)
class Tested:
    """Rules, tried with one study.

    Attributes
    ----------
    orthanc_study_id : "" of an appointment, which has no study here yet.
    trials : every rule that is switched on, with the value of each condition.
    """

    orthanc_study_id: str
    study_instance_uid: str
    event: Event
    verdict: Verdict
    trials: Sequence[Trial]


class Rules:
    """The rules, what asks them, and what they have done beside deliveries. Safe to use from any thread.

    Attributes
    ----------
    book : the rules in force, their file and history.
    decisions : what was decided.
    copies : of studies, with other attributes, which rules had made.
    dry_runs : what rules would have done.
    tasks : where more kinds of tasks can be registered, `prefetch` for example.
    """

    def __init__(self, settings: RoutingSettings, around: RulesAround) -> None:
        folder = settings.folder
        known = Known(
            targets=around.targets,
            archives=around.archives,
            projects=partial(_projects, folder / "deidentify.yaml"),
            destinations=lambda: list(around.outbox.destinations),
            presets=lambda: list(Preset),
        )
        self._enabled = settings.enabled
        self._keep_days = settings.keep_days
        self._database = around.database
        self._time_zone = around.time_zone
        self._worklist = around.worklist
        self.book = RuleBook(folder, known)
        self.decisions = DecisionJournal(around.database)
        figures = RuleFigures(around.metrics)
        self.tasks = Tasks(around.database, figures)
        ArchiveTasks(around.archive).register(self.tasks)
        self.copies = StudyCopies(around.database, around.archive, self.tasks)
        self.copies.register()
        ModelTasks(around.archive, around.models).register(self.tasks)
        NoticeTasks(around.archive, settings.notify, credential).register(self.tasks)
        Hl7Tasks(around.database, around.worklist, around.outbox).register(self.tasks)
        self._gatherer = Gatherer(around.database, around.archive)
        self._router = Router(
            around.database,
            self.book,
            self._gatherer,
            journal=self.decisions,
            tasks=self.tasks,
            order=around.order,
            figures=figures,
            time_zone=around.time_zone,
        )
        self._watch = Watch(around.database, around.archive, self.book, self._router, time_zone=around.time_zone)
        self.dry_runs = DryRuns(around.database, self.book, self._gatherer, time_zone=around.time_zone)

    @property
    def queues(self) -> tuple[WorkQueue, ...]:
        """What is to be decided, and what is to be done."""
        return (self._router.queue, self.tasks.queue)

    def follow(self, feed: ChangeFeed) -> None:
        """Subscribe to the archive and the worklist. After whoever lets images change the worklist."""
        if self._enabled:
            self._router.follow(feed, self._worklist)
            self.copies.follow(feed)

    def add_to(self, supervisor: Supervisor) -> None:
        """Add the threads."""
        supervisor.add("routing dry run", self.dry_runs.run)
        if not self._enabled:
            return
        self._router.add_to(supervisor)
        self.tasks.add_to(supervisor)
        supervisor.add("routing watch", self._watch.run)
        supervisor.add("routing decisions", partial(self.decisions.run, keep_days=self._keep_days))

    def route(self, orthanc_study_id: str, *, actor: str, event: Event = Event.BY_HAND, again: bool = False) -> None:
        """Have the rules asked about a study now.

        Parameters
        ----------
        event : as what; a person may have done what a stable study does.
        again : what is proven at a target is sent there once more.
        """
        with self._database.session(write=True) as session:
            self._router.put(session, [Note(event, orthanc_study_id, "", actor, again)])

    @property
    def is_enabled(self) -> bool:
        """Whether routing is switched on."""
        return self._enabled

    def try_out(self, orthanc_study_id: str) -> None:
        """Have a study of nobody routed to the target of our own."""
        self.route(orthanc_study_id, actor=TRIAL)

    def test(self, orthanc_study_id: str, event: Event, rules: RuleSet) -> Tested:
        """Return what rules would decide of a study now, with the value of each condition. Nothing is done.

        Raises
        ------
        NotFound : the study is not in the archive.
        """
        at = datetime.now(UTC).astimezone(self._time_zone)
        # Names of rules that are switched off are not asked for: they are not shown either.
        study = self._gatherer.gather([orthanc_study_id], rules.names, at).get(orthanc_study_id)
        if study is None:
            raise NotFound("This study is not in the archive any more.")
        return _tested(orthanc_study_id, study.study_instance_uid, study.facts, event, rules)

    def test_appointment(self, number: str, rules: RuleSet) -> Tested | None:
        """Return what rules would decide ahead of an appointment, None where none is to come. Nothing is done.

        Parameters
        ----------
        number : accession number or Study Instance UID; of several appointments the latest counts.
        """
        name = find_appointment(self._database, number.strip()) if number.strip() else None
        at = datetime.now(UTC).astimezone(self._time_zone)
        found = appointment(self._database, name, at) if name else None
        if found is None:
            return None
        subject, facts = found
        return _tested("", subject.study_instance_uid, facts, Event.APPOINTMENT, rules)

    def find_study(self, words: str) -> str | None:
        """Return the newest study with an accession number, Study Instance UID or Orthanc identifier, None without."""
        wanted = words.strip()
        statement = (
            select(StudyRecord.orthanc_study_id)
            .where(
                (StudyRecord.accession_number == wanted)
                | (StudyRecord.study_instance_uid == wanted)
                | (StudyRecord.orthanc_study_id == wanted)
            )
            .order_by(StudyRecord.received_at.desc())
            .limit(1)
        )
        with self._database.session() as session:
            return session.scalars(statement).first() if wanted else None


def _tested(orthanc_study_id: str, study_instance_uid: str, facts: Facts, event: Event, rules: RuleSet) -> Tested:
    verdict, trials = rules.decide(facts, event), rules.explain(facts, event)
    return Tested(orthanc_study_id, study_instance_uid, event, verdict, trials)


def _projects(file: Path) -> list[str]:
    """Return the names of the projects of de-identification; none while their file has a mistake."""
    try:
        return Projects.load(file).names()
    except ProjectsError:
        return []
