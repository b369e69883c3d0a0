"""The program, put together: every object of it is made here, once, and knows only what it is given."""

from __future__ import annotations

import logging
from dataclasses import dataclass
from functools import partial
from pathlib import Path

from pacs import __version__
from pacs.database import Database
from pacs.metrics import Metrics
from pacs.ports import Archive, Change
from pacs.settings import Settings
from pacs.studies import ChangeFeed, StudyIndex, warm
from pacs.web.application import create_app
from pacs.web.server import serve
from pacs.web.services import Services
from pacs.work import QueueWorker, Supervisor, WorkCollector, WorkQueue

STOP_SECONDS = 4.5
KEEP_DONE_DAYS = 7

_log = logging.getLogger(__name__)


@dataclass(frozen=True)
class Host:
    """What our program must know of the Orthanc that it runs in."""

    storage_directory: Path
    stable_age_seconds: float


class Application:
    """Everything of ours that runs in Orthanc's process.

    Making it checks the database and brings its schema up to date, so that a fault there keeps Orthanc from starting.

    Raises
    ------
    DatabaseError : the plugins' database can't be used.

    Attributes
    ----------
    metrics : what Prometheus is told, for whoever has figures to add.
    """

    def __init__(self, settings: Settings, archive: Archive, host: Host) -> None:
        self._database = Database(settings.database.url)
        self._database.migrate()
        self._supervisor = Supervisor()
        self.metrics = Metrics(__version__, partial(archive.get_bytes, "/tools/metrics-prometheus"))
        queues = (warm_queue := WorkQueue(self._database, warm.QUEUE_NAME),)
        index = StudyIndex(self._database, archive)
        self._feed = ChangeFeed(self._database, archive, index, stable_age_seconds=host.stable_age_seconds)
        warm.subscribe(self._feed, warm_queue)
        services = Services(
            settings=settings,
            archive=archive,
            database=self._database,
            metrics=self.metrics,
            supervisor=self._supervisor,
            queues=queues,
            version=__version__,
            storage_directory=host.storage_directory,
        )
        self.metrics.registry.register(WorkCollector(self._database, queues, self._supervisor))
        self._supervisor.add("pages", partial(serve, create_app(services), settings.web.socket))
        self._supervisor.add("changes", self._feed.run)
        self._supervisor.add("study index", index.run)
        QueueWorker(warm_queue, warm.handler(archive), keep_days=KEEP_DONE_DAYS).add_to(self._supervisor)

    def start(self) -> None:
        """Start the threads. Called when Orthanc answers requests."""
        self._supervisor.start()
        _log.info("PACS Cloud %s runs", __version__)

    def notice(self, change: Change) -> None:
        """Take note of a change of the archive. Called from Orthanc's own thread: quick, and asks nothing."""
        self._feed.notice(change)

    def stop(self) -> None:
        """End the threads and close the database, within 5 s."""
        self._supervisor.stop(STOP_SECONDS)
        self._database.close()
