"""`Backups`: what the pages and Prometheus show of the backups, out of the status files. Runs in Orthanc's process.

Nothing here needs the backups' rights or secrets; the one thing written is the request for a drill, which a unit takes.
"""

from __future__ import annotations

import fcntl
import json
import re
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from datetime import UTC, datetime, timedelta
from pathlib import Path
from typing import Any

from pydantic import BaseModel, ConfigDict, Field
from pydantic.alias_generators import to_pascal

from pacs.backup import moments, status
from pacs.errors import Conflict, NotFound, PacsError

REQUEST = Path("requests") / "drill.json"
SITE = "site.json"
DRILLS = "drills.json"
# To which moments a place goes back.
NOTED = "points.{place}.json"
REPORTS = "reports"
FORECAST_YEARS = (1, 5, 10, 20)
# What is done here, and at each place.
_HERE = ("files", "log", "database", "nightly", "fixity", "consistency", "check", "prune", "drill")
_THERE = ("files", "log", "database", "system")
# So many periods without success are one missed run and a long one: late.
_LATE_PERIODS = 3
_LEAST_LATE = timedelta(minutes=5)
_LEAST_DAYS_OF_GROWTH = 1.0
_DAYS_OF_YEAR = 365.25
_REPORT = re.compile(r"drill-[0-9T]+-[a-z0-9_]+\.(?:(?:en|es|pt)\.txt|json)(?:\.sig)?|signing\.pub")


class BackupsSettings(BaseModel):
    """The part "Pacs.Backup" of the settings. What is backed up and where to stands in /etc/pacs/backup/backup.yml."""

    model_config = ConfigDict(alias_generator=to_pascal, extra="forbid", frozen=True, validate_default=True)

    folder: Path = Field(
        default=Path("/var/lib/pacs-backup"), description="Where the backups keep what they tell of themselves."
    )


@dataclass(frozen=True)
class Task:
    """What is done again and again, at one place or here.

    Attributes
    ----------
    kind : "files", "database", "log", "check", "nightly", "fixity", "consistency", "drill" ...
    outcome : "done", "failed", "damage", "running"; "" for what was never begun.
    watched_since : when the place was named to the server; what was never done is late counted from there.
    """

    kind: str
    place: str
    outcome: str
    sentence: str
    last_success: datetime | None
    next_at: datetime | None
    is_late: bool
    facts: Mapping[str, Any]
    watched_since: datetime | None = None

    @property
    def is_bad(self) -> bool:
        """True when somebody has to look."""
        return self.is_late or self.outcome in {"failed", "damage"}


@dataclass(frozen=True)
class PlaceState:
    """A place and what was sent there.

    Attributes
    ----------
    stored_bytes : what its repositories of images hold.
    free_bytes : of its disk, where that can be seen from here.
    moments : what the database can go back to there: any second between both ends of each, oldest first.
    keeps_days : for so long images stay that the archive deleted.
    """

    name: str
    kind: str
    append_only: bool
    tasks: tuple[Task, ...]
    stored_bytes: int
    free_bytes: int | None
    moments: tuple[tuple[datetime, datetime], ...] = ()
    keeps_days: int = 0


@dataclass(frozen=True)
class Forecast:
    """What the archive and its backups will weigh, as the last weeks went on.

    Attributes
    ----------
    archive_bytes_a_year : growth.
    place_bytes : by place, what it holds in each of FORECAST_YEARS.
    full_in_years : by place whose disk is seen, when it will be full.
    """

    archive_bytes_a_year: float
    place_bytes: Mapping[str, tuple[float, ...]]
    full_in_years: Mapping[str, float]


@dataclass(frozen=True)
class DrillState:
    """A drill of the past."""

    began: datetime
    place: str
    is_good: bool
    report: str
    files: int
    size_bytes: int
    missing: int
    wrong: int
    orphans: int
    studies: int
    seconds: float


@dataclass(frozen=True)
class Overview:
    """All of it, at one moment."""

    places: tuple[PlaceState, ...]
    tasks: tuple[Task, ...]
    drills: tuple[DrillState, ...]
    forecast: Forecast | None
    is_drill_asked: bool

    @property
    def is_there(self) -> bool:
        """True when backups were ever made."""
        return bool(self.places)

    @property
    def bad(self) -> list[Task]:
        """What somebody has to look at."""
        return [task for task in (*self.tasks, *(one for place in self.places for one in place.tasks)) if task.is_bad]


class Backups:
    """Reads what the backups tell. Safe to use from any thread.

    Parameters
    ----------
    folder : the backups' state folder; it need not be there.
    """

    def __init__(self, folder: Path) -> None:
        self._folder = folder

    def overview(self) -> Overview:
        """Return everything that is known now."""
        told, site = status.read(self._folder), _read(self._folder / SITE, {})
        schedule = site.get("schedule", {})
        tasks = [_task(one, schedule, _moment(site.get("since"))) for one in _expected(told, site)]
        places = tuple(_place(one, tasks, told, self._folder) for one in site.get("places", ()))
        drills = tuple(_drill(one) for one in _read(self._folder / DRILLS, []))
        here = tuple(task for task in tasks if not task.place)
        asked = (self._folder / REQUEST).exists() or _is_locked(self._folder / "drill.lock")
        return Overview(places, here, drills, _forecast(told, places), asked)

    def request_drill(self, language: str, actor: str) -> None:
        """Ask for a drill now. Raise Conflict: one is asked for or goes on; PacsError: nobody takes requests."""
        if self.overview().is_drill_asked:
            raise Conflict("A drill is asked for already, or goes on.", remedy="Wait for its report.")
        try:
            (self._folder / REQUEST).write_text(json.dumps({"language": language, "actor": actor}), encoding="utf-8")
        except OSError as error:
            raise PacsError(
                f"The request can't be left at {self._folder / REQUEST.parent}: {error.strerror}.",
                remedy="Are backups set up on this server?",
            ) from None

    def report(self, name: str) -> bytes:
        """Return a report of a drill, its signature, or the key that verifies it. Raise NotFound."""
        path = self._folder / REPORTS / name
        if not _REPORT.fullmatch(name) or not path.is_file():
            raise NotFound(f"There is no report {name[:80]!r}.")
        return path.read_bytes()


