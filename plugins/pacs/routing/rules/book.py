"""`RuleBook`: the rules in force, their file and their history. A file with a mistake never replaces a good one."""

from __future__ import annotations

import logging
import os
import tempfile
import threading
import time
from collections.abc import Callable
from dataclasses import dataclass
from datetime import UTC, datetime
from pathlib import Path

from pacs.errors import Conflict, NotFound, PacsError
from pacs.routing.rules.errors import RulesError
from pacs.routing.rules.history import History, Version, latest
from pacs.routing.rules.known import Known, anything
from pacs.routing.rules.reading import FILE_NAME, parse_rules
from pacs.routing.rules.ruleset import RuleSet

_log = logging.getLogger(__name__)

FILE_ACTOR = "file"
_LOOK_AGAIN_SECONDS = 1.0
_MODE = 0o640

type _Stamp = tuple[int, int, int]


class RulesNotWritten(PacsError):
    """The folder of the rules can't be written."""

    code = "routing-rules-not-written"


@dataclass(frozen=True)
class InForce:
    """The rules in force. `number` is their version, 0 before there is any."""

    rules: RuleSet
    number: int


class RuleBook:
    """The rules of one folder. Safe to use from any thread; one process at a time writes.

    Parameters
    ----------
    folder : of rules.yaml; `history/` in it has every version. Without the file there are no rules.
    known : what rules may name.
    monotonic, clock : in seconds, and the present moment; replaced in tests.
    """

    def __init__(
        self,
        folder: Path,
        known: Known,
        *,
        monotonic: Callable[[], float] = time.monotonic,
        clock: Callable[[], datetime] = lambda: datetime.now(UTC),
    ) -> None:
        self.file = folder / FILE_NAME
        self._known = known
        self._history = History(folder / "history")
        self._monotonic = monotonic
        self._clock = clock
        self._lock = threading.RLock()
        self._in_force = InForce(RuleSet(), 0)
        self._stamp: _Stamp | None = None
        self._is_read = False
        self._faults: list[str] = []
        self._looked_at: float | None = None

    def in_force(self) -> InForce:
        """Return the rules as their file has them now, or as they were before a mistake came into it."""
        with self._lock:
            self._look()
            return self._in_force

    def faults(self) -> list[str]:
        """Return what is wrong with the file as it is now, each with its line; then the former rules are in force."""
        with self._lock:
            self._look()
            return list(self._faults)

    def check(self, text: str) -> RuleSet:
        """Return what a text would mean. Raise RulesError with every fault of it."""
        return parse_rules(_with_newlines(text), self._known)

    def activate(
        self, text: str, *, actor: str, reason: str = "", expected: int | None = None, restores: int | None = None
    ) -> Version:
        """Put rules in force; they are in the file and in the history on return.

        Parameters
        ----------
        expected : the version that the person started from, None to replace whatever is in force.

        Raises
        ------
        RulesError : they have mistakes; nothing was changed.
        Conflict : others have been put in force since.
        RulesNotWritten : the folder can't be written; nothing was changed.
        """
        text = _with_newlines(text)
        with self._lock:
            self._look(now=True)
            if expected is not None and expected != self._in_force.number:
                raise Conflict(
                    f"Version {self._in_force.number} is in force, and this text was made from version {expected}.",
                    remedy="Compare with what is in force now, and bring the changes together.",
                )
            rules = parse_rules(text, self._known)
            version = Version(self._in_force.number + 1, self._clock(), actor, reason, text, restores)
            self._write(version)
            self._take(rules, version.number)
        _log.info("routing rules: version %d (%d rules) by %s", version.number, len(rules.rules), actor)
        return version

    def roll_back(self, number: int, *, actor: str, reason: str = "") -> Version:
        """Put a former version in force again, as a new one.

        Raises
        ------
        NotFound : there is no such version. Also what `activate` raises, as when it names a target that is gone.
        """
        return self.activate(self.version(number).text, actor=actor, reason=reason, restores=number)

    def versions(self) -> list[Version]:
        """Return every version, oldest first."""
        with self._lock:
            self._look()
            return self._history.versions()

    def version(self, number: int) -> Version:
        """Return a version. Raises NotFound."""
        found = next((one for one in self.versions() if one.number == number), None)
        if found is None:
            raise NotFound(f"There is no version {number} of the rules.")
        return found

    # -- the file ------------------------------------------------------------------------------------------------------

    def _look(self, *, now: bool = False) -> None:
        """Read the file again when it changed; it is looked at once a second."""
        moment = self._monotonic()
        if not now and self._looked_at is not None and moment - self._looked_at < _LOOK_AGAIN_SECONDS:
            return
        self._looked_at = moment
        stamp = self._stamp_now()
        if self._is_read and stamp == self._stamp:
            return
        self._stamp = stamp
        self._refresh()
        self._is_read = True

    def _refresh(self) -> None:
        newest = latest(self._history.versions())
        try:
            text = self._text()
            rules = parse_rules(text, self._known)
        except RulesError as error:
            self._faults = error.faults
            self._keep_former(newest)
            _log.error("The rules are refused; the former stay in force. %s", error)
            return
        self._faults = []
        number = newest.number if newest else 0
        if text != (newest.text if newest else ""):
            number += 1
            self._note(Version(number, self._clock(), FILE_ACTOR, "", text))
        self._in_force = InForce(rules, number)

    def _keep_former(self, newest: Version | None) -> None:
        """After a start with a broken file, put the newest version in force: it was good when it came into force.

        What it names may be gone since, for example with a broken targets.yaml: then its deliveries tell so.
        """
        if self._is_read or newest is None:
            return
        try:
            self._in_force = InForce(parse_rules(newest.text, anything()), newest.number)
        except RulesError:
            _log.exception("The last version of the rules can't be used either: nothing is decided")

    def _note(self, version: Version) -> None:
        try:
            self._history.append(version)
        except OSError:
            # The rules count all the same: the file is the truth.
            _log.exception("version %d of the rules could not be noted in the history", version.number)

    def _text(self) -> str:
        try:
            return _with_newlines(self.file.read_text(encoding="utf-8"))
        except FileNotFoundError:
            return ""
        except (OSError, UnicodeDecodeError) as error:
            raise RulesError([f"{FILE_NAME}, line 1: can't be read as UTF-8 text: {error}."]) from None

    def _stamp_now(self) -> _Stamp | None:
        try:
            status = self.file.stat()
        except OSError:
            return None
        return status.st_ino, status.st_mtime_ns, status.st_size

    def _write(self, version: Version) -> None:
        """Write history and file; the history first, so that who did it is never unknown."""
        try:
            self.file.parent.mkdir(mode=0o750, parents=True, exist_ok=True)
            self._history.append(version)
            _replace(self.file, version.text)
        except OSError as error:
            raise RulesNotWritten(
                f"The rules could not be written to {self.file}: {error}.",
                remedy="Look at the folder's owner, its rights and the room on its disk.",
            ) from error

    def _take(self, rules: RuleSet, number: int) -> None:
        self._in_force, self._faults, self._stamp = InForce(rules, number), [], self._stamp_now()


def _replace(file: Path, text: str) -> None:
    """Write a file so that it is either as before or whole, whatever happens meanwhile."""
    handle, name = tempfile.mkstemp(dir=file.parent, prefix=".rules-")
    try:
        with os.fdopen(handle, "wb") as new:
            new.write(text.encode())
            new.flush()
            os.fsync(new.fileno())
        Path(name).chmod(_MODE)
        Path(name).replace(file)
    except OSError:
        Path(name).unlink(missing_ok=True)
        raise


def _with_newlines(text: str) -> str:
    """Return the text with the ends of lines that files have here; forms send others."""
    return text.replace("\r\n", "\n").replace("\r", "\n")
