"""`Figures`: what is known of stations and disk, gathered now and then, for Prometheus and the Status page."""

from __future__ import annotations

import logging
import shutil
import threading
from collections.abc import Mapping
from dataclasses import dataclass
from datetime import datetime, timedelta, tzinfo
from pathlib import Path

from sqlalchemy import select
from sqlalchemy.dialects import postgresql, sqlite
from sqlalchemy.orm import Session

from pacs.database import Database
from pacs.errors import ArchiveError
from pacs.hl7.rehearse.site import is_temporary
from pacs.monitoring import alerts, arrivals, incidents
from pacs.monitoring.arrivals import Arrivals, Day, Recent
from pacs.monitoring.identity import AE_TITLE
from pacs.monitoring.models import AE_TITLE_LENGTH, QuestionRecord
from pacs.monitoring.silence import longest_silence
from pacs.ports import Archive
from pacs.work.queue import Clock, utc_now

_log = logging.getLogger(__name__)

MOST_STATIONS = 50
_DAYS_OF_YEAR = 365.25
# The alert about the golden signal, whose failures are incidents by themselves.
_TOLD_BY_GOLDEN_SIGNAL = "GoldenPathBroken"
# Silence a little longer than ever is no news yet.
_MARGIN = 1.1
_LEAST_MARGIN = timedelta(minutes=10)


@dataclass(frozen=True)
class Modality:
    """What is known of one station.

    Attributes
    ----------
    names : by which Orthanc knows it; empty for one that it does not.
    last_image_at : None when nothing came in the last half year.
    longest_silence : ever at this hour of this weekday; None while too little is known.
    last_question_at : when it last asked for its worklist.
    daily : studies on each of the last days, today last.
    """

    station: str
    names: tuple[str, ...]
    last_image_at: datetime | None
    longest_silence: timedelta | None
    last_question_at: datetime | None
    studies: int
    without_order: int
    daily: tuple[int, ...]

    def is_silent(self, now: datetime) -> bool:
        """Whether it is silent for longer than ever at such a time."""
        if self.last_image_at is None or self.longest_silence is None:
            return False
        limit = self.longest_silence * _MARGIN + _LEAST_MARGIN
        return now - self.last_image_at > limit


@dataclass(frozen=True)
class Disk:
    """The disk of the images; growth None while it is not known."""

    total_bytes: int
    free_bytes: int
    growth_bytes_per_day: float | None

    @property
    def years_left(self) -> float | None:
        """Until it is full, as the last weeks went on."""
        if not self.growth_bytes_per_day:
            return None
        return self.free_bytes / self.growth_bytes_per_day / _DAYS_OF_YEAR


@dataclass(frozen=True)
class Snapshot:
    """All of it, at one moment."""

    at: datetime
    modalities: tuple[Modality, ...]
    disk: Disk | None
    days: tuple[Day, ...]
    alerts: tuple[alerts.Alert, ...]


