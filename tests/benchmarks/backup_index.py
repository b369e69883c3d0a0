"""What the index's size costs: `python -m benchmarks.backup_index --directory DIRECTORY [--files N,N]`.

An index of so many attachments in a real PostgreSQL, all of them packed before: how long ten new files take until they
are at a place, and how long the nightly comparison of the whole takes. DIRECTORY: a short path.
"""

from __future__ import annotations

import argparse
import time
from pathlib import Path
from uuid import uuid4

from fixtures.postgresql import PostgresqlCluster, postgresql_cluster
from pacs.backup.catalog import Catalog
from pacs.backup.files import Spool
from pacs.backup.orthanc_index import OrthancIndex
from pacs.backup.places import open_places
from pacs.backup.settings import BackupSettings, Credentials
from pacs.backup.storage import Storage

NEW = 10
_TABLES = """
CREATE TABLE resources (internalid bigint PRIMARY KEY, resourcetype int, publicid text, parentid bigint);
CREATE TABLE attachedfiles (id bigint, filetype int, uuid varchar(64), compressedsize bigint, uncompressedsize bigint,
    compressiontype int, uncompressedhash varchar(40), compressedhash varchar(40), revision int,
    PRIMARY KEY (id, filetype));
CREATE TABLE changes (seq bigint PRIMARY KEY, changetype int, internalid bigint, resourcetype int, date text);
"""
_ROWS = """
INSERT INTO resources SELECT n, 3, md5(n::text), NULL FROM generate_series(1, {count}) n;
INSERT INTO attachedfiles SELECT n, 1, gen_random_uuid(), 500000, 500000, 1, md5(n::text), md5(n::text), 0
    FROM generate_series(1, {count}) n;
INSERT INTO changes SELECT n, 2, n, 3, '20260101T000000' FROM generate_series(1, {count}) n;
ANALYZE;
"""


def main() -> None:
    """Measure for each size and print a row."""
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--directory", type=Path, required=True)
    parser.add_argument("--files", default="10000,1000000")
    options = parser.parse_args()
    print("| files | delta of 10: mark, pack | send | nightly comparison | per million |\n|---|---|---|---|---|")
    for count in map(int, options.files.split(",")):
        with postgresql_cluster(directory=options.directory) as cluster:
            _measure(options.directory / f"n{count}", cluster, count)


def _measure(folder: Path, cluster: PostgresqlCluster, count: int) -> None:
    url = cluster.create_database()
    database = url.split("/")[3].split("?")[0]
    with cluster.connect(database) as connection:
        connection.execute(_TABLES)
        connection.execute(_ROWS.format(count=count))
    settings = _settings(folder)
    with Catalog(settings.state / "catalog.db") as catalog, OrthancIndex(url) as index:
        with catalog.transaction():
            catalog.add_files((one.uuid for one in index.paged()), "2026-01-01.01/pack")
            with index.reading() as reading:
                catalog.cursor = reading.end()
        spool = Spool(settings, catalog)
        spool.recover()
        times = [_delta(settings, cluster, database, spool, index) for _ in range(3)]
        began = time.monotonic()
        packed = sum(spool.gather(index.paged()))
        nightly = time.monotonic() - began
    assert packed == 0
    mark, send = sorted(times)[1]
    print(f"| {count} | {mark:.2f} s | {send:.2f} s | {nightly:.1f} s | {nightly / count * 1e6:.0f} s |", flush=True)


def _delta(
    settings: BackupSettings, cluster: PostgresqlCluster, database: str, spool: Spool, index: OrthancIndex
) -> tuple[float, float]:
    """Add files to the archive, save them, and return how long marking and sending took."""
    with cluster.connect(database) as connection:
        for _ in range(NEW):
            _add(settings, connection)
    began = time.monotonic()
    spool.mark(index)
    marked = time.monotonic()
    with open_places(settings.places, Credentials(settings.state), settings.work / "cache") as (place,):
        spool.send(place)
    return marked - began, time.monotonic() - marked


def _add(settings: BackupSettings, connection: object) -> None:
    uuid = str(uuid4())
    path = Storage(settings.storage).path(uuid)
    path.parent.mkdir(parents=True)
    path.write_bytes(uuid.encode() * 100)
    connection.execute(  # type: ignore[attr-defined]
        "WITH n AS (SELECT MAX(internalid) + 1 AS id FROM resources), r AS "
        "(INSERT INTO resources SELECT id, 3, %s, NULL FROM n) "
        "INSERT INTO attachedfiles SELECT id, 1, %s, 3600, 3600, 1, '', '', 0 FROM n",
        (uuid, uuid),
    )


def _settings(folder: Path) -> BackupSettings:
    for name in ("storage", "work", "state", "place"):
        (folder / name).mkdir(parents=True)
    (folder / "place" / ".pacs-backup-place").touch()
    (folder / "state" / "BACKUP_DISK_PASSWORD").write_text("benchmark")
    place = {"name": "disk", "kind": "local", "url": str(folder / "place")}
    words = {"storage": folder / "storage", "work": folder / "work", "state": folder / "state", "reserve_bytes": 0}
    return BackupSettings.model_validate(words | {"places": [place]})


if __name__ == "__main__":
    main()
