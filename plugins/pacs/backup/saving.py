"""The commands that save: `files`, `nightly`, `database`, `ship`, `check`, `prune`."""

from __future__ import annotations

import json
from collections.abc import Iterator, Mapping
from dataclasses import asdict
from datetime import UTC, datetime
from typing import Any
from uuid import UUID

from pacs.backup import copies, escrow, moments, retention
from pacs.backup.catalog import Catalog
from pacs.backup.database import DatabaseBackup
from pacs.backup.errors import BackupError, Busy
from pacs.backup.files import PACK_BYTES, Spool
from pacs.backup.orthanc_index import Attachment, OrthancIndex
from pacs.backup.overview import NOTED, SITE
from pacs.backup.places import SYSTEM, Place
from pacs.backup.points import months_at
from pacs.backup.reached import reached
from pacs.backup.runs import (
    CHECK_LOCK,
    DATABASE_LOCK,
    FILES_LOCK,
    LOG_LOCK,
    PRUNE_LOCK,
    STATUS,
    Run,
    read_status,
    replace,
)
from pacs.backup.site import Site, each

_ALL = "100%"


def files(site: Site) -> str:
    """Pack what is new since the last run, mark a restore point, send all to every place."""
    with site.runs.lock(FILES_LOCK), site.catalog() as catalog, site.runs.run("files") as run:
        spool = Spool(site.settings, catalog)
        spool.recover()
        with site.index() as index:
            if _is_another(index, catalog):
                _gather(site, spool, catalog, run)
            point, new, _ = spool.mark(index)
        run.facts |= {"new_files": new, "point": point.at.isoformat(timespec="seconds"), "lsn": point.lsn}
        run.sentence = f"{new} new files; restore point {point.at:%Y-%m-%d %H:%M:%S} UTC."
        site.runs.tell(run)
        _send_files(site, spool, catalog)
        run.facts["waiting_bytes"] = spool.waiting_bytes()
        return run.sentence


def nightly(site: Site) -> str:
    """Compare the whole index with what was packed, pack what is missing, and do what is done once a day."""
    with site.runs.lock(FILES_LOCK), site.catalog() as catalog, site.runs.run("nightly") as run:
        spool = Spool(site.settings, catalog)
        spool.recover()
        named = _gather(site, spool, catalog, run)
        with site.index() as index:
            point, new, totals = spool.mark(index, counted=True)
        run.facts |= {"point": point.at.isoformat(timespec="seconds"), "lsn": point.lsn, "new_files": new, **totals}
        site.runs.tell(run)
        _send_files(site, spool, catalog)
        with site.places() as opened:
            each(opened, lambda place: _save_system(site, place))
        run.sentence = f"{len(named)} files in the index, {run.facts['gathered']} were not packed yet."
        return run.sentence


def _is_another(index: OrthancIndex, catalog: Catalog) -> bool:
    """Tell whether the index is not the one that was read last: the first run, or a restore has turned time back."""
    with index.reading() as reading:
        return catalog.noted("timeline") != reading.timeline() or reading.end().resource < catalog.cursor.resource


def _gather(site: Site, spool: Spool, catalog: Catalog, run: Run) -> set[bytes]:
    """Pack all of the index that is not packed yet, and note what it names no more; return the keys of all it names.

    Sends as it goes: the disk need not hold all of it at once.
    """
    gathered, named = 0, set[bytes]()

    def noted(attachments: Iterator[Attachment]) -> Iterator[Attachment]:
        for one in attachments:
            named.add(UUID(one.uuid).bytes)
            yield one

    with site.index() as index:
        with index.reading() as reading:
            start, timeline = reading.end(), reading.timeline()
        for number in spool.gather(noted(index.paged())):
            gathered += number
            if spool.waiting_bytes() > PACK_BYTES:
                _send_files(site, spool, catalog)
    with catalog.transaction():
        catalog.cursor = start
        catalog.note("timeline", timeline)
        run.facts["gone"] = catalog.note_gone(named, datetime.now(UTC))
    run.facts["gathered"] = gathered
    return named


def _send_files(site: Site, spool: Spool, catalog: Catalog) -> None:
    """Send to every place, each with a status of its own, and let go what all have."""
    spool.close_former_days()
    introduce(site)

    def send(place: Place) -> None:
        with site.runs.run("files", place.name) as run:
            run.facts["added_bytes"] = spool.send(place)
            run.facts["free_bytes"] = place.free_bytes()
            run.facts["stored_bytes"] = _sum_up(catalog, f"stored:{place.name}", run.facts["added_bytes"])
            run.sentence = f"{run.facts['added_bytes']} bytes sent."

    with site.places() as opened:
        each(opened, send)
    spool.clear([place.name for place in site.settings.places])


