"""The golden signal: a study of nobody goes the whole way through the archive, timed at each step, and leaves nothing.

Order by HL7, worklist, MPPS, C-STORE, the list of studies, routing, DICOMweb, status out, all removed: the steps are
those of the go-live rehearsal; a line more in `Rehearsal.run` is a step more here. It is routed and told to systems of
our own (`TrialRoute`, `sink`), never to others.
"""

from __future__ import annotations

import logging
import threading
from collections.abc import Callable, Mapping
from dataclasses import dataclass
from datetime import UTC, datetime, timedelta, tzinfo
from typing import Any, override

from sqlalchemy import delete, select

from pacs.database import Database
from pacs.errors import PacsError
from pacs.hl7.journal import Journal
from pacs.hl7.outbound.settings import DestinationSettings
from pacs.hl7.rehearse.evidence import Tools
from pacs.hl7.rehearse.fiction import GOLDEN_SIGNAL
from pacs.hl7.rehearse.rehearsal import Rehearsal
from pacs.hl7.rehearse.sheet import Line, Outcome
from pacs.hl7.rehearse.site import KnownStation, Site
from pacs.hl7.rehearse.traces import Traces
from pacs.hl7.settings import LOOPBACK, Hl7Settings, PeerSettings
from pacs.monitoring import incidents
from pacs.monitoring.identity import AE_TITLE, APPLICATION, PEER
from pacs.monitoring.models import GoldenRunRecord
from pacs.ports import Archive
from pacs.routing.trial import TrialRoute
from pacs.work.queue import Clock, utc_now

_log = logging.getLogger(__name__)

KEEP_DAYS = 400
_FIRST_AFTER_SECONDS = 60.0
_MODALITY = "OT"
# What a station is told about one step: scheduled, started, completed.
_TOLD_EVENTS = 3
_DETAIL_LENGTH = 500


@dataclass(frozen=True)
class Step:
    """One step of a run.

    Attributes
    ----------
    name : as in metrics, "status_out".
    is_good : None where there was nothing to test.
    """

    name: str
    is_good: bool | None
    seconds: float


@dataclass(frozen=True)
class Run:
    """A run.

    Attributes
    ----------
    failed_step, detail : the first step that failed and why; "" where all passed.
    interval_seconds : after which the next one was due.
    """

    began_at: datetime
    failed_step: str
    detail: str
    interval_seconds: float
    steps: tuple[Step, ...]

    @property
    def is_good(self) -> bool:
        """Whether nothing failed."""
        return not self.failed_step

    @property
    def seconds(self) -> float:
        """How long the whole way took."""
        return sum(step.seconds for step in self.steps)


class GoldenSite(Site):
    """The archive as the golden signal sees it: its own system alone is told."""

    @override
    def told(self) -> dict[str, int]:
        return {PEER: _TOLD_EVENTS}


class GoldenSignal:
    """Sends the signal now and then, and keeps how it went. `run` is a supervised thread's; the rest may be any's.

    Parameters
    ----------
    interval_seconds : from one run's beginning to the next one's.
    """

    def __init__(
        self,
        database: Database,
        archive: Archive,
        journal: Journal,
        site: GoldenSite,
        *,
        route: TrialRoute | None,
        interval_seconds: float,
        time_zone: tzinfo,
        clock: Clock = utc_now,
    ) -> None:
        self.interval_seconds = interval_seconds
        self._database = database
        self._archive = archive
        traces = Traces(database, archive, GOLDEN_SIGNAL, route)
        self._tools = Tools(database, archive, journal, site, traces, route)
        self._time_zone = time_zone
        self._clock = clock

    def run(self, stop: threading.Event) -> None:
        """Send it every interval until `stop` is set."""
        pause_seconds = min(_FIRST_AFTER_SECONDS, self.interval_seconds)
        while not stop.wait(pause_seconds):
            began_at = self._clock()
            self.send(stop.is_set)
            took_seconds = (self._clock() - began_at).total_seconds()
            pause_seconds = max(self.interval_seconds - took_seconds, 1.0)

    def send(self, should_stop: Callable[[], bool] = lambda: False) -> Run | None:
        """Send it once and keep how it went; None when it was told to stop on the way."""
        began_at = self._clock()
        self._clear()
        lines = list(self._rehearsal(began_at, should_stop).run())
        if should_stop():
            return None
        run, before = _run_of(began_at, lines, self.interval_seconds), latest(self._database)
        self._keep(run)
        _tell(run, is_cured=run.is_good and any(not last.is_good for last in before))
        return run

    def _rehearsal(self, began_at: datetime, should_stop: Callable[[], bool]) -> Rehearsal:
        entry = {"AET": AE_TITLE, "Host": LOOPBACK, "Port": 104}
        station = KnownStation(PEER, AE_TITLE, _MODALITY, entry)
        peer = self._tools.site.sender(PEER)
        if peer is None:
            raise PacsError(f"No HL7 peer is called {PEER}.")
        now = began_at.astimezone(self._time_zone)
        # Of the types of orders the one that names a station.
        return Rehearsal(self._tools, station, peer, "OMI^O23", now=now, play=GOLDEN_SIGNAL, should_stop=should_stop)

    def _clear(self) -> None:
        """Remove what an interrupted run left."""
        for name in self._archive.get_json("/modalities"):
            if name.startswith(GOLDEN_SIGNAL.prefix.lower()):
                self._archive.delete(f"/modalities/{name}")
        self._tools.traces.remove_left_behind()

    def _keep(self, run: Run) -> None:
        steps = [[step.name, step.is_good, step.seconds] for step in run.steps]
        with self._database.session(write=True) as session:
            session.add(
                GoldenRunRecord(
                    began_at=run.began_at,
                    failed_step=run.failed_step,
                    detail=run.detail,
                    interval_seconds=run.interval_seconds,
                    steps=steps,
                )
            )
            too_old = run.began_at - timedelta(days=KEEP_DAYS)
            session.execute(delete(GoldenRunRecord).where(GoldenRunRecord.began_at < too_old))
            now_wrong = [] if run.is_good else [incidents.Fact("golden", run.failed_step, "", "critical", {})]
            incidents.follow(session, "golden", now_wrong, self._clock())


