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
from pacs.routing.trial import TrialRoute
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
        self._settings, self._archive, self._host = settings, archive, host
        self._database = Database(settings.database.url)
        self._database.migrate()
        self._supervisor = Supervisor()
        self.metrics = Metrics(__version__, partial(archive.get_bytes, "/tools/metrics-prometheus"))
        self._monitoring = self._make_monitoring()
        if self._monitoring.golden_destination:
            self._settings = settings.model_copy(update={"hl7": with_golden_peer(settings.hl7)})
        self._hl7 = Hl7Bridge(self._database, self._settings.hl7, self.metrics, self._supervisor, host.python)
        index = StudyIndex(self._database, archive)
        self._feed = ChangeFeed(self._database, archive, index, stable_age_seconds=host.stable_age_seconds)
        self.worklist = Worklist(self._database, settings.worklist)
        self.mapper = self._make_mapper()
        self._decoder = Decoder(settings.decoding, host.python, host.temporary_directory / "decoding", self.metrics)
        self._models = self._make_models()
        # In this order the parts are told of a change of the archive.
        warming = self._make_warming()
        mpps = self._make_mpps()
        outbound = self._make_outbound()
        self._monitoring.follow(self._feed)
        self._routing = self._make_routing()
        rules = self._make_rules(outbound)
        parts = (mpps, outbound, self._models, self._monitoring, self._routing, rules, warming)
        queues = (*self._hl7.queues, *(queue for part in parts for queue in part.queues))
        services = self._make_services(outbound, rules, queues)
        self._add_collectors(services)
        for part in parts:
            part.add_to(self._supervisor)
        self._add_threads(services, index)
        self._readiness = self._make_readiness()

    # -- the parts, each made once, in the order of the constructor ------------------------------------------------

    def _make_monitoring(self) -> Monitoring:
        return Monitoring(
            self._settings.monitoring,
            self._database,
            self._archive,
            self.metrics,
            web=self._settings.web,
            storage_directory=self._host.storage_directory,
            python=self._host.python,
        )

    def _make_mapper(self) -> OrderMapper:
        """Have orders, appointments and patients' messages change the worklist. Raises MappingError."""
        hl7 = self._settings.hl7
        library = MappingLibrary(hl7.orders.mapping_folder)
        library.check(peer.mapping for peer in (*hl7.peers.values(), hl7.unknown_peers))
        mapper = OrderMapper(library, site=hl7.orders.site, time_zone=self._settings.web.zone)
        for types, handler in OrderHandlers(mapper, self.worklist, hl7.orders):
            self._hl7.processor.register(types, handler)
        return mapper

    def _make_models(self) -> Models:
        return Models(
            self._settings.mesh,
            self._database,
            self._archive,
            self.metrics,
            storage_directory=self._host.storage_directory,
            temporary_directory=self._host.temporary_directory,
            python=self._host.python,
        )

    def _make_warming(self) -> QueueWorker:
        queue = WorkQueue(self._database, warm.QUEUE_NAME)
        warm.subscribe(self._feed, queue)
        return QueueWorker(queue, warm.handler(self._archive), keep_days=KEEP_DONE_DAYS)

    def _make_mpps(self) -> Mpps:
        mpps = Mpps(self._settings.mpps, self._database, self._archive, self.worklist)
        mpps.follow(self._feed)
        return mpps

    def _make_outbound(self) -> Outbound:
        outbound = Outbound(
            self._settings.outbound,
            self._database,
            self._archive,
            self.worklist,
            self._hl7.journal,
            golden_signal=self._monitoring.golden_destination,
        )
        outbound.follow(self._feed)
        return outbound

    def _make_routing(self) -> Routing:
        host = self._host
        around = Surroundings(host.storage_directory, host.temporary_directory, host.python, self._settings.web.zone)
        routing = Routing(self._settings.routing, self._database, self._archive, self.metrics, around)
        routing.follow(self._feed)
        return routing

    def _make_rules(self, outbound: Outbound) -> Rules:
        around = RulesAround(
            database=self._database,
            archive=self._archive,
            worklist=self.worklist,
            models=self._models,
            outbox=outbound.outbox,
            targets=self._routing.targets.names,
            archives=self._routing.targets.archives,
            order=self._routing.ledger.order,
            metrics=self.metrics,
            time_zone=self._settings.web.zone,
        )
        rules = Rules(self._settings.routing, around)
        rules.tasks.register("prefetch", self._routing.prefetch)
        rules.follow(self._feed)
        return rules

    def _make_rehearsals(self, outbound: Outbound, rules: Rules) -> Rehearsals:
        """Rehearsals of the go-live, and the golden signal, which goes the same way by itself."""
        of_site = (self._archive, self._settings.hl7, self._settings.mpps, outbound.outbox, self.mapper.library)
        route = TrialRoute(self._database, self._routing, rules)
        self._monitoring.send_golden_signal(self._hl7.journal, GoldenSite(*of_site), route)
        zone, journal = self._settings.web.zone, self._hl7.journal
        return Rehearsals(self._database, self._archive, journal, Site(*of_site), time_zone=zone, route=route)

    def _make_services(self, outbound: Outbound, rules: Rules, queues: tuple[WorkQueue, ...]) -> Services:
        """Put together what the pages are made of."""
        return Services(
            settings=self._settings,
            archive=self._archive,
            database=self._database,
            decoder=self._decoder,
            metrics=self.metrics,
            supervisor=self._supervisor,
            worklist=self.worklist,
            hl7=self._hl7,
            mapper=self.mapper,
            models=self._models,
            decisions=Decisions(self._database, self._hl7.journal, self._hl7.inbox, outbound.outbox),
            rehearsals=self._make_rehearsals(outbound, rules),
            backups=Backups(self._settings.backup.folder),
            routing=self._routing,
            rules=rules,
            monitoring=self._monitoring,
            queues=queues,
            version=__version__,
            storage_directory=self._host.storage_directory,
        )

    def _make_readiness(self) -> Readiness:
        manager = ServiceManager(os.environ)
        listening = _listening(self._settings, self._host)
        readiness = Readiness(manager, listening, partial(self._archive.get_bytes, "/tools/now"))
        if manager.is_there:
            self._supervisor.add("readiness", readiness.run)
        return readiness

    def _add_collectors(self, services: Services) -> None:
        """Have Prometheus told of the queues, the decoding and the backups."""
        for collector in (
            WorkCollector(self._database, services.queues, self._supervisor),
            PoolCollector(self._decoder.pool),
            BackupCollector(services.backups),
        ):
            self.metrics.registry.register(collector)

    def _add_threads(self, services: Services, index: StudyIndex) -> None:
        """Have the supervisor run what works by itself, beside the queues' workers."""
        settings = self._settings
        if settings.worklist.keep_days is not None:
            purge = Purge(self._database, settings.worklist.keep_days)
            self._supervisor.add("worklist purge", purge.run)
        self._supervisor.add("rehearsal", services.rehearsals.run)
        self._supervisor.add("pages", partial(serve, create_app(services), settings.web.socket))
        self._supervisor.add("changes", self._feed.run)
        self._supervisor.add("study index", index.run)

    # -- what Orthanc calls ----------------------------------------------------------------------------------------

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


def _listening(settings: Settings, host: Host) -> dict[str, Listens]:
    """Return what must listen before anybody is told that the archive is there."""
    parts = {
        "DICOM": tcp_port(host.dicom_port),
        "HTTP": tcp_port(host.http_port),
        "pages": unix_socket(settings.web.socket),
        "HL7": tcp_port(settings.hl7.port),
    }
    return parts | ({"MPPS": tcp_port(settings.mpps.port)} if settings.mpps.enabled else {})
