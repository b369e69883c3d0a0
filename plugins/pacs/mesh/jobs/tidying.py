"""Keeps the shelf in its bounds: old models go, and those whose series was deleted."""

from __future__ import annotations

import logging
import threading
import time
from datetime import UTC, datetime, timedelta

from pacs.errors import NotFound
from pacs.mesh.jobs.shelf import Shelf
from pacs.mesh.settings import MeshSettings
from pacs.ports import Archive, Change, ChangeKind, ResourceLevel
from pacs.work import WorkQueue

_EVERY_SECONDS = 3600.0
# A study is deleted image by image: one look afterwards is enough.
_QUIET_SECONDS = 3.0
_LOOK_SECONDS = 1.0
_log = logging.getLogger(__name__)


class Tidying:
    """A supervised thread. Deletions that nobody told of, while this was not running, are found within the hour."""

    def __init__(self, archive: Archive, queue: WorkQueue, shelf: Shelf, settings: MeshSettings) -> None:
        self._archive = archive
        self._queue = queue
        self._shelf = shelf
        self._settings = settings
        self._look_at = 0.0

    def notice(self, change: Change) -> None:
        """Note that a study or series was deleted. Called from Orthanc's own thread: quick, and asks nothing."""
        if change.kind is ChangeKind.DELETED and change.level is not ResourceLevel.INSTANCE:
            self._look_at = min(self._look_at, time.monotonic() + _QUIET_SECONDS)

    def run(self, stop: threading.Event) -> None:
        """Tidy until `stop` is set."""
        while not stop.wait(_LOOK_SECONDS):
            if time.monotonic() >= self._look_at:
                self._look_at = time.monotonic() + _EVERY_SECONDS
                self.step()

    def step(self) -> None:
        """Tidy once."""
        for orthanc_series_id in self._shelf.series():
            if not self._is_there(orthanc_series_id):
                self._shelf.forget(orthanc_series_id)
                _log.info("models of the series %s are gone with it", orthanc_series_id)
        removed = self._shelf.tidy(self._settings.keep_days, self._settings.keep_bytes)
        if removed:
            _log.info("%d models removed that nobody asked for lately", removed)
        self._forget_failures()

    def _is_there(self, orthanc_series_id: str) -> bool:
        try:
            self._archive.get_json(f"/series/{orthanc_series_id}")
        except NotFound:
            return False
        return True

    def _forget_failures(self) -> None:
        """Set aside jobs that failed long ago, which the queue would keep for a person to decide."""
        before = datetime.now(UTC) - timedelta(days=self._settings.keep_days)
        for item in self._queue.dead_letters():
            if item.finished_at is not None and item.finished_at < before:
                self._queue.skip(item.id)
