"""`Routing`: rules decide where studies go, deliveries bring them there; put together for the application."""

from __future__ import annotations

import logging
import threading
from collections.abc import Callable
from dataclasses import dataclass
from datetime import tzinfo
from pathlib import Path

from sqlalchemy.orm import Session

from pacs.database import Database
from pacs.metrics import Metrics
from pacs.ports import Archive, ChangeKind
from pacs.processes.scratch import Scratch
from pacs.routing.delivery.children import Children
from pacs.routing.delivery.commitment import Commitment
from pacs.routing.delivery.failover import Failover
from pacs.routing.delivery.figures import DeliveryCollector, Figures
from pacs.routing.delivery.forgetting import Forgetting
from pacs.routing.delivery.identities import Identities
from pacs.routing.delivery.lane import Lane
from pacs.routing.delivery.ledger import Ledger
from pacs.routing.delivery.overview import Overview
from pacs.routing.delivery.presence import PAUSES_SECONDS, Presence
from pacs.routing.delivery.queues import Queues
from pacs.routing.delivery.shipping import Means
from pacs.routing.delivery.stations import Stations
from pacs.routing.prefetch.service import Prefetch
from pacs.routing.settings import RoutingSettings
from pacs.routing.targets.library import Targets
from pacs.routing.targets.model import MOST_PARALLEL
from pacs.routing.targets.own import OWN_TARGET, own_target
from pacs.studies import ChangeFeed
from pacs.studies.changes import FeedChange
from pacs.studies.instance_files import InstanceFiles
from pacs.work import Supervisor, WorkQueue

_log = logging.getLogger(__name__)


@dataclass(frozen=True)
class Surroundings:
    """What routing finds around it.

    Attributes
    ----------
    temporary_directory : on the (encrypted) volume of the data: patients' images pass through it.
    python : the interpreter of child processes.
    zone : in which windows and schedules are written.
    """

    storage_directory: Path
    temporary_directory: Path
    python: Path
    zone: tzinfo


class Routing:
    """Where studies are sent, and how that goes.

    Attributes
    ----------
    targets : where studies can be sent.
    ledger : orders deliveries, replays, skips them.
    overview : what is under way, for the pages.
    prefetch : brings priors; the handler of the rules' tasks of this kind.
    own_folder : what the target of our own keeps.
    """

    def __init__(
        self,
        settings: RoutingSettings,
        database: Database,
        archive: Archive,
        metrics: Metrics,
        around: Surroundings,
        *,
        queues: Queues | None = None,
        pauses_seconds: tuple[float, float] = PAUSES_SECONDS,
    ) -> None:
        self._settings = settings
        self._around = around
        self._pauses_seconds = pauses_seconds
        self._database = database
        folder = around.temporary_directory / "routing"
        self.own_folder = folder / "own"
        self.targets = Targets(settings.folder / "targets.yaml", own={OWN_TARGET: own_target(self.own_folder)})
        self._queues = queues or Queues(database)
        self.ledger = Ledger(database, self._queues)
        self.overview = Overview(database, self._queues.clock)
        self._scratch = Scratch(folder)
        self.own_folder.mkdir(exist_ok=True, mode=0o700)
        self._children_folder = folder / "children"
        self._stations = Stations(archive)
        self._figures = Figures(metrics)
        self._means = Means(
            archive=archive,
            ledger=self.ledger,
            files=InstanceFiles(archive, around.storage_directory, self._scratch),
            commitment=Commitment(archive),
            scratch=self._scratch.folder,
            identities=Identities(settings.folder / "deidentify.yaml", database, self._queues.clock),
        )
        self.prefetch = Prefetch(database, archive, self.ledger, self.lane)
        self._lanes: dict[str, Lane] = {}
        # The lanes that have threads.
        self._working: set[str] = set()
        self._lock = threading.Lock()
        self._supervisor: Supervisor | None = None
        metrics.registry.register(DeliveryCollector(self.overview))

    @property
    def queues(self) -> tuple[WorkQueue, ...]:
        """What is on its way, by target."""
        return tuple(self._queues.of(name) for name in self.targets.names())

    def follow(self, feed: ChangeFeed) -> None:
        """Subscribe to the archive's changes: who was sent a study gets what came late."""
        if self._settings.enabled:
            feed.subscribe({ChangeKind.STABLE_STUDY}, self._on_stable)

    def _on_stable(self, session: Session, change: FeedChange) -> None:
        self.ledger.late(session, change.resource_id)

    def add_to(self, supervisor: Supervisor) -> None:
        """Add the threads; targets that come later, or are to have more or fewer, get theirs then."""
        if not self._settings.enabled:
            return
        self._supervisor = supervisor
        supervisor.add("routing targets", self.targets.run)
        forgetting = Forgetting(self._database, self._settings.keep_days, self._queues.clock)
        supervisor.add("routing forgetting", forgetting.run)
        supervisor.add("routing counts", self.overview.run)
        supervisor.add("routing failover", Failover(self.ledger, self.targets, self.lane).run)
        self._add_lanes()
        self.targets.on_change(self._add_lanes)

    def test(self, target: str) -> None:
        """Try whether a target is there and lets us in.

        Raises
        ------
        NotFound, SendingFault, ProcessError : why not.
        """
        self.lane(target).test()

    def lane(self, target: str) -> Lane:
        """Return all that concerns a target. Raises NotFound."""
        with self._lock:
            lane = self._lanes.get(target)
            if lane is None:
                lane = self._lanes[target] = self._lane(target)
            return lane

    def stop(self, timeout_seconds: float) -> None:
        """End the child processes; what they were sending is sent later."""
        with self._lock:
            lanes = list(self._lanes.values())
        _all_at_once([lambda lane=lane: lane.children.stop(timeout_seconds) for lane in lanes])  # type: ignore[misc]
        self._scratch.close()

    def _add_lanes(self) -> None:
        for name in (*self.targets.names(), *self.targets.own):
            lane, threads = self.lane(name), self.targets.get(name).parallel
            if name in self._working:
                lane.resize(threads)
            elif self._supervisor is not None:
                self._working.add(name)
                lane.add_to(self._supervisor, threads)

    def _lane(self, name: str) -> Lane:
        children = Children(
            self._around.python,
            self._children_folder,
            # Started as they are needed: `parallel` may grow, and there are questions beside.
            size=MOST_PARALLEL + 1,
            memory_bytes=self._settings.memory_bytes,
            threads=self._settings.threads,
        )
        presence = Presence(self._database, name, self._queues.clock, pauses_seconds=self._pauses_seconds)
        return Lane(
            name,
            self.targets,
            self._means,
            stations=self._stations,
            children=children,
            presence=presence,
            figures=self._figures,
            zone=self._around.zone,
        )


def _all_at_once(actions: list[Callable[[], None]]) -> None:
    threads = [threading.Thread(target=action) for action in actions]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()
