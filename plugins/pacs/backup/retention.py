"""What is kept how long, and letting go of the rest, safely.

Copies of the database: hourly, daily, monthly, yearly, as each place's policy says, over all months together. Each goes
back to any second of the week or two before it, so daily ones make an unbroken line. Images: as long as the archive has
them, and after their deletion as long as the oldest daily copy: every moment within that window is whole. A month of
which nothing is kept goes as a whole.

Safe: a repository is checked before anything in it is forgotten, and never more than one at a time; forgetting and
pruning are restic's, which takes an exclusive lock and removes data after it has rewritten what is still needed. So the
month that is written to is never pruned, only forgotten in, which takes a moment: backups go on meanwhile. What it lets
go leaves the disk when it is over.
"""

from __future__ import annotations

import shutil
import tempfile
from collections.abc import Iterable, Iterator, Mapping, Sequence
from datetime import UTC, date, datetime, timedelta
from pathlib import Path

from pacs.backup import copies, packs, points
from pacs.backup.catalog import Catalog
from pacs.backup.errors import BackupError
from pacs.backup.moments import Range
from pacs.backup.orthanc_index import Attachment
from pacs.backup.places import ESCROW, SYSTEM, Place
from pacs.backup.points import Month, StoredBatch
from pacs.backup.restic import Snapshot
from pacs.backup.settings import PlaceKind, Retention
from pacs.backup.site import Site, each
from pacs.backup.storage import measure

_PERIODS = {"hourly": "%Y-%m-%d %H", "daily": "%Y-%m-%d", "monthly": "%Y-%m", "yearly": "%Y"}
# Logs of days that nobody let go in so long, at a place that does not list what it has, stay.
_DAYS_OF_LOGS = 40
_A_DAY = timedelta(days=1)


def prune(site: Site, places: Sequence[Place], catalog: Catalog) -> None:
    """Let go at places what their retention does not keep.

    Raises
    ------
    PlaceError : one is damaged or out of reach; nothing of it was let go, of the others what was due.
    """
    for left in site.settings.work.glob("rewrite-*"):  # of a run that was killed
        shutil.rmtree(left)
    closed = {batch.name for batch in catalog.batches() if batch.closed}
    days = max(place.settings.retention.daily for place in places)
    gone = catalog.gone_before(datetime.now(UTC) - timedelta(days=days))
    gone = {batch: uuids for batch, uuids in gone.items() if batch in closed and _is_over(batch)}
    each(places, lambda place: _apply(site, place, catalog, gone))
    with catalog.transaction():
        catalog.forget_files(uuid for uuids in gone.values() for uuid in uuids)


def repositories_of(place: Place) -> list[str]:
    """Return the names of the repositories that a place has; of the days' logs those that the newest copy needs."""
    names = [month.repository.name for kind in ("files", "database") for month in points.months_at(place, kind)]
    newest = next(copies.at(place), None)
    names += [repository.name for repository, _ in newest.logs] if newest else []
    return names + [name for name in (SYSTEM, ESCROW) if place.repository(name).exists()]


def kept(moments: Iterable[datetime], policy: Retention) -> set[datetime]:
    """Return which of some moments a policy keeps: the last one of each period, of so many periods, and the newest."""
    ordered = sorted(moments)
    chosen = set(ordered[-1:])
    for kind, shape in _PERIODS.items():
        last_of = {f"{one.astimezone(UTC):{shape}}": one for one in ordered}
        number = getattr(policy, kind)
        chosen |= set(list(last_of.values())[-number:] if number else ())
    return chosen


def _apply(site: Site, place: Place, catalog: Catalog, gone: Mapping[str, list[str]]) -> None:
    if place.settings.append_only:
        raise BackupError(f"{place.name} is append-only.", remedy="Its keeper prunes: see RESTORE.md.")
    place.require_reachable()
    _let_go_of_copies(place)
    _let_go_of_logs(place)
    copies.note(site.settings.state, place)
    _forget_by_rules(place, SYSTEM, "--group-by", "tags", *_rules(place.settings.retention))
    # Each was sealed in another folder: by folders nothing would ever go.
    _forget_by_rules(place, ESCROW, "--group-by", "host", "--keep-last", "10", "--keep-monthly", "24")
    for month in points.months_at(place, "files"):
        _keep_newest_of_each_batch(month)
    _let_go_of_deleted(site, place, catalog, gone)
    _let_go_of_empty(place, catalog, gone)


