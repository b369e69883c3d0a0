"""Whether a target is there. While it is away nothing is tried but it, by one study, now and then."""

from __future__ import annotations

import logging
import random
import threading
import time
from datetime import datetime, timedelta

from pacs.database import Database
from pacs.routing.delivery.models import TargetRecord
from pacs.work.queue import Clock

_log = logging.getLogger(__name__)
# First and longest time between two looks at a target that is away.
PAUSES_SECONDS = (1.0, 60.0)


class Presence:
    """What is known of one target's being there; kept in the database, so that a restart forgets nothing.

    Parameters
    ----------
    pauses_seconds : first and longest time between two looks at a target that is away.
    """

    def __init__(
        self,
        database: Database,
        name: str,
        clock: Clock,
        *,
        pauses_seconds: tuple[float, float] = PAUSES_SECONDS,
    ) -> None:
        self._database = database
        self._name = name
        self._clock = clock
        self._first_pause, self._longest_pause = pauses_seconds
        self._pause = self._first_pause
        self._lock = threading.Lock()
        self._try_at = 0.0
        self._is_away: bool | None = None
        self._failed_at: datetime | None = None

    @property
    def seconds_to_wait(self) -> float:
        """How long nothing is to be tried."""
        return max(0.0, self._try_at - time.monotonic())

    @property
    def was_there(self) -> bool:
        """Whether it answered when it was last asked."""
        return self._is_away is False

    @property
    def failed_at(self) -> datetime | None:
        """When it was last tried in vain; None when it answered since, or was not tried since the program runs."""
        return self._failed_at

    def away_seconds(self) -> float:
        """Return for how long the target has been away; 0 when it is there."""
        with self._database.session() as session:
            row = session.get(TargetRecord, self._name)
            since: datetime | None = None if row is None else row.away_since
        return 0.0 if since is None else max(0.0, (self._clock() - since) / timedelta(seconds=1))

    def last_error(self) -> str | None:
        """Return the last trouble with the target."""
        with self._database.session() as session:
            row = session.get(TargetRecord, self._name)
            return None if row is None else row.error

    def note_away(self, message: str, remedy: str) -> None:
        """Take note that nobody answered."""
        with self._lock:
            self._failed_at = self._clock()
            if time.monotonic() < self._try_at:
                return
            self._try_at = time.monotonic() + self._pause * random.uniform(0.8, 1.2)  # noqa: S311 (spreads load)
            self._pause = min(self._pause * 2, self._longest_pause)
            is_news, self._is_away = self._is_away is not True, True
        if is_news:
            _log.warning("Target %s is away: %s", self._name, message)
        with self._database.session(write=True) as session:
            row = self._row(session.get(TargetRecord, self._name))
            row.away_since = row.away_since or self._clock()
            row.error, row.remedy = message, remedy
            session.add(row)

    def note_heard(self) -> None:
        """Take note that it accepted something. Whether it takes a study whole is still to be seen."""
        with self._lock:
            self._failed_at = None

    def note_there(self, *, succeeded: bool = False) -> None:
        """Take note that it answered; `succeeded`: it took a study whole."""
        with self._lock:
            is_news, self._is_away = self._is_away is not False, False
            self._pause, self._try_at = self._first_pause, 0.0
            self._failed_at = None
        if not is_news and not succeeded:
            return
        with self._database.session(write=True) as session:
            row = self._row(session.get(TargetRecord, self._name))
            if row.away_since is not None:
                _log.info("Target %s is back", self._name)
            row.away_since = row.error = row.remedy = None
            row.succeeded_at = self._clock() if succeeded else row.succeeded_at
            session.add(row)

    def _row(self, row: TargetRecord | None) -> TargetRecord:
        return TargetRecord(name=self._name) if row is None else row
