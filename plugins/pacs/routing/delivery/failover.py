"""Alternatives take over what waits for a target that has been away for too long."""

from __future__ import annotations

import logging
import threading

from sqlalchemy import select

from pacs.errors import NotFound
from pacs.routing.delivery.ledger import Ledger
from pacs.routing.delivery.models import DeliveryRecord, TargetRecord
from pacs.routing.delivery.states import DeliveryState
from pacs.routing.targets.library import Targets

_log = logging.getLogger(__name__)
_LOOK_SECONDS = 2.0
_AT_ONCE = 100


class Failover:
    """Looks now and then for deliveries that an alternative is to take over."""

    def __init__(self, ledger: Ledger, targets: Targets) -> None:
        self._ledger = ledger
        self._targets = targets

    def run(self, stop: threading.Event) -> None:
        """Look until `stop` is set. A supervised thread."""
        while not stop.wait(_LOOK_SECONDS):
            while self.step() and not stop.is_set():
                pass

    def step(self) -> int:
        """Hand over up to a hundred deliveries a target; return how many."""
        return sum(map(self._hand_over, self._down_too_long()))

    def _down_too_long(self) -> list[str]:
        now = self._ledger.queues.clock()
        with self._ledger.database.session() as session:
            away = {
                one.name: (now - one.away_since).total_seconds()
                for one in session.scalars(select(TargetRecord))
                if one.away_since is not None
            }
        return [name for name, seconds in away.items() if seconds >= self._patience_seconds(name)]

    def _patience_seconds(self, name: str) -> float:
        try:
            return self._targets.get(name).failover_after_seconds
        except NotFound:
            return float("inf")

    def _hand_over(self, target: str) -> int:
        with self._ledger.database.session(write=True) as session:
            row = DeliveryRecord
            waiting = session.scalars(
                select(row.id)
                .where(row.target == target, row.state == DeliveryState.WAITING.value)
                .where(row.has_alternatives)
                .order_by(row.urgency.desc(), row.id)
                .limit(_AT_ONCE)
            ).all()
            done = [self._ledger.divert(delivery_id, session) for delivery_id in waiting]
        handed = sum(one is not None for one in done)
        if handed:
            _log.warning("%d deliveries for %s, which is away, were handed to its alternatives", handed, target)
        return handed
