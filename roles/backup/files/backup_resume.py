"""After a restore on a new machine: learns what the places have already, so that backups go on where they were.

Out of the place that was restored from: the catalog of the night before, and the lists of what came after it; where there
is no catalog, all lists. A place whose batches are the same has them; another one gets what it lacks packed anew.
Without all this the whole archive would be sent to every place once more.
"""

from __future__ import annotations

import os
import shutil
import sqlite3
import sys
from collections.abc import Mapping
from itertools import takewhile
from pathlib import Path

from pacs.backup import packs, points, saving
from pacs.backup.catalog import Catalog
from pacs.backup.overview import DRILLS, REPORTS
from pacs.backup.places import SYSTEM, Place
from pacs.backup.restic import Snapshot
from pacs.backup.restoring_lost import FOLDER as LOST
from pacs.backup.runs import AUDIT
from pacs.backup.settings import BackupSettings, load
from pacs.backup.site import Site
from pacs.errors import PacsError

SETTINGS = Path("/etc/pacs/backup/backup.yml")
CREDENTIALS = Path("/etc/pacs/credentials")
RESTORE = Path("/run/pacs-restore")
CATALOG = "catalog.db"


def main() -> int:
    """Put the catalog in place and complete it."""
    # PostgreSQL's user, who is in the group, writes the trail as well.
    os.umask(0o002)
    settings = load(SETTINGS)
    with Site.of(load(RESTORE / "backup.yml"), RESTORE / "credentials").place("restore") as place:
        if last := next(points.of(place), None):
            print(
                f"The place's last restore point is of {last.at:%Y-%m-%d %H:%M:%S} UTC: "
                "images that came later are not there."
            )
        put_in_place(fetched(place, settings), settings.state)
        site = Site.of(settings, CREDENTIALS)
        with Catalog(settings.state / CATALOG) as catalog, site.places() as places:
            those = learn(catalog, place)
            for one in places:
                try:
                    saving.begin_anew_where_empty(site, one)
                    compare(catalog, those, one, [other.name for other in places])
                except PacsError as fault:
                    print(f"{fault} When it is back it gets what came last once more.")
    with sqlite3.connect(settings.state / CATALOG) as database:
        files = database.execute("SELECT count(*) FROM files").fetchone()[0]
    print(f"Backups go on where the lost server's ended: {files} files are known to be at the place.")
    return 0


def fetched(place: Place, settings: BackupSettings) -> Path | None:
    """Return the state folder as the place has it, of the night before; None where it has none."""
    saved = place.newest_copy(settings.state)
    if saved is None:
        return None
    folder = settings.work / "resume"
    shutil.rmtree(folder, ignore_errors=True)
    folder.mkdir(parents=True, mode=0o700)
    place.repository(SYSTEM).restore(saved.snapshot_id, folder)
    return folder


def put_in_place(former: Path | None, state: Path) -> None:
    """Take trail, reports and catalog into use; without a catalog, or with a torn one, begin with none."""
    for path in state.glob(f"{CATALOG}*"):
        path.unlink()
    if former is None:
        return
    for name in (REPORTS, LOST):
        if (former / name).is_dir():
            shutil.copytree(former / name, state / name, dirs_exist_ok=True)
    if (former / DRILLS).is_file() and not (state / DRILLS).exists():
        shutil.copyfile(former / DRILLS, state / DRILLS)
    join(former / AUDIT, state / AUDIT)
    if is_whole(former / CATALOG):
        for path in former.glob(f"{CATALOG}*"):
            shutil.copyfile(path, state / path.name)
    shutil.rmtree(former)


def join(former: Path, trail: Path) -> None:
    """Put the lines of the lost server before those of this one, unless an attempt that was cut off did."""
    lines, own = (path.read_text(encoding="utf-8") if path.exists() else "" for path in (former, trail))
    if lines and not own.startswith(lines):
        packs.write_durably(trail, lines + own)


def is_whole(catalog: Path) -> bool:
    """Tell whether a catalog is there and not torn."""
    if not catalog.exists():
        return False
    with sqlite3.connect(catalog) as database:
        return bool(database.execute("PRAGMA integrity_check").fetchone() == ("ok",))


def learn(catalog: Catalog, place: Place) -> dict[str, Snapshot]:
    """Note every batch that was not closed yet, or not known, with its files, and close it; return them."""
    known = {batch.name for batch in catalog.batches() if batch.closed}
    learnt = {}
    # Newest first: what is before a batch that is known and closed is known.
    for batch in takewhile(lambda one: one.name not in known, points.batches(place)):
        for pack, text in packs.texts(batch.repository, batch.snapshot.snapshot_id, packs.LISTS):
            with catalog.transaction():
                catalog.add_files((line.partition(" ")[0] for line in text.splitlines()), f"{batch.name}/{pack}")
        catalog.grow_batch(batch.name, 0)
        catalog.close_batch(batch.name)
        learnt[batch.name] = batch.snapshot
    return learnt


def compare(catalog: Catalog, those: Mapping[str, Snapshot], place: Place, names: list[str]) -> None:
    """Note which of the batches a place has whole: by their sizes, since it may let nothing be read back."""
    if not those:
        return
    for batch in takewhile(lambda one: one.name >= min(those), points.batches(place)):
        wanted = those.get(batch.name)
        if wanted is None:  # it is ahead: its name is taken
            catalog.grow_batch(batch.name, 0)
            catalog.close_batch(batch.name)
        if wanted is None or wanted.size == batch.snapshot.size:
            for name in names if wanted is None else [place.name]:
                snapshot = batch.snapshot.snapshot_id if name == place.name else ""
                catalog.note_sent(name, batch.name, batch.snapshot.size[0], closed=True, snapshot=snapshot)


if __name__ == "__main__":
    sys.exit(main())
