"""What the pages and metrics show of the ledger. Only reads."""

from __future__ import annotations

from collections import defaultdict
from collections.abc import Iterable
from dataclasses import dataclass, field
from datetime import datetime, timedelta

from sqlalchemy import func, select

from pacs.database import Database
from pacs.errors import NotFound
from pacs.routing.delivery.models import DeliveredInstance, DeliveryRecord, TargetRecord
from pacs.routing.delivery.states import DeliveryState
from pacs.work.queue import Clock, utc_now

UNDER_WAY = (DeliveryState.WAITING, DeliveryState.SENDING, DeliveryState.CHECKING)
_SPEED_WINDOW = timedelta(hours=24)


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


class Overview:
    """Reads the ledger. Safe to use from any thread."""

    def __init__(self, database: Database, clock: Clock = utc_now) -> None:
        self._database = database
        self._clock = clock

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
        statement = select(DeliveryRecord).order_by(DeliveryRecord.id.desc()).limit(most)
        if target is not None:
            statement = statement.where(DeliveryRecord.target == target)
        if states is not None:
            statement = statement.where(DeliveryRecord.state.in_([state.value for state in states]))
        if before_id is not None:
            statement = statement.where(DeliveryRecord.id < before_id)
        with self._database.session() as session:
            return list(session.scalars(statement))

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
        """Return how it stands with each target that has deliveries, and with those of `names`, by name."""
        counts: dict[str, dict[str, int]] = defaultdict(dict)
        now = self._clock()
        row = DeliveryRecord
        under_way = [state.value for state in UNDER_WAY]
        with self._database.session() as session:
            for target, state, number in session.execute(
                select(row.target, row.state, func.count()).group_by(row.target, row.state)
            ):
                counts[target][state] = number
            waiting = select(row.target, func.min(row.ordered_at)).where(row.state.in_(under_way))
            oldest: dict[str, datetime] = {}
            oldest.update((target, at) for target, at in session.execute(waiting.group_by(row.target)))
            speeds = {
                target: float(sent) / seconds
                for target, sent, seconds in session.execute(
                    select(row.target, func.sum(row.sent_bytes), func.sum(row.seconds))
                    .where(row.changed_at > now - _SPEED_WINDOW)
                    .group_by(row.target)
                )
                if seconds
            }
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
