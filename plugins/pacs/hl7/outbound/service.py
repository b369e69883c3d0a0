"""`Outbound`: everything that other systems are told by HL7, put together for the application."""

from __future__ import annotations

import threading

from pacs.database import Database
from pacs.hl7.journal import Journal
from pacs.hl7.outbound.outbox import Outbox
from pacs.hl7.outbound.reporting import Reporting
from pacs.hl7.outbound.sender import Sender
from pacs.hl7.outbound.settings import DestinationSettings, OutboundSettings
from pacs.ports import Archive
from pacs.studies import ChangeFeed
from pacs.work import QueueWorker, Supervisor, WorkQueue
from pacs.worklist.worklist import Worklist

_KEEP_DONE_DAYS = 7


class Outbound:
    """What is told, to whom, and the threads that do it.

    Attributes
    ----------
    outbox : the messages on their way, for the pages.

    Parameters
    ----------
    golden_signal : see `Outbox`.
    """

    def __init__(
        self,
        settings: OutboundSettings,
        database: Database,
        archive: Archive,
        worklist: Worklist,
        journal: Journal,
        *,
        golden_signal: DestinationSettings | None = None,
    ) -> None:
        self.outbox = Outbox(database, journal, settings, golden_signal)
        self._reporting = Reporting(database, archive, worklist, self.outbox)
        self._senders = [Sender(database, journal, destination) for destination in self.outbox.all_destinations]

    @property
    def queues(self) -> tuple[WorkQueue, ...]:
        """What is on its way."""
        return (self._reporting.queue, *self.outbox.queues)

    def follow(self, feed: ChangeFeed) -> None:
        """Subscribe to the worklist and the archive's changes. After whoever lets images change the worklist."""
        self._reporting.follow(feed)

    def add_to(self, supervisor: Supervisor) -> None:
        """Add the threads."""
        supervisor.add("hl7 templates", self._prepare)
        reports = QueueWorker(self._reporting.queue, self._reporting.work_report, keep_days=_KEEP_DONE_DAYS)
        reports.add_to(supervisor)
        for sender in self._senders:
            sender.add_to(supervisor)

    def _prepare(self, _stop: threading.Event) -> None:
        self.outbox.builder.prepare()
