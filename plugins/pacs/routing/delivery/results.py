"""What is known of a delivery's instances, kept in the ledger."""

from __future__ import annotations

from collections.abc import Iterable, Sequence
from dataclasses import dataclass
from datetime import datetime
from itertools import batched
from typing import Any

from sqlalchemy import case, delete, func, select, update
from sqlalchemy.dialects import postgresql, sqlite
from sqlalchemy.orm import Session

from pacs.routing.delivery.models import DeliveredInstance, DeliveryRecord
from pacs.routing.delivery.states import InstanceState
from pacs.routing.senders.outcome import Outcome

_ROWS_AT_ONCE = 500
_KEY = ("delivery_id", "sop_instance_uid")
_CHANGING = [column.name for column in DeliveredInstance.__table__.columns if column.name not in _KEY]


@dataclass(frozen=True, slots=True)
class Known:
    """An instance that the target was sent."""

    state: InstanceState
    sop_class_uid: str
    sent_study_uid: str
    sent_series_uid: str
    sent_sop_uid: str
    words: str


def known_of(session: Session, delivery_id: int) -> dict[str, Known]:
    """Return what was sent of a delivery, by SOP Instance UID here."""
    one = DeliveredInstance
    rows = session.execute(
        select(
            one.sop_instance_uid,
            one.state,
            one.sop_class_uid,
            one.sent_study_uid,
            one.sent_series_uid,
            one.sent_sop_uid,
            one.words,
        ).where(one.delivery_id == delivery_id)
    )
    return {uid: Known(InstanceState(state), *rest) for uid, state, *rest in rows}


def note(session: Session, delivery_id: int, outcomes: Iterable[Outcome], now: datetime) -> None:
    """Write down what came of instances. What was confirmed and is sent again has to be confirmed again."""
    rows = {one.sop_instance: _row(delivery_id, one, now) for one in outcomes}
    insert = sqlite.insert if session.get_bind().dialect.name == "sqlite" else postgresql.insert
    statement = insert(DeliveredInstance)
    changed = {name: statement.excluded[name] for name in _CHANGING}
    if rows:
        session.execute(
            statement.on_conflict_do_update(index_elements=_KEY, set_=changed),
            list(rows.values()),
        )
    _count(session, delivery_id)


def confirm(session: Session, delivery_id: int, sop_instance_uids: Sequence[str]) -> None:
    """Write down that the target has instances (SOP Instance UIDs here)."""
    _set(session, delivery_id, sop_instance_uids, InstanceState.CONFIRMED)


def forget(session: Session, delivery_id: int, sop_instance_uids: Sequence[str]) -> None:
    """Take instances for not sent: the target has not got them, whatever it said."""
    for some in batched(sop_instance_uids, _ROWS_AT_ONCE, strict=False):
        session.execute(delete(DeliveredInstance).where(*_of(delivery_id, some)))
    _count(session, delivery_id)


def _set(session: Session, delivery_id: int, sop_instance_uids: Sequence[str], state: InstanceState) -> None:
    for some in batched(sop_instance_uids, _ROWS_AT_ONCE, strict=False):
        session.execute(update(DeliveredInstance).where(*_of(delivery_id, some)).values(state=state.value))
    _count(session, delivery_id)


def _of(delivery_id: int, sop_instance_uids: Sequence[str]) -> tuple[Any, Any]:
    return (
        DeliveredInstance.delivery_id == delivery_id,
        DeliveredInstance.sop_instance_uid.in_(sop_instance_uids),
    )


def _count(session: Session, delivery_id: int) -> None:
    """Bring the sums of a delivery up to date."""

    def number(*states: InstanceState) -> Any:
        return func.coalesce(
            func.sum(case((DeliveredInstance.state.in_([one.value for one in states]), 1), else_=0)), 0
        )

    sums = session.execute(
        select(
            number(InstanceState.SENT, InstanceState.CONFIRMED),
            number(InstanceState.REFUSED),
            number(InstanceState.CONFIRMED),
        ).where(DeliveredInstance.delivery_id == delivery_id)
    ).one()
    sent, refused, confirmed = map(int, sums)
    session.execute(
        update(DeliveryRecord)
        .where(DeliveryRecord.id == delivery_id)
        .values(sent=sent, refused=refused, confirmed=confirmed)
    )


def _row(delivery_id: int, outcome: Outcome, now: datetime) -> dict[str, Any]:
    return {
        "delivery_id": delivery_id,
        "sop_instance_uid": outcome.sop_instance,
        "state": outcome.state,
        "sop_class_uid": outcome.sop_class,
        "sent_study_uid": outcome.sent_study,
        "sent_series_uid": outcome.sent_series,
        "sent_sop_uid": outcome.sent_sop,
        "status": outcome.status[:16],
        "words": outcome.words,
        "at": now,
    }