def introduce(site: Site, *, anew: str = "") -> None:
    """Tell the pages which places there are, how often things are done, and since when; no secret stands in it.

    What was never done counts from that moment on: it is late as soon as what was done once would be.

    Parameters
    ----------
    anew : the place that begins once more.
    """
    former = read_status(site.settings.state / SITE)
    since = {one["name"]: one.get("since", "") for one in former.get("places", ()) if one["name"] != anew}
    now = datetime.now(UTC).isoformat(timespec="seconds")
    shown = [
        {
            "name": one.name,
            "kind": one.kind.value,
            "append_only": one.append_only,
            "write_only": one.write_only,
            "keeps_days": one.retention.daily,
            "since": since.get(one.name) or now,
        }
        for one in site.settings.places
    ]
    told = {
        "places": shown,
        "schedule": site.settings.schedule.model_dump(),
        "since": former.get("since") or now,
    }
    replace(site.settings.state / SITE, json.dumps(told))


def begin_anew_where_empty(site: Site, place: Place) -> None:
    """Have all be sent to a place that has nothing any more: a disk that was replaced, under the same name.

    What was told of it goes with what it had: the log begins anew, the next `database --only send` sends the database,
    and nothing is late before it could be done.
    """
    if next(months_at(place, "files"), None) is None:
        with site.catalog() as catalog:
            catalog.forget_sent(place.name)
            catalog.note(f"stored:{place.name}", 0)
    if next(months_at(place, "database"), None) is None and site.runs.forget(place.name, "database", "log"):
        (site.settings.state / NOTED.format(place=place.name)).unlink(missing_ok=True)
        site.runs.audit("place begun anew", place=place.name)
        introduce(site, anew=place.name)


def _sum_up(catalog: Catalog, name: str, added: int) -> int:
    former = catalog.noted(name)
    total = (former if isinstance(former, int) else 0) + added
    catalog.note(name, total)
    return total


def _save_system(site: Site, place: Place) -> None:
    """Save the plugins' folders, and what is needed to begin anew."""
    with site.runs.run("system", place.name) as run:
        for folder in filter(lambda path: path.is_dir(), site.settings.system_paths):
            saved = place.repository(SYSTEM).save(folder, {"folder": str(folder)}, compressed=False)
            run.facts["added_bytes"] = run.facts.get("added_bytes", 0) + saved.added_bytes
        if site.settings.escrow.recipient.is_file():
            escrow.send(site.settings, place)
            run.facts["escrow"] = datetime.now(UTC).isoformat(timespec="seconds")
        run.sentence = "Folders of the plugins and the escrow are there."


def database(site: Site, *, full: bool, only: str | None = None) -> str:
    """Make a base backup of PostgreSQL, as its user (`only` "save"), and send it to every place that lacks it ("send").

    Sending alone is for the hours between: a place that was out of reach, or is new, need not wait for the next one.
    """
    with site.runs.lock(DATABASE_LOCK):
        backup = DatabaseBackup(site.settings)
        if only == "send":
            return _send_database(site, backup, backup.newest())
        with site.runs.run("database") as run:
            run.facts |= backup.save(full=full)
            run.sentence = f"{'Full' if full else 'Incremental'} backup of {run.facts['size_bytes']} bytes."
            if only is None:
                _send_database(site, backup, run.facts)
            return run.sentence


def _send_database(site: Site, backup: DatabaseBackup, newest: Mapping[str, Any]) -> str:
    """Send the newest base backup to the places that have not got it yet."""
    lacking = [
        one.name for one in site.settings.places if _told(site, f"database.{one.name}").get("base") != newest["base"]
    ]
    if lacking:
        with site.places(*lacking) as opened:
            each(opened, lambda place: _send_database_to(site, backup, place, newest["base"]))
    return f"{newest['base']} was sent to {', '.join(lacking) or 'no place: each has it'}."


