"""Rows of the table, as what the rest of the program sees."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

from sqlalchemy import RowMapping

from pacs.worklist.models import StepHistoryRecord, StepRecord
from pacs.worklist.statuses import StepStatus
from pacs.worklist.steps import ChangeKind, StepEvent, StepRow

_SAME = tuple(name for name in StepRow.__dataclass_fields__ if name not in ("status", "encoded"))


def row_of(record: StepRecord) -> StepRow:
    """Return a copy of a step that outlives its session."""
    return row_from({name: getattr(record, name) for name in (*_SAME, "status", "attributes")})


def row_from(columns: RowMapping | Mapping[str, Any]) -> StepRow:
    """Return the step of which these are the columns, other columns among them."""
    same = {name: columns[name] for name in _SAME}
    return StepRow(**same, status=StepStatus(columns["status"]), encoded=columns["attributes"])


def event_of(record: StepHistoryRecord) -> StepEvent:
    """Return a copy of a line of the history."""
    return StepEvent(
        at=record.at,
        actor=record.actor,
        kind=ChangeKind(record.kind),
        before=StepStatus(record.status_before) if record.status_before else None,
        after=StepStatus(record.status_after),
        detail=record.detail,
    )
