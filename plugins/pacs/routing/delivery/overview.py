"""What the pages and metrics show of the ledger. Only reads."""

from __future__ import annotations

import threading
import time
from collections import defaultdict
from collections.abc import Iterable, Sequence
from dataclasses import dataclass, field
from datetime import datetime, timedelta

from sqlalchemy import Select, func, select, text

from pacs.database import Database
from pacs.errors import NotFound
from pacs.routing.delivery.models import IS_OPEN, DeliveredInstance, DeliveryRecord, TargetRecord
from pacs.routing.delivery.states import ENDED, DeliveryState
from pacs.routing.targets.own import OWN_TARGET
from pacs.work.queue import Clock, utc_now

UNDER_WAY = (DeliveryState.WAITING, DeliveryState.SENDING, DeliveryState.CHECKING)
_UNDER_WAY = frozenset(state.value for state in UNDER_WAY)
_SPEED_WINDOW = timedelta(hours=24)
# A ledger whose ended deliveries are counted faster than this is counted at each look.
_QUICK_SECONDS = 0.02
_COUNT_EVERY_SECONDS = 60.0

type _Count = tuple[str, str, int]


@dataclass(frozen=True)
class TargetOverview:
    """How it stands with one target.

    Attributes
    ----------
    counts : deliveries by state.
    oldest_seconds : age of the oldest one that is under way; 0 without one.
    bytes_per_second : of what was sent within a day; None without any.
    error, remedy : the last trouble with it, in its own words; None when there is none now.
    """

    name: str
    counts: dict[str, int] = field(default_factory=dict)
    oldest_seconds: float = 0.0
    bytes_per_second: float | None = None
    away_seconds: float = 0.0
    succeeded_at: datetime | None = None
    error: str | None = None
    remedy: str | None = None

    @property
    def waiting(self) -> int:
        """How many are under way."""
        return sum(self.counts.get(state.value, 0) for state in UNDER_WAY)


@dataclass(frozen=True)
class _Ended:
    """Counts by target and state of what came to its end, and what the counting cost."""

    counts: Sequence[_Count]
    took_seconds: float
    good_until: float


