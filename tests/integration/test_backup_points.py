"""What a restore point promises, while images come and go."""

from __future__ import annotations

from pathlib import Path

import psycopg
import pytest

from fixtures.backup_points import faults_under_traffic
from fixtures.backup_sites import backup_site, images

POINTS = 4


def test_every_point_has_every_file_that_its_database_names(tmp_path: Path) -> None:
    """Under storing and deleting without a pause: none missing, none with a wrong hash, at any point."""
    faults = faults_under_traffic(tmp_path, points=POINTS, pause_seconds=0.3)
    assert len(faults) == POINTS
    assert not [(lsn, missing) for lsn, missing in faults.items() if missing]


RIGHTS = """
CREATE ROLE narrow LOGIN;
GRANT SELECT ON ALL TABLES IN SCHEMA public TO narrow;
GRANT MAINTAIN ON attachedfiles TO narrow;
GRANT EXECUTE ON FUNCTION pg_create_restore_point(text), pg_switch_wal() TO narrow;
"""


def test_role_of_the_backup_needs_few_rights(tmp_path: Path) -> None:
    """It may read, hold attachments still and mark the log; it can write, delete or drop nothing."""
    with backup_site(tmp_path) as site:
        site.store(images(tmp_path, study="first", slices=2))
        with site.cluster.connect(site.database) as connection:
            connection.execute(RIGHTS)
        secret = site.credentials / "BACKUP_INDEX_URL"
        secret.write_text(secret.read_text().replace("//pacs@", "//narrow@"))
        assert site.command("files") == 0
        assert site.command("fixity", "--all") == 0
        assert site.command("consistency") == 0
        with psycopg.connect(secret.read_text().replace("+psycopg", ""), autocommit=True) as narrow:
            for statement in ("DELETE FROM attachedfiles", "UPDATE resources SET publicid = ''", "DROP TABLE changes"):
                with pytest.raises(psycopg.errors.InsufficientPrivilege):
                    narrow.execute(statement)
