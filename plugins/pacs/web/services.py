"""What the pages need from the rest of the program, handed over once when the application is made."""

from __future__ import annotations

from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING, Protocol, cast

from flask import current_app

if TYPE_CHECKING:
    from pacs.access.settings import AccessSettings
    from pacs.backup.overview import Backups
    from pacs.database import Database
    from pacs.decoding.decoder import Decoder
    from pacs.hl7.bridge import Hl7Bridge
    from pacs.hl7.decisions import Decisions
    from pacs.hl7.orders import OrderMapper
    from pacs.hl7.rehearse.rehearsals import Rehearsals
    from pacs.mesh.jobs.service import Models
    from pacs.metrics import Metrics
    from pacs.monitoring.service import Monitoring
    from pacs.ports import Archive
    from pacs.routing.rules.service import Rules
    from pacs.routing.service import Routing
    from pacs.web.settings import WebSettings
    from pacs.work import Supervisor, WorkQueue
    from pacs.worklist.worklist import Worklist

_EXTENSION = "pacs"


class HasWebSettings(Protocol):
    """The settings tree, as far as the pages look at it."""

    @property
    def access(self) -> AccessSettings:
        """Whether one has to be somebody to do something."""

    @property
    def web(self) -> WebSettings:
        """The part of the pages."""


@dataclass(frozen=True)
class Services:
    """The parts of the running program.

    Attributes
    ----------
    mapper : reads messages as processing does, for the page that tries a mapping.
    models : 3D models.
    backups : what the backups tell of themselves.
    routing : targets and deliveries.
    rules : what decides where studies go.
    monitoring : figures, golden signal, reports.
    decisions : what people decide on dead letters.
    version : version of PACS Cloud.
    storage_directory : folder of Orthanc's files, to tell how full its disk is.
    """

    settings: HasWebSettings
    archive: Archive
    database: Database
    decoder: Decoder
    metrics: Metrics
    supervisor: Supervisor
    worklist: Worklist
    hl7: Hl7Bridge
    mapper: OrderMapper
    models: Models
    decisions: Decisions
    rehearsals: Rehearsals
    backups: Backups
    routing: Routing
    rules: Rules
    monitoring: Monitoring
    queues: tuple[WorkQueue, ...] = ()
    version: str = ""
    storage_directory: Path = Path("/var/lib/pacs")

    @classmethod
    def current(cls) -> Services:
        """Return the services of the application that answers the current request."""
        return cast("Services", current_app.extensions[_EXTENSION])

    @property
    def web(self) -> WebSettings:
        """The settings of the pages."""
        return self.settings.web