class Overview:
    """Reads the ledger. Safe to use from any thread."""

    def __init__(self, database: Database, clock: Clock = utc_now) -> None:
        self._database = database
        self._clock = clock
        self._ended: _Ended | None = None

    def get(self, delivery_id: int) -> DeliveryRecord:
        """Return a delivery. Raises NotFound."""
        with self._database.session() as session:
            row = session.get(DeliveryRecord, delivery_id)
        if row is None:
            raise NotFound(f"There is no delivery {delivery_id}.", remedy="It may have been forgotten by its age.")
        return row

    def of_study(self, orthanc_study_id: str) -> list[DeliveryRecord]:
        """Return the deliveries of a study, by target."""
        with self._database.session() as session:
            found = select(DeliveryRecord).where(DeliveryRecord.orthanc_study_id == orthanc_study_id)
            return list(session.scalars(found.order_by(DeliveryRecord.target)))

    def listed(
        self,
        *,
        target: str | None = None,
        states: Iterable[DeliveryState] | None = None,
        most: int = 100,
        before_id: int | None = None,
    ) -> list[DeliveryRecord]:
        """Return deliveries, newest first; `before_id` continues an earlier list."""
        wanted = list(DeliveryState) if states is None else list(states)
        # State by state, each by an index; all of them in one question would have a million rows sorted.
        parts = [_newest(state, target, before_id, most) for state in wanted]
        if target is None and states is None:
            parts = [_newest(None, None, before_id, most)]
        with self._database.session() as session:
            ids = sorted((number for part in parts for number in session.scalars(part)), reverse=True)[:most]
            found = select(DeliveryRecord).where(DeliveryRecord.id.in_(ids))
            return list(session.scalars(found.order_by(DeliveryRecord.id.desc())))

    def dead_letters(self, most: int = 100, before_id: int | None = None) -> list[DeliveryRecord]:
        """Return what was given up, newest first."""
        return self.listed(states=[DeliveryState.FAILED], most=most, before_id=before_id)

    def refusals(self, delivery_id: int, most: int = 50) -> list[DeliveredInstance]:
        """Return instances that the target refused, with its words."""
        statement = (
            select(DeliveredInstance)
            .where(DeliveredInstance.delivery_id == delivery_id, DeliveredInstance.state == "refused")
            .order_by(DeliveredInstance.sop_instance_uid)
            .limit(most)
        )
        with self._database.session() as session:
            return list(session.scalars(statement))

    def targets(self, names: Iterable[str] = ()) -> list[TargetOverview]:
        """Return how it stands with each target that has deliveries, and with those of `names`, by name.

        What is under way and the dead letters are counted now; what came to its end is counted now where that is quick,
        and else as often as `run` does.
        """
        now = self._clock()
        counts: dict[str, dict[str, int]] = defaultdict(dict)
        for target, state, number in self._ended_counts():
            counts[target][state] = number
        row = DeliveryRecord
        oldest: dict[str, datetime] = {}
        with self._database.session() as session:
            is_open = select(row.target, row.state, func.count(), func.min(row.ordered_at)).where(text(IS_OPEN))
            for target, state, number, since in session.execute(is_open.group_by(row.target, row.state)):
                counts[target][state] = number
                if state in _UNDER_WAY:
                    oldest[target] = min(since, oldest.get(target, since))
            # Not by the column itself: to spare the sorting of few, SQLite would read all rows in its index's order.
            by_target = func.coalesce(row.target, "")
            recent = select(by_target, func.sum(row.sent_bytes), func.sum(row.seconds)).group_by(by_target)
            recent = recent.where(row.changed_at > now - _SPEED_WINDOW)
            speeds = {target: float(sent) / seconds for target, sent, seconds in session.execute(recent) if seconds}
            known = {one.name: one for one in session.scalars(select(TargetRecord))}
        return [
            _overview(
                name,
                counts.get(name, {}),
                oldest=oldest.get(name),
                speed=speeds.get(name),
                record=known.get(name),
                now=now,
            )
            for name in sorted({*counts, *known, *names})
        ]

    # -- what came to its end ------------------------------------------------------------------------------------------

    def run(self, stop: threading.Event) -> None:
        """Count what came to its end, now and then until `stop` is set. A supervised thread."""
        while True:
            self._count_ended()
            if stop.wait(_COUNT_EVERY_SECONDS):
                return

    def _ended_counts(self) -> Sequence[_Count]:
        known = self._ended
        is_good = known is not None and known.took_seconds >= _QUICK_SECONDS and time.monotonic() < known.good_until
        return known.counts if known is not None and is_good else self._count_ended()

    def _count_ended(self) -> Sequence[_Count]:
        row = DeliveryRecord
        began = time.monotonic()
        with self._database.session() as session:
            # Without a condition: the index by target and state is read from end to end, and no row.
            found = session.execute(select(row.target, row.state, func.count()).group_by(row.target, row.state))
            counts = [(target, state, number) for target, state, number in found if state in ENDED]
        now = time.monotonic()
        self._ended = _Ended(counts, now - began, now + 2 * _COUNT_EVERY_SECONDS)
        return counts


def _newest(state: DeliveryState | None, target: str | None, before_id: int | None, most: int) -> Select[int]:
    """Return what asks for the newest deliveries of a state and target."""
    statement = select(DeliveryRecord.id).order_by(DeliveryRecord.id.desc()).limit(most)
    if state is not None:
        statement = statement.where(DeliveryRecord.state == state.value)
    if target is not None:
        statement = statement.where(DeliveryRecord.target == target)
    else:
        # Of nobody, and gone in a moment.
        statement = statement.where(DeliveryRecord.target != OWN_TARGET)
    if before_id is not None:
        statement = statement.where(DeliveryRecord.id < before_id)
    return statement


def _overview(
    name: str,
    counts: dict[str, int],
    *,
    oldest: datetime | None,
    speed: float | None,
    record: TargetRecord | None,
    now: datetime,
) -> TargetOverview:
    def age(since: datetime | None) -> float:
        return 0.0 if since is None else max(0.0, (now - since) / timedelta(seconds=1))

    if record is None:
        return TargetOverview(name, counts, age(oldest), speed)
    return TargetOverview(
        name,
        counts,
        age(oldest),
        speed,
        age(record.away_since),
        record.succeeded_at,
        record.error,
        record.remedy,
    )
