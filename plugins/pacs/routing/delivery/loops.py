"""What must not go back to where it came from.

Two archives that send each other what they get would do so for ever. An instance's reception tells who sent it (AE
title, and with it the address); a copy of ours that comes back from a third one is known by the UID that we gave it. A
longer ring of archives ends by itself: what an archive has already is no news to it, and what a target has proven is
not sent again.
"""

from __future__ import annotations

from collections.abc import Sequence

from sqlalchemy import select
from sqlalchemy.orm import Session

from pacs.ports import Json
from pacs.routing.delivery.instances import OutgoingInstance
from pacs.routing.delivery.models import DeliveredInstance

_AT_ONCE = 500


def without_returns(session: Session, argument: Json, instances: Sequence[OutgoingInstance]) -> list[OutgoingInstance]:
    """Return those of `instances` that did not come from the target, and are no copies that we made for somebody.

    Parameters
    ----------
    argument : the target, as `Stations.argument` tells it.
    """
    others = [one for one in instances if not _came_from(argument, one)]
    copies = _copies(session, [one.sop_instance_uid for one in others])
    return [one for one in others if one.sop_instance_uid not in copies]


def _came_from(argument: Json, instance: OutgoingInstance) -> bool:
    """Tell whether the target sent it: by its AE title, which is unique in a hospital (DICOM PS3.8 section 7.1.1.3)."""
    return bool(instance.came_from) and instance.came_from == argument.get("aet")


def _copies(session: Session, sop_instance_uids: Sequence[str]) -> set[str]:
    """Return which of these are copies with UIDs of their own that this archive sent out."""
    found: set[str] = set()
    for start in range(0, len(sop_instance_uids), _AT_ONCE):
        statement = select(DeliveredInstance.sent_sop_uid).where(
            DeliveredInstance.sent_sop_uid.in_(sop_instance_uids[start : start + _AT_ONCE]),
            DeliveredInstance.sent_sop_uid != DeliveredInstance.sop_instance_uid,
        )
        found.update(session.scalars(statement))
    return found