def _send_database_to(site: Site, backup: DatabaseBackup, place: Place, base: str) -> None:
    with site.runs.run("database", place.name) as run:
        run.facts["added_bytes"] = backup.send(place, reached(site.settings.state, backup.log()))
        # It holds the log as it was when it was begun: what came while it was sent must follow.
        run.facts["whole_as_of"] = run.began.isoformat(timespec="seconds")
        run.sentence = f"{run.facts['added_bytes']} bytes sent."
        copies.note(site.settings.state, place)
        run.facts["base"] = base  # last: what failed before is done again within the hour


def ship(site: Site) -> str:
    """Send PostgreSQL's log to every place. Raise BackupError when a piece of it is missing; what is there is sent."""
    with site.runs.lock(LOG_LOCK), site.runs.run("log") as run:
        backup = DatabaseBackup(site.settings)
        log = backup.log()
        back_to = reached(site.settings.state, log)

        def send(place: Place) -> None:
            with site.runs.run("log", place.name) as one:
                shipped = backup.ship(place, _whole_sent_at(site, place), _told(site, f"log.{place.name}"), back_to)
                one.facts |= asdict(shipped) | {"moments": moments.encoded(back_to)}
                one.sentence = f"{shipped.added_bytes} bytes sent."

        with site.places() as opened:
            each(opened, send)
        run.sentence = "The log is at every place."
        if gap := log.gap():
            raise BackupError(
                f"The database's log lacks {gap} (timeline left out): no moment after it can be gone back to.",
                remedy="A base backup ends that: systemctl start pacs-backup-database@incr.",
            )
        return run.sentence


def _told(site: Site, name: str) -> dict[str, Any]:
    return read_status(site.settings.state / STATUS / f"{name}.json")


def _whole_sent_at(site: Site, place: Place) -> datetime:
    """Return since when the log is not in the whole of pgBackRest's repository that a place has."""
    told = _told(site, f"database.{place.name}").get("whole_as_of")
    return datetime.fromisoformat(told) if isinstance(told, str) else datetime.fromtimestamp(0, UTC)


def check(site: Site, read: str) -> str:
    """Check every repository of every place, and read part of the data.

    restic lets nobody write to a repository while it is checked. So of the month that is written to, the structure is
    checked alone, which takes a moment; its data is read when it is over, and by drills. "100%" is all of it.
    """
    with site.runs.lock(CHECK_LOCK), site.runs.run("check") as run:
        checked, now = 0, (f"{datetime.now(UTC):%Y-%m}", f"{datetime.now(UTC):%Y-%m-%d}")

        def look(place: Place) -> None:
            nonlocal checked
            with site.runs.run("check", place.name) as one:
                place.require_reachable()
                for name in retention.repositories_of(place):
                    place.repository(name).check(read="" if name.endswith(now) and read != _ALL else read)
                    checked += 1
                one.facts["read"] = read
                one.sentence = f"Nothing wrong; {read or 'none'} of the data was read."

        with site.places() as opened:
            each([place for place in opened if not place.settings.write_only], look)
        run.sentence = f"{checked} repositories are whole; write-only places are checked by their keepers."
        return run.sentence


def prune(site: Site) -> str:
    """Let go what retention no longer keeps, where the place allows it.

    Images and log go on being sent meanwhile, however long it takes: what they write to is not touched. After a
    restore it waits (Busy) until `files` has compared: what was deleted may be named again, and not be fetched yet.
    """
    with (
        site.runs.lock(PRUNE_LOCK),
        site.runs.lock(CHECK_LOCK),
        site.catalog() as catalog,
    ):
        with site.index() as index, index.reading() as reading:
            if catalog.noted("timeline") not in {None, reading.timeline()}:
                raise Busy(
                    "The database was restored, and what it names is not compared yet.",
                    remedy="The next run of `files` does that.",
                )
        return _prune(site, catalog)


def _prune(site: Site, catalog: Catalog) -> str:
    with site.runs.run("prune") as run:
        with site.places() as opened:
            allowed = [place for place in opened if not place.settings.append_only]
            if allowed:
                retention.prune(site, allowed, catalog)
        run.sentence = f"{len(allowed)} places pruned; append-only ones are left to their keepers."
        return run.sentence


def points(site: Site) -> str:
    """Tell to which moments each place can go back, by what lies there now, and what is not promised."""
    lines: list[str] = []
    with site.places() as opened:
        each(opened, lambda place: lines.append(moments.tell(place.name, copies.ranges(copies.at(place)))))
    days = max(place.retention.daily for place in site.settings.places)
    lines.append(f"Images that the archive deleted more than {days} days ago are in no backup, whatever the moment.")
    return "\n".join(lines)