def _forget_by_rules(place: Place, name: str, *rules: str) -> None:
    repository = place.repository(name)
    if place.may_have(name) and repository.exists():
        repository.check()
        repository.forget(*rules, prune=True)


def _rules(policy: Retention) -> list[str]:
    rules = [(kind, getattr(policy, kind)) for kind in _PERIODS]
    return [word for kind, number in rules if number for word in (f"--keep-{kind}", str(number))]


def _let_go_of_copies(place: Place) -> None:
    """Forget the copies of the database that the policy does not keep, whatever month they are in."""
    months = list(points.months_at(place, "database"))
    keep = kept((one.at for month in months for one in month.snapshots if _is_copy(one)), place.settings.retention)
    for month in months:
        _forget(place, month, [one for one in month.snapshots if one.at not in keep or not _is_copy(one)])


def _is_copy(snapshot: Snapshot) -> bool:
    return snapshot.tags.get("database") == copies.WHOLE


def _forget(place: Place, month: Month, gone: Sequence[Snapshot]) -> None:
    if not gone and not month.is_last:
        return
    if month.is_over:
        month.repository.check()
    is_empty = len(gone) == len(month.snapshots)
    month.repository.forget(*(one.snapshot_id for one in gone), prune=month.is_over)
    if is_empty and month.is_over:
        _remove_if_empty(place, month.repository.name)


def _remove_if_empty(place: Place, name: str) -> None:
    """Remove a repository unless something came meanwhile: a place that was out of reach catches up."""
    if not place.repository(name).snapshots_if_any():
        place.remove(name)


def _let_go_of_logs(place: Place) -> None:
    """Let go the logs of days that the newest copy has in itself, and of the others all but each hour's last."""
    newest = next(copies.at(place), None)
    if newest is None:
        return
    today = datetime.now(UTC).date()
    hours = timedelta(hours=place.settings.retention.hourly)
    oldest = min(newest.snapshot.at, datetime.now(UTC) - hours).astimezone(UTC).date()
    for day in _days_of_logs(place, today):
        name = copies.log_repository(day)
        repository = place.repository(name)
        snapshots = repository.snapshots_if_any() if place.may_have(name) else []
        stay = kept((one.at for one in snapshots), Retention(hourly=24)) if day >= oldest else set()
        gone = [one.snapshot_id for one in snapshots if one.at not in stay]
        if gone:
            repository.forget(*gone, prune=True)
        if day < oldest and place.may_have(name):
            place.remove(name)


def _days_of_logs(place: Place, today: date) -> Iterator[date]:
    """Yield the days before today whose log a place may have."""
    if place.settings.kind is PlaceKind.LOCAL:
        names = sorted(path.name for path in Path(place.settings.url).glob("log-????-??-??"))
        yield from (day for name in names if (day := date.fromisoformat(name[4:])) < today)
    else:
        yield from (today - ago * _A_DAY for ago in range(1, _DAYS_OF_LOGS))


def _keep_newest_of_each_batch(month: Month) -> None:
    """Forget snapshots of batches but the newest, which holds all that the older ones hold; nothing is pruned."""
    if len({one.tags.get("batch") for one in month.snapshots}) < len(month.snapshots):
        month.repository.forget("--group-by", "tags", "--keep-last", "1")