def _expected(told: Mapping[str, Mapping[str, Any]], site: Mapping[str, Any]) -> list[Mapping[str, Any]]:
    """Return what was told, and for whatever has never told anything yet when that was first to be expected."""
    found = list(told.values())
    known = {(one.get("kind"), one.get("place") or "") for one in found}
    wanted = [(kind, "", site.get("since")) for kind in _HERE]
    for place in site.get("places", ()):
        kinds = _THERE if place.get("write_only") else (*_THERE, "check")
        wanted += [(kind, place["name"], place.get("since")) for kind in kinds]
    never = [(kind, place, since) for kind, place, since in wanted if since and (kind, place) not in known]
    return found + [{"kind": kind, "place": place, "since": since} for kind, place, since in never]


def _task(told: Mapping[str, Any], schedule: Mapping[str, float], watched: datetime | None) -> Task:
    kind = str(told.get("kind", ""))
    success, began = _moment(told.get("last_success")), _moment(told.get("began"))
    period = timedelta(seconds=schedule[kind]) if kind in schedule else None
    late_after = max(period * _LATE_PERIODS, _LEAST_LATE) if period else None
    since = success or began or _moment(told.get("since"))
    return Task(
        kind,
        str(told.get("place", "")),
        str(told.get("outcome", "")),
        str(told.get("sentence", "")),
        success,
        began + period if began and period else None,
        bool(late_after and since and datetime.now(UTC) - since > late_after),
        told,
        _moment(told.get("since")) or watched,
    )


def _place(
    one: Mapping[str, Any], tasks: Sequence[Task], told: Mapping[str, Mapping[str, Any]], folder: Path
) -> PlaceState:
    name = str(one["name"])
    files = told.get(f"files.{name}", {})
    return PlaceState(
        name,
        str(one.get("kind", "")),
        bool(one.get("append_only")),
        tuple(task for task in tasks if task.place == name),
        int(files.get("stored_bytes", 0)),
        files.get("free_bytes"),
        _moments(folder, name, told.get(f"log.{name}", {})),
        int(one.get("keeps_days", 0)),
    )


def _moments(folder: Path, place: str, log: Mapping[str, Any]) -> tuple[moments.Range, ...]:
    """Return what a place goes back to, as it was when that was last looked at, and what the log has added since."""
    found = moments.decoded(str(_read(folder / NOTED.format(place=place), "")))
    known = moments.extended(found, moments.decoded(str(log.get("moments", ""))))
    return tuple(one for one in known if one[0] < one[1])


def _forecast(told: Mapping[str, Mapping[str, Any]], places: Sequence[PlaceState]) -> Forecast | None:
    """Draw the growth of the last nights on, None before a day's growth was seen."""
    history = [one for one in told.get("nightly", {}).get("history", ()) if "attachment_bytes" in one]
    if len(history) < 2:  # noqa: PLR2004
        return None
    first, last = history[0], history[-1]
    days = (datetime.fromisoformat(last["at"]) - datetime.fromisoformat(first["at"])) / timedelta(days=1)
    if days < _LEAST_DAYS_OF_GROWTH:
        return None
    yearly = max(last["attachment_bytes"] - first["attachment_bytes"], 0) / days * _DAYS_OF_YEAR
    size = max(last["attachment_bytes"], 1)
    growth = {place.name: yearly * place.stored_bytes / size for place in places}
    held = {one.name: tuple(one.stored_bytes + growth[one.name] * years for years in FORECAST_YEARS) for one in places}
    full = {
        place.name: place.free_bytes / growth[place.name]
        for place in places
        if place.free_bytes is not None and growth[place.name]
    }
    return Forecast(yearly, held, full)


def _drill(one: Mapping[str, Any]) -> DrillState:
    return DrillState(
        datetime.fromisoformat(one["began"]), one["place"], one["good"], one["report"], one["files"], one["bytes"],
        one["missing"], one["wrong"], one["orphans"], one["studies"], one["seconds"],
    )  # fmt: skip


def _is_locked(path: Path) -> bool:
    """Tell whether a run holds a lock: a status file would say "running" for ever after a power cut."""
    try:
        with path.open("rb") as file:
            fcntl.flock(file, fcntl.LOCK_SH | fcntl.LOCK_NB)
    except BlockingIOError:
        return True
    except OSError:
        return False
    return False


def _moment(text: object) -> datetime | None:
    return datetime.fromisoformat(text) if isinstance(text, str) else None


def _read(path: Path, otherwise: Any) -> Any:
    try:
        return json.loads(path.read_text(encoding="utf-8"))
    except (OSError, ValueError):
        return otherwise
