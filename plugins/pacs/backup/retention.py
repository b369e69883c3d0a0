"""What is kept how long, and letting go of the rest, safely.

Restore points of the database: hourly, daily, monthly, yearly, as each place's policy says. Images: as long as the
archive has them, and after their deletion as long as the oldest daily point: every point within the window is whole.

Safe: a repository is checked before anything in it is forgotten, and never more than one at a time; forgetting and
pruning are restic's, which takes an exclusive lock and removes data after it has rewritten what is still needed.
"""

from __future__ import annotations

import re
import shutil
import tempfile
from collections.abc import Iterator, Mapping, Sequence
from datetime import UTC, datetime, timedelta
from pathlib import Path

from pacs.backup import packs
from pacs.backup.catalog import Catalog
from pacs.backup.errors import BackupError
from pacs.backup.orthanc_index import Attachment
from pacs.backup.places import ESCROW, SYSTEM, Place
from pacs.backup.restic import Repository
from pacs.backup.settings import Retention
from pacs.backup.site import Site, each
from pacs.backup.storage import measure

_MONTH = re.compile(r"\d{4}-\d{2}")


def prune(site: Site, places: Sequence[Place], catalog: Catalog) -> None:
    """Let go at places what their retention does not keep.

    Raises
    ------
    PlaceError : one is damaged or out of reach; nothing of it was let go, of the others what was due.
    """
    closed = {batch.name for batch in catalog.batches() if batch.closed}
    days = max(place.settings.retention.daily for place in places)
    gone = catalog.gone_before(datetime.now(UTC) - timedelta(days=days))
    gone = {batch: uuids for batch, uuids in gone.items() if batch in closed}
    each(places, lambda place: _apply(site, place, catalog, gone))
    with catalog.transaction():
        catalog.forget_files(uuid for uuids in gone.values() for uuid in uuids)


def _apply(site: Site, place: Place, catalog: Catalog, gone: Mapping[str, list[str]]) -> None:
    if place.settings.append_only:
        raise BackupError(f"{place.name} is append-only.", remedy="Its keeper prunes: see RESTORE.md.")
    place.require_reachable()
    for name in repositories_of(site, place):
        repository = place.repository(name)
        repository.check()
        if name == SYSTEM or name.startswith("database-"):
            repository.forget("--group-by", "tags", *_rules(place.settings.retention), prune=True)
        elif name == ESCROW:
            repository.forget("--keep-last", "10", "--keep-monthly", "24", prune=True)
        else:
            _keep_newest_of_each_batch(repository)
    _let_go_of_deleted(site, place, catalog, gone)


def repositories_of(site: Site, place: Place) -> list[str]:
    """Return the names of the repositories that a place has."""
    with site.catalog() as catalog:
        months = sorted({batch[:7] for batch in catalog.sent(place.name)})
    names = [f"files-{month}" for month in months]
    names += [f"database-{month}" for month in _database_months(months)] + [SYSTEM, ESCROW]
    return [name for name in names if place.repository(name).exists()]


def _database_months(months: list[str]) -> Iterator[str]:
    now = f"{datetime.now(UTC):%Y-%m}"
    yield from sorted({*months, now})


def _rules(policy: Retention) -> list[str]:
    kinds = ("hourly", "daily", "monthly", "yearly")
    rules = [(kind, getattr(policy, kind)) for kind in kinds]
    return [word for kind, number in rules if number for word in (f"--keep-{kind}", str(number))]


def _keep_newest_of_each_batch(repository: Repository) -> None:
    """Forget snapshots of batches but the newest, which holds all that the older ones hold; nothing is pruned."""
    repository.forget("--group-by", "tags", "--keep-last", "1")


def _let_go_of_deleted(site: Site, place: Place, catalog: Catalog, gone: Mapping[str, list[str]]) -> None:
    """Write the batches anew that hold files which the archive deleted before the oldest daily point."""
    for batch, uuids in gone.items():
        sent = catalog.sent(place.name).get(batch)
        if sent is None or not sent[1]:
            continue
        repository = place.repository(f"files-{batch[:7]}")
        with tempfile.TemporaryDirectory(dir=site.settings.work, prefix="rewrite-") as room:
            folder = Path(room)
            packs.lay_out(folder)
            for name, text in packs.texts(repository, sent[2], packs.POINTS):
                packs.write_durably(folder / packs.POINTS / f"{name}{packs.POINT}", text)
            _write_without(folder, list(packs.members_into(repository, sent[2], folder / "files", set(uuids))))
            shutil.rmtree(folder / "files")
            saved = repository.save(folder, {"batch": batch}, compressed=True)
        repository.forget(sent[2], prune=True)
        catalog.note_sent(place.name, batch, 1, closed=True, snapshot=saved.snapshot_id)
        site.runs.audit("let go", place=place.name, batch=batch, files=len(uuids))


def _write_without(folder: Path, kept: list[str]) -> None:
    rows = []
    for uuid in kept:
        with (folder / "files" / uuid).open("rb") as file:
            measured = measure(file)
        rows.append(Attachment(0, 0, uuid, measured.size_bytes, 0, measured.md5, ""))
    packs.write(folder, "rewritten", folder / "files", rows)
