"""Old entries of the worklist go, where the settings say so."""

from __future__ import annotations

import logging
import threading
from collections.abc import Callable
from datetime import UTC, datetime, timedelta

from sqlalchemy import Connection, delete, select

from pacs.database import Database
from pacs.worklist.models import StepRecord

PURGE_EVERY_SECONDS = 3600.0
_PURGE_AT_ONCE = 500

_log = logging.getLogger(__name__)


class Purge:
    """A thread's work: delete entries whose day and last change are both longer ago than they are to be kept.

    Parameters
    ----------
    keep_days : for how long.
    clock : tells the present (aware); replaced in tests.
    """

    def __init__(
        self, database: Database, keep_days: int, *, clock: Callable[[], datetime] = lambda: datetime.now(UTC)
    ) -> None:
        self._database = database
        self._keep = timedelta(days=keep_days)
        self._clock = clock

    def run(self, stop: threading.Event) -> None:
        """Purge now and every hour, until `stop` is set. Raises DatabaseError."""
        while True:
            if count := self.purge():
                _log.info("%d old entries of the worklist were deleted", count)
            if stop.wait(PURGE_EVERY_SECONDS):
                return

    def purge(self) -> int:
        """Delete what is old, with its history, and return how many entries. May take a while."""
        before = self._clock() - self._keep
        purged = 0
        while True:
            # In small transactions: others write in between.
            with self._database.transaction() as connection:
                count = _purge_some(connection, before)
            purged += count
            if not count:
                return purged


def _purge_some(connection: Connection, before: datetime) -> int:
    # An entry without a day has "" there, which is before all days.
    is_old = (StepRecord.changed_at < before) & (StepRecord.start_key < f"{before:%Y%m%d}")
    ids = connection.execute(select(StepRecord.id).where(is_old).limit(_PURGE_AT_ONCE)).scalars().all()
    if ids:
        # Their history goes with them (ON DELETE CASCADE).
        connection.execute(delete(StepRecord).where(StepRecord.id.in_(ids)))
    return len(ids)