def _let_go_of_deleted(site: Site, place: Place, catalog: Catalog, gone: Mapping[str, list[str]]) -> None:
    """Write the batches anew that hold files which the archive deleted before the oldest daily copy.

    What the place has counts, not what was noted: a run that was cut may have written a batch anew already.
    """
    sent = catalog.sent(place.name)
    stored = [one for one in points.batches(place) if one.name in gone and one.name in sent]
    for batch in stored:
        _, is_whole, noted = sent[batch.name]
        sizes, snapshot = _sizes(batch), batch.snapshot.snapshot_id
        going = sizes.keys() & gone[batch.name]
        if not is_whole or (not going and snapshot == noted):
            continue
        batch.repository.check()
        if going:
            _require_space(site, sum(size for uuid, size in sizes.items() if uuid not in going))
            fresh = _written_without(site, batch, going)
            batch.repository.forget(snapshot)
            site.runs.audit("let go", place=place.name, batch=batch.name, files=len(going))
        batch.repository.forget(prune=True)
        catalog.note_sent(place.name, batch.name, 1, closed=True, snapshot=fresh if going else snapshot)


def _sizes(batch: StoredBatch) -> dict[str, int]:
    """Return the files of a batch with their bytes, by its lists."""
    lists = packs.texts(batch.repository, batch.snapshot.snapshot_id, packs.LISTS)
    rows = (line.split(" ") for _, text in lists for line in text.splitlines())
    return {uuid: int(size) for uuid, size, *_ in rows}


def _require_space(site: Site, size_bytes: int) -> None:
    """Raise BackupError where files and their pack would take what is kept free for the archive."""
    free = shutil.disk_usage(site.settings.work).free
    if free - 2 * size_bytes < site.settings.reserve_bytes:
        raise BackupError(
            f"{free} bytes are free at {site.settings.work}, {2 * size_bytes} are needed to let go deleted images.",
            remedy="Nothing is lost: they stay at the place until there is room.",
        )


def _written_without(site: Site, batch: StoredBatch, uuids: set[str]) -> str:
    """Save a batch anew without some files, and return the snapshot."""
    repository, snapshot = batch.repository, batch.snapshot.snapshot_id
    with tempfile.TemporaryDirectory(dir=site.settings.work, prefix="rewrite-") as room:
        folder = Path(room)
        packs.lay_out(folder)
        for name, text in packs.texts(repository, snapshot, packs.POINTS):
            packs.write_durably(folder / packs.POINTS / f"{name}{packs.POINT}", text)
        _write_pack(folder, list(packs.members_into(repository, snapshot, folder / "files", uuids)))
        shutil.rmtree(folder / "files")
        return repository.save(folder, {"batch": batch.name}, compressed=True).snapshot_id


def _write_pack(folder: Path, uuids: list[str]) -> None:
    rows = []
    for uuid in uuids:
        with (folder / "files" / uuid).open("rb") as file:
            measured = measure(file)
        rows.append(Attachment(0, 0, uuid, measured.size_bytes, 0, measured.md5, ""))
    if rows:
        packs.write(folder, "rewritten", folder / "files", rows)


def _let_go_of_empty(place: Place, catalog: Catalog, gone: Mapping[str, list[str]]) -> None:
    """Let go the batches without files whose restore points no copy reaches any more, and months without batches."""
    reached = copies.ranges(copies.at(place))
    sent = catalog.sent(place.name)

    def is_empty(batch: str) -> bool:
        is_whole = sent.get(batch, (0, False, ""))[1]
        files = set(catalog.files_of(batch)) - set(gone.get(batch, ()))
        return is_whole and not files and _is_over(batch) and not _is_within(batch, reached)

    for month in points.months_at(place, "files"):
        going = {one.snapshot_id: one.tags["batch"] for one in month.snapshots if is_empty(one.tags.get("batch", ""))}
        if not going:
            continue
        month.repository.forget(*going, prune=True)
        for batch in going.values():
            catalog.note_sent(place.name, batch, 0, closed=True, snapshot="")
        _remove_if_empty(place, month.repository.name)


def _is_over(batch: str) -> bool:
    """Tell whether the month of a batch is over: nobody but us writes to its repository."""
    return batch[:7] < f"{datetime.now(UTC):%Y-%m}"


def _is_within(batch: str, reached: Iterable[Range]) -> bool:
    """Tell whether a copy of the database goes back to the day of a batch."""
    day = date.fromisoformat(batch[:10])
    return any(since.date() - _A_DAY <= day <= until.date() + _A_DAY for since, until in reached)
