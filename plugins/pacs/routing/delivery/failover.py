"""Alternatives take over what waits for a target that has been away for too long."""

from __future__ import annotations

import logging
import threading
import time
from collections.abc import Callable
from datetime import datetime, timedelta
from itertools import batched

from sqlalchemy import select

from pacs.errors import NotFound, PacsError
from pacs.routing.delivery.diverting import divert, followers, taken
from pacs.routing.delivery.lane import Lane
from pacs.routing.delivery.ledger import Ledger
from pacs.routing.delivery.models import DeliveryRecord, TargetRecord
from pacs.routing.delivery.overview import UNDER_WAY
from pacs.routing.targets.library import Targets

_log = logging.getLogger(__name__)
_LOOK_SECONDS = 2.0
_MOST_A_STEP = 1000
_AT_ONCE = 100
# What is ordered so soon after the target was tried in vain needs no try of its own.
_STILL_AWAY = timedelta(minutes=2)
_ASK_AGAIN_SECONDS = 20.0


class Failover:
    """Looks now and then for deliveries that an alternative is to take over. One thread uses it.

    Parameters
    ----------
    lane : gives the lane of a target. Raises NotFound.
    """

    def __init__(self, ledger: Ledger, targets: Targets, lane: Callable[[str], Lane]) -> None:
        self._ledger = ledger
        self._targets = targets
        self._lane = lane
        # By target: whether it answered, and until when that is believed.
        self._asked: dict[str, tuple[bool, float]] = {}
        # By target: when one looks again whether anybody can take over.
        self._again_at: dict[str, float] = {}

    def run(self, stop: threading.Event) -> None:
        """Look until `stop` is set. A supervised thread."""
        while not stop.wait(_LOOK_SECONDS):
            while self.step() and not stop.is_set():
                pass

    def step(self) -> int:
        """Hand over up to a thousand deliveries a target; return how many."""
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
        failed_at = self._lane(target).presence.failed_at
        if failed_at is None or time.monotonic() < self._again_at.get(target, 0.0):
            # It was away when it was last tried, which may be long ago; or it is just answering.
            return 0
        ready, answering = self._ready(target, failed_at)
        handed = 0
        for some in batched(ready, _AT_ONCE, strict=False):
            with self._ledger.database.session(write=True) as session:
                done = [divert(self._ledger, one, session, answering=answering) for one in some]
            handed += sum(one is not None for one in done)
        if handed:
            _log.warning("%d deliveries for %s, which is away, were handed to its alternatives", handed, target)
        return handed

    def _ready(self, target: str, failed_at: datetime) -> tuple[list[int], set[str]]:
        """Return the deliveries that can be handed over, most urgent first, and who answers that had them before."""
        row = DeliveryRecord
        states = [state.value for state in UNDER_WAY]
        wanted = (
            select(row.id, row.orthanc_study_id, row.alternatives)
            .where(row.target == target, row.state.in_(states), row.has_alternatives)
            .where(row.ordered_at <= failed_at + _STILL_AWAY)
            .order_by(row.urgency.desc(), row.id)
        )
        with self._ledger.database.session() as session:
            waiting = session.execute(wanted).all()
            before = taken(session, [one.orthanc_study_id for one in waiting])
        known = {name for one in waiting for name in one.alternatives}
        answering = {name for _, name in before if name in known and self._answers(name)}
        ready = [one.id for one in waiting if followers(one.orthanc_study_id, one.alternatives, before, answering)]
        if waiting and not ready:
            self._again_at[target] = time.monotonic() + _ASK_AGAIN_SECONDS
        return ready[:_MOST_A_STEP], answering

    def _answers(self, name: str) -> bool:
        answers, until = self._asked.get(name, (False, 0.0))
        if time.monotonic() < until:
            return answers
        try:
            self._lane(name).test()
            answers = True
        except PacsError:
            answers = False
        self._asked[name] = answers, time.monotonic() + _ASK_AGAIN_SECONDS
        return answers
