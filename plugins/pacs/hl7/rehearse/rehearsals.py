"""`Rehearsals`: rehearsals asked for by the page and the command, done by a thread of their own, their sheets kept."""

from __future__ import annotations

import logging
import queue
import threading
import time
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, replace
from datetime import timedelta, tzinfo

from sqlalchemy import select

from pacs.database import Database
from pacs.errors import Conflict, InvalidInput, NotFound, PacsError
from pacs.hl7.journal import Journal
from pacs.hl7.rehearse.evidence import Tools
from pacs.hl7.rehearse.fiction import ORDER_TYPES, REHEARSAL
from pacs.hl7.rehearse.models import RehearsalRecord
from pacs.hl7.rehearse.rehearsal import Rehearsal
from pacs.hl7.rehearse.sheet import Line, Record, Sheet, StationSheet
from pacs.hl7.rehearse.site import KnownStation, Site
from pacs.hl7.rehearse.traces import Traces
from pacs.ports import Archive
from pacs.routing.trial import TrialRoute
from pacs.work.queue import Clock, utc_now

_log = logging.getLogger(__name__)

# Longer than any single check takes.
_INTERRUPTED_AFTER = timedelta(minutes=3)
_LOOK_SECONDS = 0.5
_TIDY_EVERY_SECONDS = 30.0
MOST_STATIONS = 64


@dataclass(frozen=True)
class _Job:
    rehearsal_id: int
    stations: tuple[KnownStation, ...]
    sheet: Sheet


