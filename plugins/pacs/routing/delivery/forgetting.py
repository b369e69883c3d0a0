"""Deliveries that came to a good end long ago are forgotten, and what they began with; dead letters wait."""

from __future__ import annotations

import threading
from datetime import timedelta

from sqlalchemy import delete, exists, select

from pacs.database import Database
from pacs.routing.delivery.models import DeliveryRecord, IdentityRecord
from pacs.routing.delivery.states import ENDED
from pacs.work.queue import Clock

_EVERY_SECONDS = 3600.0
_AT_ONCE = 100


class Forgetting:
    """Deletes old deliveries, in small transactions.

    Parameters
    ----------
    keep_days : since the last change of a delivery.
    """

    def __init__(self, database: Database, keep_days: float, clock: Clock) -> None:
        self._database = database
        self._keep = timedelta(days=keep_days)
        self._clock = clock

    def run(self, stop: threading.Event) -> None:
        """Delete now and then until `stop` is set. A supervised thread."""
        while not stop.wait(_EVERY_SECONDS):
            while self.step() and not stop.is_set():
                pass
            self.forget_identities()

    def step(self) -> int:
        """Delete up to a hundred; return how many."""
        row = DeliveryRecord
        old = (
            select(row.id)
            .where(row.changed_at < self._clock() - self._keep, row.state.in_([state.value for state in ENDED]))
            .limit(_AT_ONCE)
        )
        with self._database.session(write=True) as session:
            ids = session.scalars(old).all()
            if ids:
                # Their instances go with them (ON DELETE CASCADE).
                session.execute(delete(row).where(row.id.in_(ids)))
        return len(ids)

    def forget_identities(self) -> int:
        """Delete the versions of projects that no delivery has which is still known; return how many."""
        version = IdentityRecord
        is_used = exists().where(DeliveryRecord.identity == version.version)
        with self._database.session(write=True) as session:
            old = version.kept_at < self._clock() - self._keep
            # Hardly ever any; without one no delivery is looked at.
            if session.scalars(select(version.version).where(old).limit(1)).first() is None:
                return 0
            gone = session.scalars(delete(version).where(old, ~is_used).returning(version.version)).all()
        return len(gone)
