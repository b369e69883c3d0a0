"""`Ledger`: one row a study and target, from the order to the proof; what rules order and people decide."""

from __future__ import annotations

from collections.abc import Iterable, Iterator, Mapping, Sequence
from contextlib import contextmanager
from itertools import batched
from typing import Any

from sqlalchemy import delete, select, update
from sqlalchemy.orm import Session

from pacs.database import Database
from pacs.errors import NotFound
from pacs.routing.delivery.models import DeliveredInstance, DeliveryRecord
from pacs.routing.delivery.queues import Queues
from pacs.routing.delivery.states import ENDED, DeliveryState
from pacs.routing.orders import STAT, DeliveryOrder, Transfer
from pacs.work import NewItem, StateConflict, WorkState
from pacs.work.models import WorkItemRecord

_AT_ONCE = 500
# Whoever is sent a study in these gets late images. One that is in work may have looked already at what there is.
_GROWING = (
    DeliveryState.PROVEN,
    DeliveryState.SENT,
    DeliveryState.WAITING,
    DeliveryState.SENDING,
    DeliveryState.CHECKING,
)
# In these a piece of work is there that will see what is ordered now.
_PENDING = (WorkState.RECEIVED, WorkState.WAITING, WorkState.BLOCKED)


class Ledger:
    """The deliveries. Safe to use from any thread and several processes at once."""

    def __init__(self, database: Database, queues: Queues) -> None:
        self.database = database
        self.queues = queues

    # -- ordering --------------------------------------------------------------------------------------------------

    def order(self, orders: Sequence[DeliveryOrder], session: Session) -> list[int]:
        """Have studies delivered, in the caller's writing transaction; return the deliveries' identifiers.

        A study that is ordered to a target again keeps its row: what came since is sent, and what is proven there stays
        as it is unless the order says `again`. An order never lifts the de-identification that another one asked for.
        """
        rows: dict[tuple[str, str], DeliveryRecord] = {}
        for target in {order.target for order in orders}:
            found = self.found(session, target, {one.orthanc_study_id for one in orders if one.target == target})
            rows |= {(row.orthanc_study_id, target): row for row in found}
        new: list[DeliveryRecord] = []
        for order in orders:
            row = rows.get((order.orthanc_study_id, order.target))
            if row is None:
                row = rows[order.orthanc_study_id, order.target] = self._new(order)
                session.add(row)
                new.append(row)
            else:
                self._renew(session, row, order, is_new=row in new)
        self._put(session, new)
        return [rows[order.orthanc_study_id, order.target].id for order in orders]

    def found(self, session: Session, target: str, studies: Iterable[str]) -> Iterator[DeliveryRecord]:
        """Yield the deliveries of studies to a target, locked."""
        for some in batched(sorted(studies), _AT_ONCE, strict=False):
            yield from session.scalars(
                select(DeliveryRecord)
                .where(DeliveryRecord.orthanc_study_id.in_(some), DeliveryRecord.target == target)
                .with_for_update()
            )

    def _new(self, order: DeliveryOrder) -> DeliveryRecord:
        now = self.queues.clock()
        return DeliveryRecord(
            orthanc_study_id=order.orthanc_study_id,
            study_instance_uid=order.study_instance_uid,
            target=order.target,
            state=DeliveryState.WAITING.value,
            series=None if order.orthanc_series_id is None else [order.orthanc_series_id],
            **_asked(order),
            **dict.fromkeys(("instances", "sent", "refused", "confirmed", "sent_bytes", "seconds"), 0),
            ordered_at=now,
            changed_at=now,
        )

    def _renew(self, session: Session, row: DeliveryRecord, order: DeliveryOrder, *, is_new: bool) -> None:
        """Add to a delivery what an order asks beyond it."""
        series = None if order.orthanc_series_id is None or row.series is None else [order.orthanc_series_id]
        row.series = None if series is None else sorted({*row.series, *series})  # type: ignore[misc]
        asked = _asked(order)
        if row.deidentify is not None and order.deidentify is None:
            del asked["deidentify"], asked["changes"]
        if row.state not in ENDED:
            asked["urgency"] = max(row.urgency, order.urgency)
        is_more_urgent = asked["urgency"] > row.urgency
        differs = order.transfer != transfer_of(row) or row.deidentify != asked.get("deidentify", row.deidentify)
        if _has_begun(row) and not (order.again or differs):
            # What comes late gets the values that the first images got: a study is one at the target.
            asked.pop("changes", None)
        for name, value in asked.items():
            setattr(row, name, value)
        if is_new:
            return
        if order.again or differs:
            self._forget_instances(session, row)
        self._resume(session, row, anew=is_more_urgent)

    def _resume(self, session: Session, row: DeliveryRecord, *, anew: bool = False) -> None:
        """Have a delivery worked again, unless it is waiting for that already."""
        now = self.queues.clock()
        queue = self.queues.of(row.target)
        pending = self.pending(session, row)
        if pending is not None and anew:
            queue.cancel(pending, session=session)
            pending = None
        if row.state in ENDED or row.state == DeliveryState.FAILED:
            self._end_dead_letter(session, row)
            row.state, row.ordered_at = DeliveryState.WAITING.value, now
            row.error = row.remedy = row.diverted_to = None
        row.changed_at = now
        if pending is None:
            self._put(session, [row])

    def _put(self, session: Session, rows: Sequence[DeliveryRecord]) -> None:
        """Put a piece of work for each of `rows` into the queue of its target."""
        session.flush()
        for target in {row.target: None for row in rows}:
            ours = [row for row in rows if row.target == target]
            items = [
                NewItem(payload={"delivery": row.id}, key=row.orthanc_study_id, priority=row.urgency) for row in ours
            ]
            results = self.queues.of(target).put_many(items, session=session)
            for row, result in zip(ours, results, strict=True):
                row.work_item_id = result.item_id

    def pending(self, session: Session, row: DeliveryRecord) -> int | None:
        """Return the piece of work that will be worked for a delivery, None when there is none or it is in work."""
        if row.work_item_id is None:
            return None
        # Locked, so that no worker takes it in hand before what is ordered now is committed.
        item = session.get(WorkItemRecord, row.work_item_id, with_for_update=True, populate_existing=True)
        return item.id if item is not None and item.state in _PENDING else None

    def _end_dead_letter(self, session: Session, row: DeliveryRecord) -> None:
        if row.state == DeliveryState.FAILED and row.work_item_id is not None:
            try:
                self.queues.of(row.target).skip(row.work_item_id, session=session)
            except (NotFound, StateConflict):
                return

    def _forget_instances(self, session: Session, row: DeliveryRecord) -> None:
        session.execute(delete(DeliveredInstance).where(DeliveredInstance.delivery_id == row.id))
        row.sent = row.refused = row.confirmed = 0
        row.sent_at = row.proven_at = row.identity = None

    # -- what people and late images decide ------------------------------------------------------------------------

    def replay(self, delivery_id: int, *, session: Session | None = None) -> None:
        """Try a dead letter (or one set aside, or diverted) again: what its target does not have yet.

        Raises
        ------
        NotFound : there is no such delivery.
        """
        with self._in(session) as current:
            self._resume(current, self.locked(current, delivery_id), anew=True)

    def send_again(self, delivery_id: int, *, session: Session | None = None) -> None:
        """Send all of it once more, whatever is proven. Raises as `replay`."""
        with self._in(session) as current:
            row = self.locked(current, delivery_id)
            self._forget_instances(current, row)
            self._resume(current, row, anew=True)

    def skip(self, delivery_id: int, *, session: Session | None = None) -> None:
        """Set a dead letter aside.

        Raises
        ------
        NotFound, StateConflict : no such delivery; or it is no dead letter.
        """
        with self._in(session) as current:
            row = self.locked(current, delivery_id)
            if row.state != DeliveryState.FAILED:
                raise StateConflict(
                    f"Delivery {delivery_id} is {row.state}.", remedy="Only a dead letter can be skipped."
                )
            self._end_dead_letter(current, row)
            row.state, row.changed_at = DeliveryState.SKIPPED.value, self.queues.clock()

    def hurry(self, delivery_id: int, *, session: Session | None = None) -> None:
        """Put a delivery before all others of its target. Raises NotFound."""
        with self._in(session) as current:
            row = self.locked(current, delivery_id)
            row.urgency = STAT
            self._resume(current, row, anew=True)

    def late(self, session: Session, orthanc_study_id: str) -> None:
        """Have whoever was sent a study, or is being sent it, get what came since: it is stable once more."""
        found = select(DeliveryRecord).where(
            DeliveryRecord.orthanc_study_id == orthanc_study_id,
            DeliveryRecord.state.in_([state.value for state in _GROWING]),
        )
        for row in session.scalars(found.with_for_update()):
            self._resume(session, row)

    # -- rows ------------------------------------------------------------------------------------------------------

    def locked(self, session: Session, delivery_id: int) -> DeliveryRecord:
        """Return a delivery, locked. Raises NotFound."""
        row = session.get(DeliveryRecord, delivery_id, with_for_update=True)
        if row is None:
            raise NotFound(f"There is no delivery {delivery_id}.", remedy="It may have been forgotten by its age.")
        return row

    @contextmanager
    def _in(self, session: Session | None) -> Iterator[Session]:
        """Yield the caller's transaction, or one of our own."""
        if session is not None:
            yield session
            return
        with self.database.session(write=True) as own:
            yield own

    def change(self, delivery_id: int, values: Mapping[str, Any], *, session: Session | None = None) -> bool:
        """Set columns of a delivery, but of none that has ended (an alternative may have taken over); tell which."""
        row = DeliveryRecord
        has_not_ended = row.state.not_in([state.value for state in ENDED])
        with self._in(session) as current:
            changed = current.execute(
                update(row)
                .where(row.id == delivery_id, has_not_ended)
                .values(changed_at=self.queues.clock(), **values)
                .returning(row.id)
            )
            return changed.one_or_none() is not None


def _has_begun(row: DeliveryRecord) -> bool:
    """Tell whether the target may have something of it."""
    return row.sent > 0 or row.state in {DeliveryState.SENDING, DeliveryState.CHECKING}


def _asked(order: DeliveryOrder) -> dict[str, Any]:
    return {
        "rule": order.rule,
        "reason": order.reason,
        "urgency": order.urgency,
        "transfer": {"syntax": order.transfer.syntax, "quality": order.transfer.quality},
        "deidentify": order.deidentify,
        "changes": dict(order.changes),
        "alternatives": list(order.alternatives),
        "has_alternatives": bool(order.alternatives),
    }


def transfer_of(row: DeliveryRecord) -> Transfer:
    """Return how the pixels of a delivery travel."""
    return Transfer(row.transfer.get("syntax"), row.transfer.get("quality"))
