"""Runs: one at a time, told in a status file that pages and monitoring read, and in an audit trail."""

from __future__ import annotations

import fcntl
import json
import logging
import os
from collections.abc import Iterator
from contextlib import contextmanager, suppress
from dataclasses import dataclass, field
from datetime import UTC, datetime
from pathlib import Path
from typing import Any
from uuid import uuid4

from pacs.backup.errors import BackupError, Busy
from pacs.errors import PacsError

STATUS = "status"
# Locks: one run of each kind at a time.
FILES_LOCK = "files"
DATABASE_LOCK = "database"
# Apart from the lock of base backups: the log goes on while one of them is sent, however long that takes.
LOG_LOCK = "log"
CHECK_LOCK = "check"
PRUNE_LOCK = "prune"
_FREQUENT = frozenset({"files", "log"})
AUDIT = "audit.jsonl"
_HISTORY = 60
_log = logging.getLogger(__name__)


@dataclass
class Run:
    """A run that goes on.

    Attributes
    ----------
    facts : figures for the status file; what a run learns, it adds here.
    sentence : for a person.
    former : how the one before ended.
    """

    kind: str
    place: str
    began: datetime
    former: str = ""
    facts: dict[str, Any] = field(default_factory=dict)
    sentence: str = ""


class Runs:
    """Keeps the status files `status/KIND.json` and `status/KIND.PLACE.json`, and the audit trail.

    Parameters
    ----------
    folder : the state folder.
    """

    def __init__(self, folder: Path) -> None:
        self.folder = folder
        (folder / STATUS).mkdir(parents=True, exist_ok=True)

    @contextmanager
    def lock(self, name: str) -> Iterator[None]:
        """Hold a lock while the block runs; the kernel gives it up however we end. Raise Busy: another run has it."""
        with (self.folder / f"{name}.lock").open("a") as file:
            try:
                fcntl.flock(file, fcntl.LOCK_EX | fcntl.LOCK_NB)
            except BlockingIOError:
                raise Busy(f"Another run ({name}) is still at work.", remedy="It does what this one would.") from None
            yield

    @contextmanager
    def run(self, kind: str, place: str = "") -> Iterator[Run]:
        """Tell of a run: that it goes on, how it ended, what it found. What it raises goes on."""
        former = read_status(self._path(kind, place)).get("ended_as", "")
        run = Run(kind, place, datetime.now(UTC), former)
        self._write(run, outcome="running")
        try:
            yield run
        except BaseException as error:
            words = str(error) if isinstance(error, PacsError) else f"{type(error).__name__} ended it."
            self._end(run, "damage" if getattr(error, "exit_status", 0) == 5 else "failed", words)  # noqa: PLR2004
            raise
        self._end(run, "done", run.sentence)

    def tell(self, run: Run) -> None:
        """Write what a run has learnt so far: the log is shipped by it while the images are still being sent."""
        self._write(run, outcome="running")

    def forget(self, place: str, *kinds: str) -> bool:
        """Forget what some runs told of a place; tell whether any had."""
        told = [path for kind in kinds if (path := self._path(kind, place)).exists()]
        for path in told:
            path.unlink()
        return bool(told)

    def audit(self, action: str, **facts: object) -> None:
        """Add a line to the audit trail; it is on the disk when this returns."""
        line = {"at": datetime.now(UTC).isoformat(timespec="seconds"), "action": action, "uid": os.getuid(), **facts}
        with (self.folder / AUDIT).open("a", encoding="utf-8") as file:
            fcntl.flock(file, fcntl.LOCK_EX)
            file.write(json.dumps(line, ensure_ascii=False) + "\n")
            file.flush()
            os.fsync(file.fileno())
        _log.info("%s", action, extra=dict(facts))

    def _end(self, run: Run, outcome: str, sentence: str) -> None:
        run.sentence = sentence
        self._write(run, outcome=outcome)
        if run.kind in _FREQUENT and outcome == run.former:
            return  # every half minute the same is no trail that anybody reads
        seconds = round((datetime.now(UTC) - run.began).total_seconds(), 2)
        self.audit(
            run.kind, outcome=outcome, seconds=seconds, sentence=sentence, **({"place": run.place} if run.place else {})
        )

    def _path(self, kind: str, place: str) -> Path:
        return self.folder / STATUS / (f"{kind}.{place}.json" if place else f"{kind}.json")

    def _write(self, run: Run, *, outcome: str) -> None:
        path = self._path(run.kind, run.place)
        former = read_status(path)
        now = datetime.now(UTC).isoformat(timespec="seconds")
        status = {
            **former,
            "kind": run.kind,
            "place": run.place,
            "outcome": outcome,
            "ended_as": run.former if outcome == "running" else outcome,
            "began": run.began.isoformat(timespec="seconds"),
            "ended": None if outcome == "running" else now,
            "sentence": run.sentence,
            **run.facts,
        }
        if outcome == "done":
            status |= {"last_success": now, "last_seconds": round((datetime.now(UTC) - run.began).total_seconds(), 2)}
            status["history"] = [*former.get("history", ()), {"at": now, **_figures(run.facts)}][-_HISTORY:]
        replace(path, json.dumps(status, ensure_ascii=False, indent=1))


def _figures(facts: dict[str, Any]) -> dict[str, Any]:
    return {name: value for name, value in facts.items() if isinstance(value, (int, float))}


def read_status(path: Path) -> dict[str, Any]:
    """Return a status file, {} where there is none or it is torn."""
    try:
        found = json.loads(path.read_text(encoding="utf-8"))
    except (OSError, ValueError):
        return {}
    return found if isinstance(found, dict) else {}


def replace(path: Path, text: str) -> None:
    """Replace a file that others read at the same time, readable by all: there is nothing of a patient in it."""
    fresh = path.with_name(f".{uuid4().hex}")
    descriptor = os.open(fresh, os.O_WRONLY | os.O_CREAT | os.O_EXCL, 0o644)
    with os.fdopen(descriptor, "w", encoding="utf-8") as file:
        file.write(text)
    with suppress(PermissionError):  # for an administrator's umask; units that own every file must have no chmod
        fresh.chmod(0o644)
    fresh.rename(path)


def exit_status_of(error: PacsError) -> int:
    """Return the exit status of a fault."""
    return error.exit_status if isinstance(error, BackupError) else 1
