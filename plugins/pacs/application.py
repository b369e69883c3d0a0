"""The program, put together: every object of it is made here, once, and knows only what it is given."""

from __future__ import annotations

import logging
import os
import threading
from collections.abc import Iterator
from dataclasses import dataclass
from functools import partial
from pathlib import Path

from pydicom import Dataset, config

from pacs import __version__
from pacs.backup.collector import BackupCollector
from pacs.backup.overview import Backups
from pacs.database import Database
from pacs.decoding.collector import PoolCollector
from pacs.decoding.decoder import Decoder
from pacs.hl7.bridge import Hl7Bridge
from pacs.hl7.decisions import Decisions
from pacs.hl7.orders import MappingLibrary, OrderHandlers, OrderMapper
from pacs.hl7.outbound.service import Outbound
from pacs.hl7.rehearse.rehearsals import Rehearsals
from pacs.hl7.rehearse.site import Site
from pacs.mesh.jobs.service import Models
from pacs.metrics import Metrics
from pacs.monitoring.golden_signal import GoldenSite, with_golden_peer
from pacs.monitoring.service import Monitoring
from pacs.mpps.service import Mpps
from pacs.ports import Archive, Change
from pacs.readiness import Listens, Readiness, ServiceManager, tcp_port, unix_socket
from pacs.routing.rules.service import Rules, RulesAround
from pacs.routing.service import Routing, Surroundings
from pacs.settings import Settings
from pacs.studies import ChangeFeed, StudyIndex, warm
from pacs.web.application import create_app
from pacs.web.server import serve
from pacs.web.services import Services
from pacs.work import QueueWorker, Supervisor, WorkCollector, WorkQueue
from pacs.worklist.purging import Purge
from pacs.worklist.worklist import Worklist

STOP_CHILDREN_SECONDS = 1.0
STOP_SECONDS = 3.5
KEEP_DONE_DAYS = 7

_log = logging.getLogger(__name__)


@dataclass(frozen=True)
class Host:
    """What our program must know of the Orthanc that it runs in.

    Attributes
    ----------
    temporary_directory : on the volume of the data.
    python : the interpreter for child processes; sys.executable is Orthanc.
    """

    storage_directory: Path
    temporary_directory: Path
    stable_age_seconds: float
    python: Path
    http_port: int
    dicom_port: int


