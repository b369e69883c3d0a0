"""`Reports`: monthly reports made on demand and by themselves, each in a child process, and kept as files."""

from __future__ import annotations

import json
import logging
import queue
import re
import subprocess
import threading
import time
from collections.abc import Mapping
from dataclasses import dataclass
from datetime import UTC, datetime
from pathlib import Path
from typing import Any

from pacs.database import Database
from pacs.errors import InvalidInput, NotFound, PacsError
from pacs.monitoring.report.month import Month
from pacs.monitoring.settings import MonitoringSettings
from pacs.processes.launcher import Interpreter
from pacs.web.settings import WebSettings

_log = logging.getLogger(__name__)

LANGUAGES = ("es", "pt", "en")
_NAME = re.compile(r"report-(\d{4}-\d{2})-(es|pt|en)\.(html|pdf)")
_MODULE = "pacs.monitoring.report.child"
_PLUGINS = Path(__file__).resolve().parents[3]
_LONGEST_SECONDS = 600.0
_LOOK_SECONDS = 0.5
_OWN_EVERY_SECONDS = 3600.0
_MOST_WAITING = 12


class ReportFailed(PacsError):
    """A report could not be made."""

    code = "report"


@dataclass(frozen=True)
class Kept:
    """A report that is there.

    Attributes
    ----------
    files : names by kind, "html" and "pdf".
    """

    month: Month
    language: str
    made_at: datetime
    files: Mapping[str, str]


class Reports:
    """Takes orders from any thread; the thread that calls `run` has them made, one after the other.

    Parameters
    ----------
    web : for the hospital's name and clock.
    python : the interpreter of the child; sys.executable is Orthanc.
    """

    def __init__(self, settings: MonitoringSettings, web: WebSettings, database: Database, python: Path) -> None:
        self._folder = settings.report_folder
        self._settings = settings
        self._web = web
        self._database = database
        self._interpreter = Interpreter(python, (_PLUGINS,))
        self._orders: queue.Queue[tuple[Month, str]] = queue.Queue(_MOST_WAITING)
        self._own_at = 0.0

    def order(self, month: str, language: str) -> None:
        """Have a report made, soon. Raises InvalidInput."""
        wanted = Month.parse(month)
        if language not in LANGUAGES:
            raise InvalidInput(f"Expected one of {', '.join(LANGUAGES)}, found {language[:20]!r}.")
        if wanted > Month.of(datetime.now(UTC), self._web.zone):
            raise InvalidInput(f"{wanted} has not begun.")
        try:
            self._orders.put_nowait((wanted, language))
        except queue.Full:
            raise InvalidInput("Many reports are being made.", remedy="Wait until they are there.") from None

    def last_month(self) -> Month:
        """Return the month that is over."""
        return Month.of(datetime.now(UTC), self._web.zone).plus(-1)

    def kept(self) -> list[Kept]:
        """Return the reports that are there, newest month first."""
        found: dict[tuple[Month, str], dict[str, Path]] = {}
        for path in self._folder.glob("report-*") if self._folder.is_dir() else ():
            if match := _NAME.fullmatch(path.name):
                found.setdefault((Month.parse(match[1]), match[2]), {})[match[3]] = path
        listed = [_kept(month, language, paths) for (month, language), paths in found.items()]
        return sorted(sorted(listed, key=lambda one: one.language), key=lambda one: one.month, reverse=True)

    def path(self, name: str) -> Path:
        """Return where a file of a report is. Raises NotFound."""
        path = self._folder / name
        if not _NAME.fullmatch(name) or not path.is_file():
            raise NotFound(f"There is no report {name[:80]!r}.")
        return path

    def run(self, stop: threading.Event) -> None:
        """Make what was ordered, and last month's report where the settings want it, until `stop` is set."""
        while not stop.is_set():
            self._order_own()
            try:
                month, language = self._orders.get(timeout=_LOOK_SECONDS)
            except queue.Empty:
                continue
            try:
                self.make(month, language, stop)
            except (PacsError, OSError) as error:
                _log.error("the report of %s was not made: %s", month, error)

    def make(self, month: Month, language: str, stop: threading.Event) -> None:
        """Make a report now. Raises ReportFailed."""
        setup: Mapping[str, Any] = {
            "database": self._database.engine.url.render_as_string(hide_password=False),
            "monitoring": self._settings.model_dump(mode="json", by_alias=True),
            "web": self._web.model_dump(mode="json", by_alias=True),
            "month": str(month),
            "language": language,
        }
        self._folder.mkdir(parents=True, exist_ok=True)
        process = subprocess.Popen(
            [self._interpreter.executable, "-P", "-s", "-m", _MODULE],
            stdin=subprocess.PIPE,
            stdout=subprocess.PIPE,
            stderr=subprocess.STDOUT,
            env=self._interpreter.variables(self._folder, 1),
            start_new_session=True,
        )
        self._feed(process, json.dumps(setup).encode(), stop)

    def _feed(self, process: subprocess.Popen[bytes], setup: bytes, stop: threading.Event) -> None:
        give_up_at = time.monotonic() + _LONGEST_SECONDS
        rest: bytes | None = setup
        while True:
            try:
                said, _ = process.communicate(rest, timeout=_LOOK_SECONDS)
            except subprocess.TimeoutExpired:
                rest = None
                if not stop.is_set() and time.monotonic() < give_up_at:
                    continue
                process.kill()
                process.communicate()
                raise ReportFailed("It was ended before it was done.") from None
            if process.returncode:
                raise ReportFailed(said.decode(errors="replace").strip()[-500:] or "no reason given")
            return

    def _order_own(self) -> None:
        """Order what the settings want and is not there yet."""
        if not self._settings.report_languages or time.monotonic() < self._own_at:
            return
        self._own_at = time.monotonic() + _OWN_EVERY_SECONDS
        month = self.last_month()
        there = {one.language for one in self.kept() if one.month == month}
        for language in self._settings.report_languages:
            if language not in there:
                self.order(str(month), language)


def file_name(month: Month, language: str, kind: str) -> str:
    """Return the name of a report's file."""
    return f"report-{month}-{language}.{kind}"


def _kept(month: Month, language: str, paths: Mapping[str, Path]) -> Kept:
    made_at = max(path.stat().st_mtime for path in paths.values())
    files = {kind: path.name for kind, path in sorted(paths.items())}
    return Kept(month, language, datetime.fromtimestamp(made_at, UTC), files)
