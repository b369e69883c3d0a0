"""Twenty restore points under storing and deleting, as in the short test."""

from __future__ import annotations

import time
from pathlib import Path

from fixtures.backup_points import faults_at, images_come_and_go
from fixtures.backup_sites import backup_site, images

POINTS = 20


def test_twenty_points_have_every_file_that_their_databases_name(tmp_path: Path) -> None:
    """Under storing and deleting without a pause: none missing, none with a wrong hash, in twenty restores."""
    with backup_site(tmp_path, {"OverwriteInstances": False}) as site:
        site.store(images(tmp_path, study="first", slices=2))
        assert site.command("database", "full") == 0
        with images_come_and_go(site, tmp_path):
            for _ in range(POINTS):
                assert site.command("files") == 0
                time.sleep(1)
        assert site.command("ship") == 0
        faults = faults_at(site, "disk", tmp_path / "restored")
    assert len(faults) == POINTS
    assert not [(lsn, missing) for lsn, missing in faults.items() if missing]
