"""Twenty restore points under storing and deleting, as in the short test."""

from __future__ import annotations

from pathlib import Path

from fixtures.backup_points import faults_under_traffic

POINTS = 20


def test_twenty_points_have_every_file_that_their_databases_name(tmp_path: Path) -> None:
    """Under storing and deleting without a pause: none missing, none with a wrong hash, in twenty restores."""
    faults = faults_under_traffic(tmp_path, points=POINTS, pause_seconds=1)
    assert len(faults) == POINTS
    assert not [(lsn, missing) for lsn, missing in faults.items() if missing]