def with_golden_peer(settings: Hl7Settings) -> Hl7Settings:
    """Return HL7 settings that know the sender of the golden signal's orders, from this machine alone."""
    bind = settings.bind
    own = {LOOPBACK, str(bind)} - {"0.0.0.0", "::"}  # noqa: S104 (addresses to leave out)
    peer = PeerSettings.model_validate(
        {
            "Addresses": sorted(own),
            "SendingApplication": APPLICATION,
            "SendingFacility": "PACS",
            "Mapping": "",
            "MostConnections": 4,
        }
    )
    # First of all: a peer of this machine without names of its own would take these orders for its own.
    return settings.model_copy(update={"peers": {PEER: peer, **settings.peers}})


def golden_destination(port: int) -> DestinationSettings:
    """Return where the golden signal is told of its orders."""
    return DestinationSettings.model_validate(
        {"Host": LOOPBACK, "Port": port, "Events": ["scheduled", "started", "completed"], "ProcessingId": "T"}
    )


def latest(database: Database, most: int = 1) -> list[Run]:
    """Return the newest runs, newest first."""
    statement = select(GoldenRunRecord).order_by(GoldenRunRecord.id.desc()).limit(most)
    with database.session() as session:
        return [_read(record) for record in session.scalars(statement)]


def last_success(database: Database) -> datetime | None:
    """Return when the newest good run began."""
    statement = (
        select(GoldenRunRecord.began_at)
        .where(GoldenRunRecord.failed_step == "")
        .order_by(GoldenRunRecord.id.desc())
        .limit(1)
    )
    with database.session() as session:
        return session.scalars(statement).first()


def _read(record: GoldenRunRecord) -> Run:
    steps = tuple(Step(name, is_good, seconds) for name, is_good, seconds in record.steps)
    return Run(record.began_at, record.failed_step, record.detail, record.interval_seconds, steps)


def _run_of(began_at: datetime, lines: list[Line], interval_seconds: float) -> Run:
    failed = next((line for line in lines if line.outcome is Outcome.FAILED), None)
    results: Mapping[Outcome, bool | None] = {Outcome.PASSED: True, Outcome.FAILED: False, Outcome.NOT_TESTED: None}
    return Run(
        began_at.astimezone(UTC),
        _name(failed) if failed else "",
        failed.detail[:_DETAIL_LENGTH] if failed else "",
        interval_seconds,
        tuple(Step(_name(line), results[line.outcome], line.seconds) for line in lines),
    )


def _name(line: Line) -> str:
    return line.check.value.replace(" ", "_")


def _tell(run: Run, *, is_cured: bool) -> None:
    """Tell the log, by which an audit knows the signal from a person.

    What somebody has to know, a failure and its end, is heard at Orthanc's usual level; that all goes on well is not.
    """
    facts: dict[str, Any] = {"probe": PEER, "seconds": round(run.seconds, 3)}
    if not run.is_good:
        step = {"step": run.failed_step}
        _log.error("the golden signal failed at %s: %s", run.failed_step, run.detail, extra=facts | step)
        return
    level = logging.WARNING if is_cured else logging.INFO
    again = " again" if is_cured else ""
    _log.log(level, "the golden signal went the whole way%s in %.2f s", again, run.seconds, extra=facts)
