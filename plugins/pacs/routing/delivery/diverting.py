"""Handing a delivery whose target is away to an alternative: one of the two has it, whatever happens at that moment."""

from __future__ import annotations

from collections.abc import Collection, Sequence
from contextlib import suppress
from itertools import batched

from sqlalchemy import select
from sqlalchemy.orm import Session

from pacs.errors import NotFound
from pacs.routing.delivery.ledger import Ledger, transfer_of
from pacs.routing.delivery.models import DeliveryRecord
from pacs.routing.delivery.states import ENDED, DeliveryState
from pacs.routing.orders import DeliveryOrder
from pacs.work import StateConflict

_AT_ONCE = 500
_IS_AWAY = " is away. "

# A study and a target that it was taken from.
type Taken = tuple[str, str]


def divert(
    ledger: Ledger, delivery_id: int, session: Session, *, answering: Collection[str] = frozenset()
) -> int | None:
    """Hand a delivery to its next alternative, in the caller's writing transaction.

    Nothing is handed over that is on its way. Where all alternatives are away, too, the targets before are alternatives
    in their turn: whoever is there first gets it.

    Parameters
    ----------
    answering : targets that answer now; to others nothing returns that was taken from them.

    Returns
    -------
    The alternative's delivery, None when nobody can take over.
    """
    row = ledger.locked(session, delivery_id)
    before = taken(session, [row.orthanc_study_id])
    following = next(iter(followers(row.orthanc_study_id, row.alternatives, before, answering)), None)
    if following is None or not _is_idle(ledger, session, row):
        return None
    with suppress(NotFound, StateConflict):
        # One that is in work waits for the target: it is given back as cancelled.
        ledger.queues.of(row.target).cancel(row.work_item_id or 0, session=session)
    row.state, row.diverted_to, row.changed_at = DeliveryState.DIVERTED.value, following, ledger.queues.clock()
    row.error = row.remedy = None
    if row.sent:
        row.error = f"It was away after it accepted {row.sent} of {row.instances} instances; {following} took over."
        row.remedy = "If it is to have all of it, too, try it again."
    others = _others(ledger, session, row, following)
    series: Sequence[str | None] = row.series or [None]
    return ledger.order([_order_like(row, one, following, others) for one in series], session)[-1]


def taken(session: Session, orthanc_study_ids: Sequence[str]) -> set[Taken]:
    """Return what was taken from which target for an alternative."""
    row = DeliveryRecord
    asked = select(row.orthanc_study_id, row.target).where(row.state == DeliveryState.DIVERTED.value)
    return {
        (study, target)
        for some in batched(orthanc_study_ids, _AT_ONCE, strict=False)
        for study, target in session.execute(asked.where(row.orthanc_study_id.in_(some)))
    }


def followers(
    orthanc_study_id: str, alternatives: Sequence[str], before: Collection[Taken], answering: Collection[str]
) -> list[str]:
    """Return which alternatives of a study's delivery can take over, in their order."""
    return [one for one in alternatives if one in answering or (orthanc_study_id, one) not in before]


def _is_idle(ledger: Ledger, session: Session, row: DeliveryRecord) -> bool:
    """Tell whether nothing of a delivery is on its way: it waits, or was left by a try that was cut off."""
    if row.state == DeliveryState.WAITING:
        return True
    is_begun = row.state in {DeliveryState.SENDING, DeliveryState.CHECKING}
    return is_begun and ledger.pending(session, row) is not None


def _others(ledger: Ledger, session: Session, row: DeliveryRecord, following: str) -> tuple[str, ...]:
    """Return who stands in for an alternative: the others, at last the target itself once it is back."""
    for there in ledger.found(session, following, [row.orthanc_study_id]):
        if there.state not in ENDED:
            # Somebody wants it there in any case, or says who gets it else.
            return tuple(there.alternatives)
    return (*(one for one in row.alternatives if one != following), row.target)


def _order_like(
    row: DeliveryRecord, orthanc_series_id: str | None, target: str, alternatives: tuple[str, ...]
) -> DeliveryOrder:
    return DeliveryOrder(
        orthanc_study_id=row.orthanc_study_id,
        study_instance_uid=row.study_instance_uid,
        orthanc_series_id=orthanc_series_id,
        target=target,
        rule=row.rule,
        urgency=row.urgency,
        reason=f"{row.target}{_IS_AWAY}{row.reason.rpartition(_IS_AWAY)[2]}".strip(),
        alternatives=alternatives,
        transfer=transfer_of(row),
        deidentify=row.deidentify,
        changes=row.changes,
    )
