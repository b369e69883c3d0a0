"""`Hl7Bridge`: the parts of the HL7 interface, put together."""

from __future__ import annotations

import threading
from pathlib import Path

from pacs.database import Database
from pacs.hl7.inbox import Inbox
from pacs.hl7.journal import Journal
from pacs.hl7.pace import Pace
from pacs.hl7.peers import Peers
from pacs.hl7.processing import Processor
from pacs.hl7.receiving import Receiving
from pacs.hl7.settings import Hl7Settings
from pacs.hl7.sorting import Sorter
from pacs.metrics import Metrics
from pacs.work import QueueWorker, Supervisor, WorkQueue

_PURGE_EVERY_SECONDS = 3600.0
_CLAIMS_AT_ONCE = 10
_KEEP_DONE_DAYS = 7


class Hl7Bridge:
    """What takes HL7 messages in and has them worked.

    Making it adds its threads to the supervisor: the one that keeps the receiver running (a process that listens, makes
    durable and answers), the sorter, the queue's workers, the purge.

    Parameters
    ----------
    python : the interpreter for the receiver; sys.executable is Orthanc.

    Attributes
    ----------
    journal : every message.
    inbox : the way in; what a person decides on dead letters.
    processor : knows what becomes of which type: capabilities register their handlers before the start.
    queues : those of the bridge, for the System page and the metrics.
    peers : who sends.
    """

    def __init__(
        self, database: Database, settings: Hl7Settings, metrics: Metrics, supervisor: Supervisor, python: Path
    ) -> None:
        self._pace = pace = Pace()
        self._keep_days = settings.keep_days
        self.peers = Peers(settings)
        self.journal = Journal(database)
        self.inbox = Inbox(database, self.journal, self.peers)
        self.processor = Processor(database, self.journal, self.inbox.queue, self.peers, pace, metrics)
        self.queues: tuple[WorkQueue, ...] = (self.inbox.queue,)
        url = database.engine.url.render_as_string(hide_password=False)
        receiving = Receiving(url, settings, python, self._on_arrival)
        metrics.registry.register(receiving.collector)
        supervisor.add("HL7 receiver", receiving.run)
        supervisor.add("HL7 sorter", Sorter(database, self.inbox, self.peers, pace).run)
        supervisor.add("HL7 purge", self._purge)
        QueueWorker(
            self.inbox.queue,
            self.processor,
            threads=settings.processing_threads,
            keep_days=_KEEP_DONE_DAYS,
            claims_at_once=_CLAIMS_AT_ONCE,
            together=self.processor.together,
        ).add_to(supervisor)

    def _on_arrival(self, _messages: int, pressed: int) -> None:
        self._pace.note(pressed)
        self.inbox.arrived.ring()

    def _purge(self, stop: threading.Event) -> None:
        """Delete what is older than it is to be kept, now and then."""
        while not stop.wait(_PURGE_EVERY_SECONDS):
            self.journal.purge(self._keep_days)