class Rehearsals:
    """Takes orders for rehearsals from any thread and does one after the other in the thread that calls `run`.

    Parameters
    ----------
    time_zone : of the hospital.
    """

    def __init__(
        self,
        database: Database,
        archive: Archive,
        journal: Journal,
        site: Site,
        *,
        time_zone: tzinfo,
        route: TrialRoute | None = None,
        clock: Clock = utc_now,
    ) -> None:
        self.site = site
        self._database = database
        self._archive = archive
        self._tools = Tools(database, archive, journal, site, Traces(database, archive, route=route), route)
        self._time_zone = time_zone
        self._clock = clock
        self._jobs: queue.SimpleQueue[_Job] = queue.SimpleQueue()
        self._tidy_at = 0.0

    def start(
        self,
        names: Sequence[str],
        *,
        actor: str,
        message_type: str = ORDER_TYPES[0],
        sender: str = "",
        modalities: Mapping[str, str] | None = None,
    ) -> int:
        """Have modalities rehearsed and return the rehearsal's id at once.

        Parameters
        ----------
        names : of Orthanc's modalities, or AE titles; none for all modalities that Orthanc knows.
        sender : the peer in whose name the orders are sent.
        modalities : by name, what the order is for, where the name does not tell it.

        Raises
        ------
        InvalidInput : nothing to rehearse, too much, or a message type or sender that there is not.
        Conflict : one goes on already.
        """
        stations = self.site.chosen(names) if names else self.site.stations()
        if not 0 < len(stations) <= MOST_STATIONS:
            raise InvalidInput(
                f"Expected 1 to {MOST_STATIONS} modalities, found {len(stations)}.",
                remedy="Register them on the page of AEs, or choose fewer.",
            )
        if message_type not in ORDER_TYPES or self.site.sender(sender) is None:
            raise InvalidInput("Expected a type of order and a sender that are known here, found others.")
        chosen = tuple(_with_modality(station, modalities or {}) for station in stations)
        sheet = Sheet(
            message_type,
            sender,
            tuple(StationSheet(station.name, station.ae_title, station.modality) for station in chosen),
            (*self.site.told(), *self.site.forwarded_to),
        )
        rehearsal_id = self._record(actor, sheet)
        self._jobs.put(_Job(rehearsal_id, chosen, sheet))
        return rehearsal_id

    def get(self, rehearsal_id: int) -> Record:
        """Return a rehearsal with its sheet as far as it is. Raises NotFound."""
        with self._database.session() as session:
            row = session.get(RehearsalRecord, rehearsal_id)
        if row is None:
            raise NotFound(f"There is no rehearsal {rehearsal_id}.")
        return self._read(row)

    def latest(self, most: int = 20) -> list[Record]:
        """Return the newest rehearsals, newest first."""
        with self._database.session() as session:
            rows = session.scalars(select(RehearsalRecord).order_by(RehearsalRecord.id.desc()).limit(most)).all()
        return [self._read(row) for row in rows]

    def run(self, stop: threading.Event) -> None:
        """Do what was asked for, until `stop` is set. A supervised thread."""
        while not stop.is_set():
            try:
                job = self._jobs.get(timeout=_LOOK_SECONDS)
            except queue.Empty:
                self._tidy()
                continue
            try:
                self._clear()
                self._rehearse(job, stop)
            except PacsError:
                _log.exception("rehearsal %d ended early", job.rehearsal_id)
            finally:
                self._end(job.rehearsal_id)

    # -- parts ---------------------------------------------------------------------------------------------------------

    def _rehearse(self, job: _Job, stop: threading.Event) -> None:
        sheet = job.sheet
        peer = self.site.sender(sheet.sender)
        assert peer is not None  # noqa: S101 (start looked)
        for index, station in enumerate(job.stations):
            now = self._clock().astimezone(self._time_zone)
            rehearsal = Rehearsal(self._tools, station, peer, sheet.message_type, now=now, should_stop=stop.is_set)
            for line in rehearsal.run():
                sheet = _with_line(sheet, index, line)
                self._write(job.rehearsal_id, sheet)

    def _tidy(self) -> None:
        """Look now and then whether a rehearsal was interrupted, by a restart maybe, and end it for good."""
        if time.monotonic() < self._tidy_at:
            return
        self._tidy_at = time.monotonic() + _TIDY_EVERY_SECONDS
        newest = next(iter(self.latest(1)), None)
        if newest is not None and newest.ended_at is None and newest.is_interrupted:
            self._clear()
            self._end(newest.id)

    def _clear(self) -> None:
        """Remove what an interrupted rehearsal left: one goes on at a time, so all there is was left."""
        for name in self._archive.get_json("/modalities"):
            if name.startswith(REHEARSAL.prefix.lower()):
                self._archive.delete(f"/modalities/{name}")
        if count := self._tools.traces.remove_left_behind():
            _log.warning("removed what interrupted rehearsals had left of %d patients of fiction", count)

    def _record(self, actor: str, sheet: Sheet) -> int:
        now = self._clock()
        with self._database.session(write=True) as session:
            newest = session.scalars(select(RehearsalRecord).order_by(RehearsalRecord.id.desc()).limit(1)).first()
            if newest is not None and self._read(newest).is_running:
                raise Conflict(f"Rehearsal {newest.id} goes on.", remedy="Wait until it has ended.")
            record = RehearsalRecord(actor=actor, started_at=now, changed_at=now, ended_at=None, sheet=sheet.as_json())
            session.add(record)
            session.flush()
            return record.id

    def _write(self, rehearsal_id: int, sheet: Sheet) -> None:
        with self._database.session(write=True) as session:
            record = session.get_one(RehearsalRecord, rehearsal_id)
            record.sheet, record.changed_at = sheet.as_json(), self._clock()

    def _end(self, rehearsal_id: int) -> None:
        with self._database.session(write=True) as session:
            session.get_one(RehearsalRecord, rehearsal_id).ended_at = self._clock()

    def _read(self, row: RehearsalRecord) -> Record:
        is_silent = self._clock() - row.changed_at > _INTERRUPTED_AFTER
        sheet = Sheet.from_json(row.sheet)
        is_interrupted = is_silent if row.ended_at is None else sheet.outcome is None
        return Record(row.id, row.actor, row.started_at, row.ended_at, is_interrupted, sheet)


def _with_modality(station: KnownStation, modalities: Mapping[str, str]) -> KnownStation:
    modality = modalities.get(station.name) or modalities.get(station.ae_title)
    return replace(station, modality=modality) if modality else station


def _with_line(sheet: Sheet, index: int, line: Line) -> Sheet:
    stations = list(sheet.stations)
    stations[index] = replace(stations[index], lines=(*stations[index].lines, line))
    return replace(sheet, stations=tuple(stations))
