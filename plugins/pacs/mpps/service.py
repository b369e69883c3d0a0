"""`Mpps`: everything about performed steps, put together for the application."""

from __future__ import annotations

from pacs.database import Database
from pacs.mpps import availability, forwarding
from pacs.mpps.progress import Progress
from pacs.mpps.scp import MppsServer
from pacs.mpps.settings import MppsSettings
from pacs.mpps.stations import Stations
from pacs.mpps.steps import PerformedSteps
from pacs.ports import Archive
from pacs.studies import ChangeFeed
from pacs.work import QueueWorker, Supervisor, WorkQueue
from pacs.worklist.worklist import Worklist

_KEEP_DONE_DAYS = 7


class Mpps:
    """What modalities report, what their images tell, and who else is to know.

    Attributes
    ----------
    steps : the performed steps.
    """

    def __init__(self, settings: MppsSettings, database: Database, archive: Archive, worklist: Worklist) -> None:
        self._settings = settings
        self._database = database
        self._archive = archive
        self._progress = Progress(settings, worklist)
        self.steps = PerformedSteps(database, worklist)
        self._forwarded = forwarding.open_queue(database, settings.retry_days)
        self._announced = availability.open_queue(database, settings.retry_days)
        if settings.forward_to:
            self.steps.subscribe(forwarding.forwarder(self._forwarded, settings.forward_to))

    @property
    def queues(self) -> tuple[WorkQueue, ...]:
        """What is on its way to others."""
        return (self._forwarded, self._announced)

    def follow(self, feed: ChangeFeed) -> None:
        """Subscribe to the archive's changes."""
        self._progress.follow(feed)
        if self._settings.notify_availability_to:
            availability.subscribe(feed, self._announced, self._settings.notify_availability_to)

    def add_to(self, supervisor: Supervisor) -> None:
        """Add the threads."""
        settings = self._settings
        if settings.enabled:
            stations = Stations(self._archive, check_host=settings.check_host)
            supervisor.add("mpps", MppsServer(settings, self.steps, stations).run)
        # Also with nobody in the settings any more: what was queued before is not lost.
        forward = forwarding.handler(self._archive, settings.ae_title)
        QueueWorker(self._forwarded, forward, keep_days=_KEEP_DONE_DAYS).add_to(supervisor)
        announce = availability.handler(self._archive, self._database)
        QueueWorker(self._announced, announce, keep_days=_KEEP_DONE_DAYS).add_to(supervisor)
