"""`Targets`: the targets in force, read again when the file changes; a broken file never replaces a good one."""

from __future__ import annotations

import logging
import threading
from collections.abc import Callable, Mapping
from pathlib import Path

from pacs.errors import NotFound
from pacs.routing.targets.model import DicomTarget, Target
from pacs.routing.targets.reading import Secrets, TargetsError, credential, read_targets

_log = logging.getLogger(__name__)
_LOOK_SECONDS = 5.0


class Targets:
    """Where studies can be sent. Safe to use from any thread.

    Parameters
    ----------
    file : targets.yaml; where there is none, there are no targets.
    own : targets of this program, which no rule can name and no page shows.

    Attributes
    ----------
    own : as given.
    faults : what is wrong with the file as it is now; empty when it is the one in force.
    """

    def __init__(self, file: Path, *, own: Mapping[str, Target] | None = None, secrets: Secrets = credential) -> None:
        self.file = file
        self.own = dict(own or {})
        self.faults: list[str] = []
        self._secrets = secrets
        self._in_force: dict[str, Target] = {}
        self._seen: tuple[int, int] | None = None
        self._lock = threading.Lock()
        self._listeners: list[Callable[[], None]] = []
        self.reload()

    def names(self) -> list[str]:
        """Return the names of the targets, in order."""
        return sorted(self._in_force)

    def readers(self) -> list[str]:
        """Return the names of those that are outside readers, in order."""
        return sorted(name for name, target in self._in_force.items() if target.reader)

    def archives(self) -> list[str]:
        """Return the names of those that can be searched and asked to send (C-FIND and C-MOVE), in order."""
        return sorted(name for name, target in self._in_force.items() if isinstance(target, DicomTarget))

    def get(self, name: str) -> Target:
        """Return a target.

        Raises
        ------
        NotFound : there is none of this name (any more).
        """
        target = self.own.get(name) or self._in_force.get(name)
        if target is None:
            raise NotFound(f"There is no target {name}.", remedy=f"Add it to {self.file}, or change the rule.")
        return target

    def on_change(self, listener: Callable[[], None]) -> None:
        """Have `listener` called, in the thread that looks, after other targets came into force."""
        self._listeners.append(listener)

    def reload(self) -> bool:
        """Read the file if it changed; tell whether it is without a fault."""
        with self._lock:
            stamp = self._stamp()
            if stamp == self._seen:
                return not self.faults
            self._seen = stamp
            try:
                self._in_force, self.faults = self._read(), []
            except TargetsError as error:
                self.faults = error.faults
                _log.warning("The former targets stay in force: %s", error)
                return False
        for listener in self._listeners:
            listener()
        return True

    def run(self, stop: threading.Event) -> None:
        """Look after the file until `stop` is set. A supervised thread."""
        while not stop.wait(_LOOK_SECONDS):
            self.reload()

    def _read(self) -> dict[str, Target]:
        targets = read_targets(self._text(), secrets=self._secrets)
        if taken := sorted(targets.keys() & self.own):
            raise TargetsError([f"{name} is the name of a target of this program; choose another." for name in taken])
        return targets

    def _stamp(self) -> tuple[int, int]:
        try:
            stat = self.file.stat()
        except OSError:
            return (0, 0)
        return (stat.st_mtime_ns, stat.st_size)

    def _text(self) -> str:
        try:
            return self.file.read_text(encoding="utf-8")
        except FileNotFoundError:
            return ""
        except (OSError, UnicodeDecodeError) as error:
            raise TargetsError([f"{self.file} can't be read: {error}."]) from error