class Application:
    """Everything of ours that runs in Orthanc's process.

    Making it checks the database and brings its schema up to date, so that a fault there keeps Orthanc from starting.

    Raises
    ------
    DatabaseError : the plugins' database can't be used.

    Attributes
    ----------
    metrics : what Prometheus is told, for whoever has figures to add.
    worklist : what modalities are to do.
    """

    def __init__(self, settings: Settings, archive: Archive, host: Host) -> None:
        # What others send is judged by us. pydicom would warn of each odd value, with the value: a patient's, maybe.
        config.settings.reading_validation_mode = config.settings.writing_validation_mode = config.IGNORE
        self._database = Database(settings.database.url)
        self._database.migrate()
        self._supervisor = Supervisor()
        self.metrics = Metrics(__version__, partial(archive.get_bytes, "/tools/metrics-prometheus"))
        monitoring = self._monitoring = self._monitoring_of(host, settings, archive)
        if monitoring.golden_destination:
            settings = settings.model_copy(update={"hl7": with_golden_peer(settings.hl7)})
        self._hl7 = Hl7Bridge(self._database, settings.hl7, self.metrics, self._supervisor, host.python)
        queues = (warm_queue := WorkQueue(self._database, warm.QUEUE_NAME), *self._hl7.queues)
        index = StudyIndex(self._database, archive)
        self._feed = ChangeFeed(self._database, archive, index, stable_age_seconds=host.stable_age_seconds)
        warm.subscribe(self._feed, warm_queue)
        self.worklist = Worklist(self._database, settings.worklist)
        self._take_orders(settings)
        mpps = Mpps(settings.mpps, self._database, archive, self.worklist)
        mpps.follow(self._feed)
        of_outbound = (settings.outbound, self._database, archive, self.worklist, self._hl7.journal)
        outbound = Outbound(*of_outbound, golden_signal=monitoring.golden_destination)
        outbound.follow(self._feed)
        monitoring.follow(self._feed)
        queues = (*queues, *mpps.queues, *outbound.queues)
        of_site = (archive, settings.hl7, settings.mpps, outbound.outbox, self.mapper.library)
        site = Site(*of_site)
        monitoring.send_golden_signal(self._hl7.journal, GoldenSite(*of_site))
        rehearsals = Rehearsals(self._database, archive, self._hl7.journal, site, time_zone=settings.web.zone)
        self._decoder = Decoder(settings.decoding, host.python, host.temporary_directory / "decoding", self.metrics)
        self._models = self._models_made_in(host, settings, archive)
        queues = (*queues, *self._models.queues, *monitoring.queues)
        self._routing = self._routing_made_in(host, settings, archive)
        rules = self._rules_made_of(settings, archive, outbound)
        queues = (*queues, *self._routing.queues, *rules.queues)
        backups = Backups(settings.backup.folder)
        services = Services(
            settings=settings,
            archive=archive,
            database=self._database,
            decoder=self._decoder,
            metrics=self.metrics,
            supervisor=self._supervisor,
            worklist=self.worklist,
            hl7=self._hl7,
            mapper=self.mapper,
            models=self._models,
            decisions=Decisions(self._database, self._hl7.journal, self._hl7.inbox, outbound.outbox),
            rehearsals=rehearsals,
            backups=backups,
            routing=self._routing,
            rules=rules,
            monitoring=monitoring,
            queues=queues,
            version=__version__,
            storage_directory=host.storage_directory,
        )
        for collector in (
            WorkCollector(self._database, queues, self._supervisor),
            PoolCollector(self._decoder.pool),
            BackupCollector(backups),
        ):
            self.metrics.registry.register(collector)
        for part in (
            mpps,
            outbound,
            self._models,
            monitoring,
            self._routing,
            rules,
            QueueWorker(warm_queue, warm.handler(archive), keep_days=KEEP_DONE_DAYS),
        ):
            part.add_to(self._supervisor)
        self._add_threads(settings, services, index)
        self._readiness = self._told_to_the_service_manager(settings, host, archive)

    def _add_threads(self, settings: Settings, services: Services, index: StudyIndex) -> None:
        """Have the supervisor run what works by itself, beside the queues' workers."""
        if settings.worklist.keep_days is not None:
            purge = Purge(self._database, settings.worklist.keep_days)
            self._supervisor.add("worklist purge", purge.run)
        self._supervisor.add("rehearsal", services.rehearsals.run)
        self._supervisor.add("pages", partial(serve, create_app(services), settings.web.socket))
        self._supervisor.add("changes", self._feed.run)
        self._supervisor.add("study index", index.run)

    def _models_made_in(self, host: Host, settings: Settings, archive: Archive) -> Models:
        return Models(
            settings.mesh,
            self._database,
            archive,
            self.metrics,
            storage_directory=host.storage_directory,
            temporary_directory=host.temporary_directory,
            python=host.python,
        )

    def _monitoring_of(self, host: Host, settings: Settings, archive: Archive) -> Monitoring:
        return Monitoring(
            settings.monitoring,
            self._database,
            archive,
            self.metrics,
            web=settings.web,
            storage_directory=host.storage_directory,
            python=host.python,
        )

    def _routing_made_in(self, host: Host, settings: Settings, archive: Archive) -> Routing:
        around = Surroundings(host.storage_directory, host.temporary_directory, host.python, settings.web.zone)
        routing = Routing(settings.routing, self._database, archive, self.metrics, around)
        routing.follow(self._feed)
        return routing

    def _rules_made_of(self, settings: Settings, archive: Archive, outbound: Outbound) -> Rules:
        around = RulesAround(
            database=self._database,
            archive=archive,
            worklist=self.worklist,
            models=self._models,
            outbox=outbound.outbox,
            targets=self._routing.targets.names,
            order=self._routing.ledger.order,
            time_zone=settings.web.zone,
        )
        rules = Rules(settings.routing, around)
        rules.tasks.register("prefetch", self._routing.prefetch)
        rules.follow(self._feed)
        return rules

    def _told_to_the_service_manager(self, settings: Settings, host: Host, archive: Archive) -> Readiness:
        manager = ServiceManager(os.environ)
        readiness = Readiness(manager, _parts(settings, host), partial(archive.get_bytes, "/tools/now"))
        if manager.is_there:
            self._supervisor.add("readiness", readiness.run)
        return readiness

    def _take_orders(self, settings: Settings) -> None:
        """Have orders, appointments and patients' messages change the worklist. Raises MappingError."""
        hl7 = settings.hl7
        library = MappingLibrary(hl7.orders.mapping_folder)
        library.check(peer.mapping for peer in (*hl7.peers.values(), hl7.unknown_peers))
        self.mapper = OrderMapper(library, site=hl7.orders.site, time_zone=settings.web.zone)
        for types, handler in OrderHandlers(self.mapper, self.worklist, hl7.orders):
            self._hl7.processor.register(types, handler)

    def start(self) -> None:
        """Start the threads. Called when Orthanc answers requests."""
        self._supervisor.start()
        _log.info("PACS Cloud %s runs", __version__)

    def notice(self, change: Change) -> None:
        """Take note of a change of the archive. Called from Orthanc's own thread: quick, and asks nothing."""
        self._feed.notice(change)
        self._models.notice(change)

    def find_worklist(self, identifier: Dataset, *, calling_aet: str) -> Iterator[Dataset]:
        """Yield the answers to a station's question for its worklist; see `Worklist.find`."""
        self._monitoring.figures.note_question(calling_aet)
        return self.worklist.find(identifier, calling_aet=calling_aet)

    def transcode(self, dicom: memoryview, syntaxes: frozenset[str]) -> bytes | None:
        """Return an instance in one of the transfer syntaxes, None where that is Orthanc's own work.

        Called from any of Orthanc's threads, which wait for it. Raises ProcessError when the image can't be decoded.
        """
        return self._decoder.transcode(dicom, syntaxes)

    def stop(self) -> None:
        """End the child processes and the threads and close the database, within 5 s."""
        self._readiness.ending()
        decoder = threading.Thread(target=self._decoder.stop, args=(STOP_CHILDREN_SECONDS,))
        decoder.start()
        routing = threading.Thread(target=self._routing.stop, args=(STOP_CHILDREN_SECONDS,))
        routing.start()
        self._models.stop(STOP_CHILDREN_SECONDS)
        decoder.join()
        routing.join()
        self._supervisor.stop(STOP_SECONDS)
        self._database.close()


def _parts(settings: Settings, host: Host) -> dict[str, Listens]:
    """Return what must listen before anybody is told that the archive is there."""
    parts = {
        "DICOM": tcp_port(host.dicom_port),
        "HTTP": tcp_port(host.http_port),
        "pages": unix_socket(settings.web.socket),
        "HL7": tcp_port(settings.hl7.port),
    }
    return parts | ({"MPPS": tcp_port(settings.mpps.port)} if settings.mpps.enabled else {})
