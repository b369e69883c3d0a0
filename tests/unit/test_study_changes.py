"""`pacs.studies.changes`: lines of /changes, and numbers that are missing."""

from __future__ import annotations

from datetime import UTC, datetime, timedelta

import pytest

from pacs.ports import ChangeKind, ResourceLevel
from pacs.studies.changes import FeedChange, LoggedChange, before_gap

NOW = datetime(2026, 3, 10, 10, 15, tzinfo=UTC)


def _change(sequence: int, age_seconds: float = 0.0) -> LoggedChange:
    return LoggedChange(sequence, "NewInstance", "Instance", f"i{sequence}", NOW - timedelta(seconds=age_seconds))


def test_line_is_read() -> None:
    """A line of Orthanc's becomes a change of the core."""
    line = {"ChangeType": "StableStudy", "Date": "20260310T101500", "ID": "x", "ResourceType": "Study", "Seq": 7}
    expected = FeedChange(ChangeKind.STABLE_STUDY, ResourceLevel.STUDY, "x", NOW, 7)
    assert LoggedChange.of(line).known() == expected


@pytest.mark.parametrize("kind", ["NewPatient", "StablePatient", "ModifiedStudy", "SomethingOfTheFuture"])
def test_unknown_kind_is_passed_over(kind: str) -> None:
    """Kinds that the core does not know are read and told to nobody."""
    assert LoggedChange(1, kind, "Study", "x", NOW).known() is None


@pytest.mark.parametrize(
    ("changes", "since", "expected"),
    [
        ([], 0, []),
        ([_change(1), _change(2)], 0, [1, 2]),
        ([_change(1), _change(3)], 0, [1]),
        ([_change(2)], 0, []),
        ([_change(1), _change(3, age_seconds=6)], 0, [1, 3]),
        ([_change(1), _change(3, age_seconds=6), _change(5)], 0, [1, 3]),
        ([_change(11), _change(12), _change(14)], 10, [11, 12]),
    ],
)
def test_gap_is_waited_for(changes: list[LoggedChange], since: int, expected: list[int]) -> None:
    """A missing number may belong to a transaction not yet committed: nothing after it is read until it is too old."""
    assert [change.sequence for change in before_gap(changes, since, NOW)] == expected
