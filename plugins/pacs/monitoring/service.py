"""`Monitoring`: what the archive tells of itself, put together for the application."""

from __future__ import annotations

from datetime import datetime, tzinfo
from pathlib import Path

from pacs.database import Database
from pacs.hl7.journal import Journal
from pacs.hl7.outbound.settings import DestinationSettings
from pacs.metrics import Metrics
from pacs.monitoring import doses, golden_signal, incidents
from pacs.monitoring.collector import MonitoringCollector
from pacs.monitoring.figures import Figures
from pacs.monitoring.following import Following
from pacs.monitoring.golden_signal import GoldenSignal, GoldenSite, Run, golden_destination
from pacs.monitoring.incidents import Incident
from pacs.monitoring.report.reports import Reports
from pacs.monitoring.runbooks import Runbooks
from pacs.monitoring.settings import MonitoringSettings
from pacs.monitoring.sink import Sink
from pacs.ports import Archive
from pacs.routing.trial import TrialRoute
from pacs.studies import ChangeFeed
from pacs.web.settings import WebSettings
from pacs.work import QueueWorker, Supervisor, WorkQueue

_KEEP_DONE_DAYS = 7
_SECONDS_OF_MINUTE = 60


class Monitoring:
    """Figures, golden signal, incidents, reports, and the threads that make them.

    Parameters
    ----------
    python : the interpreter for what is made in a child process.

    Attributes
    ----------
    figures : of stations and disk.
    reports : the monthly ones.
    runbooks : of the alerts.
    golden_interval_seconds : how often the golden signal goes, None when it is off.
    """

    def __init__(
        self,
        settings: MonitoringSettings,
        database: Database,
        archive: Archive,
        metrics: Metrics,
        *,
        web: WebSettings,
        storage_directory: Path,
        python: Path,
    ) -> None:
        self._database = database
        self._archive = archive
        self._zone: tzinfo = web.zone
        every = settings.golden_signal.every_minutes
        self.golden_interval_seconds = every * _SECONDS_OF_MINUTE if every is not None else None
        self._sink = Sink() if every is not None else None
        self._golden_signal: GoldenSignal | None = None
        self._doses = WorkQueue(database, doses.QUEUE_NAME)
        self._following = Following(metrics, self._doses)
        self.figures = Figures(
            database,
            archive,
            storage_directory=storage_directory,
            zone=self._zone,
            every_seconds=settings.figures_seconds,
            alerts_url=settings.alerts_url,
        )
        self.runbooks = Runbooks(settings.runbook_folder)
        self.reports = Reports(settings, web, database, python)
        metrics.registry.register(
            MonitoringCollector(self.figures.latest, self.runs, self._last_success, self.golden_interval_seconds)
        )

    @property
    def queues(self) -> tuple[WorkQueue, ...]:
        """What is to be read."""
        return (self._doses,)

    @property
    def golden_destination(self) -> DestinationSettings | None:
        """Where the golden signal is told of its orders; None when it is off."""
        return golden_destination(self._sink.port) if self._sink else None

    def runs(self, most: int = 1) -> list[Run]:
        """Return the newest runs of the golden signal, newest first; none when it is off."""
        return golden_signal.latest(self._database, most) if self.golden_interval_seconds is not None else []

    def lasting(self) -> list[Incident]:
        """Return the incidents that last."""
        with self._database.session() as session:
            return incidents.lasting(session)

    def follow(self, feed: ChangeFeed) -> None:
        """Subscribe to the archive's changes."""
        self._following.follow(feed)

    def send_golden_signal(self, journal: Journal, site: GoldenSite, route: TrialRoute) -> None:
        """Have the golden signal sent, where the settings want it."""
        if self.golden_interval_seconds is not None:
            self._golden_signal = GoldenSignal(
                self._database,
                self._archive,
                journal,
                site,
                route=route,
                interval_seconds=self.golden_interval_seconds,
                time_zone=self._zone,
            )

    def add_to(self, supervisor: Supervisor) -> None:
        """Add the threads."""
        supervisor.add("figures", self.figures.run)
        supervisor.add("reports", self.reports.run)
        worker = QueueWorker(self._doses, doses.handler(self._archive, self._database), keep_days=_KEEP_DONE_DAYS)
        worker.add_to(supervisor)
        if self._sink and self._golden_signal:
            supervisor.add("golden signal's sink", self._sink.run)
            supervisor.add("golden signal", self._golden_signal.run)

    def _last_success(self) -> datetime | None:
        return golden_signal.last_success(self._database)
