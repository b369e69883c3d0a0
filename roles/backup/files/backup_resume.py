"""After a restore on a new machine: takes the catalog of what was sent out of the place, so that backups go on.

Without it the whole archive would be sent to every place once more. What came after the catalog was saved (the night
before) is packed and sent anew, under names that the lost server can't have used.
"""

from __future__ import annotations

import shutil
import sqlite3
import sys
from datetime import UTC, datetime, timedelta
from pathlib import Path

from pacs.backup import points
from pacs.backup.places import SYSTEM, Place
from pacs.backup.settings import BackupSettings, load
from pacs.backup.site import Site

SETTINGS = Path("/etc/pacs/backup/backup.yml")
RESTORE = Path("/run/pacs-restore")
CATALOG = "catalog.db"
NAMES_A_DAY = 50


def main() -> int:
    """Put the catalog in place; tell when there is none, which is no fault."""
    settings = load(SETTINGS)
    with Site.of(load(RESTORE / "backup.yml"), RESTORE / "credentials").place("restore") as place:
        found = fetched(place, settings)
        last = points.of(place)[-1].at
    print(f"The place's last restore point is of {last:%Y-%m-%d %H:%M} UTC: images that came later are not there.")
    if not found:
        print("The place has no catalog: all images are sent once more.")
        return 0
    target = settings.state / CATALOG
    for path in found.parent.glob(f"{CATALOG}*"):
        shutil.copyfile(path, target.with_name(path.name))
    shutil.rmtree(settings.work / "resume")
    files = close(target, [place.name for place in settings.places])
    print(f"Backups go on where the lost server's ended: {files} files are known to be at the places.")
    return 0


def fetched(place: Place, settings: BackupSettings) -> Path | None:
    """Return the catalog as the place has it; None where it has none or a torn one."""
    repository = place.repository(SYSTEM)
    saved = [one for one in repository.snapshots_if_any() if one.tags.get("folder") == str(settings.state)]
    if not saved:
        return None
    folder = settings.work / "resume"
    shutil.rmtree(folder, ignore_errors=True)
    folder.mkdir(parents=True, mode=0o700)
    repository.restore(saved[-1].snapshot_id, folder)
    catalog = folder / CATALOG
    if not catalog.exists():
        return None
    with sqlite3.connect(catalog) as database:
        return catalog if database.execute("PRAGMA integrity_check").fetchone() == ("ok",) else None


def close(catalog: Path, places: list[str]) -> int:
    """Close every batch, and take the names that the lost server may have given since; return the number of files."""
    now = datetime.now(UTC)
    days = [f"{now - timedelta(days=ago):%Y-%m-%d}" for ago in range(3)]
    names = [f"{day}.{number:02}" for day in days for number in range(1, NAMES_A_DAY)]
    with sqlite3.connect(catalog) as database:
        database.execute("UPDATE batches SET closed = 1")
        known = {row[0] for row in database.execute("SELECT batch FROM batches")}
        for name in (name for name in names if name not in known):
            database.execute("INSERT INTO batches (batch, closed, pack_bytes) VALUES (?, 1, 0)", (name,))
            rows = [(place, name, 0, 1, "") for place in places]
            database.executemany(
                "INSERT INTO sent (place, batch, packs, closed, snapshot) VALUES (?, ?, ?, ?, ?)", rows
            )
        return int(database.execute("SELECT count(*) FROM files").fetchone()[0])


if __name__ == "__main__":
    sys.exit(main())
