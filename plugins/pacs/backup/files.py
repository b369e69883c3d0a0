"""The files' backup: what is new, by the index's list, packed once and sent to every place; each run ends with a point.

Why every file that the database names at a point is in the backup: the point is marked while rows of attachments
stand still (`OrthancIndex.still`), and in that stillness every file that is not packed yet gets a hard link in a folder
of ours. Whatever Orthanc deletes from then on, the link keeps the file until the pack is written and the catalog says
so. At any other time Orthanc may delete what it likes: a file that was packed once stays in the backup.

What a cut leaves behind: links, a pack without its row. The next run removes both and lists the same files again.
"""

from __future__ import annotations

import json
import logging
import os
import shutil
from collections.abc import Iterable, Iterator, Mapping, Sequence
from contextlib import ExitStack, suppress
from dataclasses import asdict
from datetime import UTC, datetime
from itertools import count
from pathlib import Path

from pacs.backup import packs
from pacs.backup.catalog import Batch, Catalog
from pacs.backup.errors import BackupError
from pacs.backup.orthanc_index import Attachment, OrthancIndex, Point
from pacs.backup.places import Place
from pacs.backup.settings import BackupSettings
from pacs.backup.storage import Storage

# What one pack holds at most: a place that is cut off loses no more than the sending of one.
PACK_FILES = 20_000
PACK_BYTES = 2 * 1000**3
_LINKS = "links"
_log = logging.getLogger(__name__)


