"""What the history of an entry keeps of why it is canceled, which its status does not tell."""

from __future__ import annotations

from typing import Any

from sqlalchemy.orm import Session

from pacs.worklist.statuses import StepStatus
from pacs.worklist.steps import StepRow
from pacs.worklist.worklist import Worklist

# In the detail of a line: whether a canceled step is to come back when it is released.
ON_HOLD = "on_hold"
# The accession number of the entry that took its place.
REPLACED_BY = "replaced_by"


def is_on_hold(worklist: Worklist, session: Session, row: StepRow) -> bool:
    """Tell whether a step is canceled until it is released, rather than for good."""
    return row.status is StepStatus.CANCELED and bool(_mark(worklist, session, row).get(ON_HOLD))


def is_replaced(worklist: Worklist, session: Session, row: StepRow) -> bool:
    """Tell whether another entry took the place of this one."""
    return bool(_mark(worklist, session, row).get(REPLACED_BY))


def _mark(worklist: Worklist, session: Session, row: StepRow) -> dict[str, Any]:
    """Return the newest line with a mark that was written since the step has its status, or with it."""
    for event in reversed(worklist.get(session, row.id).history):
        if ON_HOLD in event.detail or REPLACED_BY in event.detail:
            return event.detail
        if event.before is not event.after:
            break
    return {}