class Figures:
    """Gathers. `run` is a supervised thread's, `note_question` any thread's.

    Parameters
    ----------
    storage_directory : of Orthanc, to tell how full its disk is.
    alerts_url : where Prometheus lists its alerts, None without one.
    """

    def __init__(
        self,
        database: Database,
        archive: Archive,
        *,
        storage_directory: Path,
        zone: tzinfo,
        every_seconds: float = 60.0,
        alerts_url: str | None = None,
        clock: Clock = utc_now,
    ) -> None:
        self._database = database
        self._archive = archive
        self._storage_directory = storage_directory
        self._zone = zone
        self._every_seconds = every_seconds
        self._alerts_url = alerts_url
        self._clock = clock
        self._arrivals = Arrivals()
        self._lock = threading.Lock()
        self._asked: dict[str, datetime] = {}
        self._latest: Snapshot | None = None

    def note_question(self, ae_title: str) -> None:
        """Take note that a station asked for its worklist. Called from Orthanc's thread: returns at once."""
        if ae_title != AE_TITLE:
            with self._lock:
                self._asked[ae_title[:AE_TITLE_LENGTH]] = self._clock()

    def latest(self) -> Snapshot | None:
        """Return what was gathered last, None before the first time."""
        return self._latest

    def run(self, stop: threading.Event) -> None:
        """Gather again and again until `stop` is set."""
        while not stop.is_set():
            self.gather()
            stop.wait(self._every_seconds)

    def gather(self) -> Snapshot:
        """Gather now. Raises DatabaseError."""
        now = self._clock()
        firing = alerts.firing(self._alerts_url) if self._alerts_url else ()
        self._write_questions(now, firing)
        names = self._names()
        with self._database.session() as session:
            self._arrivals.update(session, now)
            asked = session.execute(select(QuestionRecord.ae_title, QuestionRecord.asked_at))
            questions = {row.ae_title: row.asked_at for row in asked}
            recent = arrivals.recent(session, now)
            today = now.astimezone(self._zone).date()
            days = arrivals.days(session, today, self._zone)
            growth = arrivals.growth_bytes_per_day(session, now)
        stations = self._stations(names, questions)
        found = tuple(self._modality(one, names, questions, recent.get(one), now) for one in stations)
        self._latest = Snapshot(now, found, self._disk(growth), days, firing or ())
        return self._latest

    def _stations(self, names: Mapping[str, tuple[str, ...]], questions: Mapping[str, datetime]) -> list[str]:
        """Return the stations that are told of: those with most studies first, so that a flood of names drowns none."""
        by_station = self._arrivals.stations()
        known = by_station.keys() | {name for name in names if name in questions or name in by_station}
        return sorted(known, key=lambda one: (-len(by_station.get(one, ())), one))[:MOST_STATIONS]

    def _modality(
        self,
        station: str,
        names: Mapping[str, tuple[str, ...]],
        questions: Mapping[str, datetime],
        recent: Recent | None,
        now: datetime,
    ) -> Modality:
        moments = self._arrivals.stations().get(station, ())
        return Modality(
            station,
            names.get(station, ()),
            recent.last_image_at if recent else self._arrivals.last(station),
            longest_silence(moments, now, self._zone),
            questions.get(station),
            recent.studies if recent else 0,
            recent.without_order if recent else 0,
            self._arrivals.daily(station, now.astimezone(self._zone).date(), self._zone),
        )

    def _names(self) -> dict[str, tuple[str, ...]]:
        """Return the names by which Orthanc knows each AE title."""
        found: dict[str, tuple[str, ...]] = {}
        try:
            entries = self._archive.get_json("/modalities?expand")
        except ArchiveError as error:
            _log.warning("no names of stations: %s", error)
            return found
        for name, entry in entries.items():
            if not is_temporary(name):
                found[entry["AET"]] = (*found.get(entry["AET"], ()), name)
        return found

    def _disk(self, growth: float | None) -> Disk | None:
        try:
            usage = shutil.disk_usage(self._storage_directory)
        except OSError:
            return None
        return Disk(usage.total, usage.free, growth)

    def _write_questions(self, now: datetime, firing: tuple[alerts.Alert, ...] | None) -> None:
        """Keep what came in since the last time: a restart forgets nothing that is older than a minute."""
        with self._lock:
            asked, self._asked = self._asked, {}
        if not asked and not self._alerts_url:
            return
        with self._database.session(write=True) as session:
            self._upsert(session, asked)
            if firing is not None and self._alerts_url:
                facts = [alert.fact() for alert in firing if alert.name != _TOLD_BY_GOLDEN_SIGNAL]
                incidents.follow(session, "alert", facts, now)

    def _upsert(self, session: Session, asked: Mapping[str, datetime]) -> None:
        if not asked:
            return
        insert = sqlite.insert if self._database.is_sqlite else postgresql.insert
        statement = insert(QuestionRecord)
        session.execute(
            statement.on_conflict_do_update(
                index_elements=["ae_title"], set_={"asked_at": statement.excluded.asked_at}
            ),
            [{"ae_title": station, "asked_at": at} for station, at in asked.items()],
        )