class Spool:
    """Packs what is new and keeps it until every place has it.

    Parameters
    ----------
    catalog : of whoever holds the lock.
    """

    def __init__(self, settings: BackupSettings, catalog: Catalog) -> None:
        self._settings = settings
        self._catalog = catalog
        self._storage = Storage(settings.storage)
        self._links = settings.work / _LINKS
        self.folder = settings.work / "spool"
        self.folder.mkdir(parents=True, exist_ok=True, mode=0o700)

    def recover(self) -> None:
        """Remove what a run that was cut left behind."""
        shutil.rmtree(self._links, ignore_errors=True)
        self._links.mkdir(mode=0o700)
        packs.remove_parts(self.folder)
        known = {batch.name for batch in self._catalog.batches()}
        for folder in self.folder.iterdir():
            if folder.name not in known:
                shutil.rmtree(folder)

    def gather(self, attachments: Iterable[Attachment]) -> Iterator[int]:
        """Pack all that is not packed yet, a pack at a time; yield the files of each.

        For the first run and the nightly comparison; files that are deleted meanwhile are left out.
        """
        chosen: list[Attachment] = []
        size = 0
        for one in attachments:
            if self._catalog.has(one.uuid) or not self._link(one):
                continue
            chosen.append(one)
            size += one.size_bytes
            if len(chosen) >= PACK_FILES or size >= PACK_BYTES:
                yield self._pack(chosen, None)
                chosen, size = [], 0
        if chosen:
            yield self._pack(chosen, None)

    def mark(self, index: OrthancIndex, *, counted: bool = False) -> tuple[Point, int, dict[str, int]]:
        """Pack what came since the last run and mark a restore point; return it, how many files were new, and totals.

        Parameters
        ----------
        counted : count all rows as they are at the point, for the drill to compare with; after the stillness.
        """
        cursor = self._catalog.cursor
        with index.reading() as reading:
            chosen = {one.uuid: one for one in self._linked(reading.attachments_since(cursor))}
        with ExitStack() as stack:
            with index.still() as reading:
                # Few by now: what came since the moment before.
                late = self._linked(one for one in reading.attachments_since(cursor) if one.uuid not in chosen)
                chosen |= {one.uuid: one for one in late}
                point = reading.point()
                frozen = stack.enter_context(index.reading()) if counted else None
                if frozen is not None:
                    frozen.end()  # its first question fixes the moment that it sees
            totals = frozen.totals() if frozen is not None else {}
        index.switch_log()
        self._pack(list(chosen.values()), point, totals)
        return point, len(chosen), totals

    def send(self, place: Place) -> int:
        """Send a place all that it lacks and return the bytes that were added there. Raise PlaceError."""
        place.require_reachable()
        added = 0
        for batch in self._catalog.batches():
            added += self._send(place, batch)
        return added

    def close_former_days(self) -> None:
        """Close the batches of former days: nothing is added to them any more."""
        today = f"{datetime.now(UTC):%Y-%m-%d}"
        for batch in self._catalog.batches():
            if not batch.closed and not batch.name.startswith(today):
                self._catalog.close_batch(batch.name)

    def clear(self, places: Sequence[str]) -> None:
        """Remove the packs of closed batches that every place has."""
        sent = [self._catalog.sent(place) for place in places]
        for batch in self._catalog.batches():
            folder = self.folder / batch.name
            if batch.closed and folder.exists() and all(one.get(batch.name, (0, False))[1] for one in sent):
                shutil.rmtree(folder)

    def waiting_bytes(self) -> int:
        """Return how much waits here to be sent."""
        return sum(path.stat().st_size for path in self.folder.rglob(f"*{packs.PACK}"))

    def _linked(self, attachments: Iterable[Attachment]) -> list[Attachment]:
        return [one for one in attachments if not self._catalog.has(one.uuid) and self._link(one)]

    def _link(self, one: Attachment) -> bool:
        """Keep a file from being deleted. False: it is gone already, or was lost."""
        try:
            os.link(self._storage.path(one.uuid), self._links / one.uuid)
        except FileExistsError:
            return True
        except FileNotFoundError:
            _log.warning("A file that the index names is not there", extra={"uuid": one.uuid})
            return False
        except OSError as error:
            raise BackupError(
                f"{self._settings.work} can't hold links to files of {self._settings.storage}: {error.strerror}.",
                remedy="Both must be on one file system; the backup's user links what it does not own (CAP_FOWNER).",
            ) from None
        return True

    def _pack(self, chosen: Sequence[Attachment], point: Point | None, totals: Mapping[str, int] | None = None) -> int:
        """Write a pack and its restore point, note both, and let the links go. A point without files has no pack."""
        self._require_space(sum(one.size_bytes for one in chosen))
        batch = self._current_batch()
        folder = self.folder / batch
        if not chosen and not totals and point is not None and any((folder / packs.POINTS).glob("*")):
            self._catalog.cursor = point.cursor  # an archive at rest needs one point a day
            return 0
        packs.lay_out(folder)
        name = self._new_name(folder)
        size = packs.write(folder, name, self._links, chosen) if chosen else 0
        if point is not None:
            packs.write_durably(
                folder / packs.POINTS / f"{name}{packs.POINT}", json.dumps(_point_json(point, totals or {}))
            )
        with self._catalog.transaction():
            self._catalog.add_files((one.uuid for one in chosen), f"{batch}/{name}")
            self._catalog.grow_batch(batch, size)
            if point is not None:
                self._catalog.cursor = point.cursor
        for one in chosen:
            with suppress(FileNotFoundError):
                (self._links / one.uuid).unlink()
        return len(chosen)

    def _require_space(self, needed_bytes: int) -> None:
        """Make room. Raise BackupError when there is none: the archive must go on taking images."""
        for batch in self._catalog.batches():
            if self._free_bytes() - needed_bytes >= self._settings.reserve_bytes:
                return
            # One place out of reach must not stop the others: it gets these packed anew when it is back.
            if batch.closed and any(self._has_whole(one.name, batch.name) for one in self._settings.places):
                shutil.rmtree(self.folder / batch.name, ignore_errors=True)
        free = self._free_bytes()
        if free - needed_bytes < self._settings.reserve_bytes:
            raise BackupError(
                f"{free} bytes are free at {self.folder}, {needed_bytes} are needed and {self._settings.reserve_bytes} "
                "kept free for the archive.",
                remedy="Packs wait here until a place has them: is every one out of reach? Else the disk is too small.",
            )

    def _free_bytes(self) -> int:
        return shutil.disk_usage(self.folder).free

    def _has_whole(self, place: str, batch: str) -> bool:
        return self._catalog.sent(place).get(batch, (0, False))[1]

    def _current_batch(self) -> str:
        """Return the batch that packs are added to: of today, not too large; a new one otherwise."""
        today = f"{datetime.now(UTC):%Y-%m-%d}"
        batches = self._catalog.batches()
        for batch in reversed(batches):
            if batch.closed or not batch.name.startswith(today):
                continue
            if batch.pack_bytes < self._settings.batch_bytes:
                return batch.name
            self._catalog.close_batch(batch.name)
        taken = {batch.name for batch in batches}
        return next(name for number in count(1) if (name := f"{today}.{number:02}") not in taken)

    def _new_name(self, folder: Path) -> str:
        stem = f"{datetime.now(UTC):%Y%m%dT%H%M%S}"
        names = (f"{stem}-{number:02}" for number in count(1))
        return next(name for name in names if not any(folder.glob(f"*/{name}.*")))

    def _send(self, place: Place, batch: Batch) -> int:
        """Send one batch as it is now. What the place has of it is neither read nor sent again."""
        had, whole, parent = self._catalog.sent(place.name).get(batch.name, (0, False, ""))
        if whole:
            return 0
        folder = self.folder / batch.name
        is_made_again = not folder.exists()
        if is_made_again:
            self._make_again(batch)
            had = 0  # of what the place has of it other packs hold the same
        here = sum(1 for path in folder.rglob("*") if path.is_file())
        added = 0
        if here > had:
            repository = place.repository(f"files-{batch.name[:7]}")
            saved = repository.save(folder, {"batch": batch.name}, parent=parent or None, compressed=True)
            added, parent = saved.added_bytes, saved.snapshot_id
        self._catalog.note_sent(place.name, batch.name, here, closed=batch.closed, snapshot=parent)
        if is_made_again and batch.closed:
            shutil.rmtree(folder)  # years of them would fill the disk before the last one is sent
        return added

    def _make_again(self, batch: Batch) -> None:
        """Pack a batch once more for a place that lacks it, of what the archive still has. Raise BackupError: no room.

        All of it or nothing stands under its name: what stands there is sent, and counts as whole.
        """
        links, fresh = self._links / batch.name, self.folder / f"{batch.name}.again"
        for folder in (links, fresh):  # of an attempt that failed
            shutil.rmtree(folder, ignore_errors=True)
        links.mkdir()
        chosen: list[Attachment] = []
        for uuid in self._catalog.files_of(batch.name):
            path = self._storage.path(uuid)
            with suppress(FileNotFoundError):
                os.link(path, links / uuid)
                measured = self._storage.measure(uuid)
                if measured:
                    chosen.append(Attachment(0, 0, uuid, measured.size_bytes, 0, measured.md5, ""))
        self._require_space(sum(one.size_bytes for one in chosen))
        packs.lay_out(fresh)
        packs.write(fresh, "again", links, chosen)
        fresh.rename(self.folder / batch.name)
        shutil.rmtree(links)


def _point_json(point: Point, totals: Mapping[str, int]) -> dict[str, object]:
    told = {"at": point.at.isoformat(), "lsn": point.lsn, "timeline": point.timeline}
    return {**told, **asdict(point.cursor), "totals": dict(totals)}
