"""Batches at a place, cut and caught up: what was let go halfway, a place that was away, a disk that was replaced."""

from __future__ import annotations

import os
import random
import shutil
from collections.abc import Iterator
from dataclasses import dataclass
from itertools import islice
from pathlib import Path
from typing import Any
from uuid import UUID

import pytest

from pacs.backup import packs, points, retention, saving
from pacs.backup.catalog import Catalog
from pacs.backup.errors import BackupError
from pacs.backup.files import Spool
from pacs.backup.places import ESCROW, Place
from pacs.backup.restic import Repository
from pacs.backup.settings import BackupSettings, PlaceKind, PlaceSettings
from pacs.backup.site import Site
from pacs.backup.storage import Storage

SIZE = 1_000_000
KEPT, GONE = (str(UUID(int=number)) for number in (1, 2))


class Cut(Exception):
    """The machine's end."""


@dataclass
class Archive:
    """Two files in one batch of last month, which is closed, and a disk as the place."""

    site: Site
    place: Place
    catalog: Catalog
    batch: str

    @property
    def spool(self) -> Spool:
        """Return what sends, as a new run has it."""
        spool = Spool(self.site.settings, self.catalog)
        spool.recover()
        return spool

    def names(self) -> set[str]:
        """Return the names of the files at the place."""
        return {
            member.uuid
            for one in points.batches(self.place)
            for member in packs.members(one.repository, one.snapshot.snapshot_id)
        }

    def disk_bytes(self) -> int:
        """Return what the place holds."""
        return sum(path.stat().st_size for path in Path(self.place.settings.url).rglob("*") if path.is_file())


@pytest.fixture
def archive(tmp_path: Path) -> Iterator[Archive]:
    """Give an archive whose batch is at the place, and no longer here."""
    for name in ("work", "state", "credentials"):
        (tmp_path / name).mkdir()
    (tmp_path / "credentials" / "BACKUP_DISK_PASSWORD").write_text("secret")
    disk = PlaceSettings(name="disk", kind=PlaceKind.LOCAL, url=str(tmp_path / "disk"))
    folders = {name: tmp_path / name for name in ("storage", "work", "state")}
    site = Site.of(BackupSettings(places=(disk,), reserve_bytes=0, **folders), tmp_path / "credentials")
    batch = f"{next(islice(points.months(), 1, None))}-05.01"
    with site.catalog() as catalog, site.place("disk") as place:
        place.prepare()
        store(site)
        catalog.add_files([KEPT, GONE], f"{batch}/first")
        catalog.grow_batch(batch, 2 * SIZE)
        catalog.close_batch(batch)
        made = Archive(site, place, catalog, batch)
        made.spool.send(place)
        yield made


def store(site: Site) -> None:
    """Have both files in the storage area, of what nothing compresses."""
    chance = random.Random("archive")
    for uuid in (KEPT, GONE):
        path = Storage(site.settings.storage).path(uuid)
        path.parent.mkdir(parents=True, exist_ok=True)
        path.write_bytes(chance.randbytes(SIZE))


def cut(monkeypatch: pytest.MonkeyPatch, owner: Any, name: str) -> None:
    """Have everything end where a function is called, once."""
    work = getattr(owner, name)

    def ended(*_: Any, **__: Any) -> None:
        monkeypatch.setattr(owner, name, work)
        raise Cut

    monkeypatch.setattr(owner, name, ended)


@pytest.mark.parametrize(("owner", "name"), [(Repository, "forget"), (Catalog, "note_sent")])
def test_letting_go_that_was_cut_is_done_by_the_next(
    archive: Archive, monkeypatch: pytest.MonkeyPatch, owner: Any, name: str
) -> None:
    """Cut after the batch was written anew, prune goes on: the deleted image leaves the disk, the other one stays."""
    gone = {archive.batch: [GONE]}
    cut(monkeypatch, owner, name)
    with pytest.raises(Cut):
        retention._apply(archive.site, archive.place, archive.catalog, gone)
    retention._apply(archive.site, archive.place, archive.catalog, gone)
    assert archive.names() == {KEPT}
    assert SIZE < archive.disk_bytes() < 1.5 * SIZE
    (month,) = points.months_at(archive.place, "files")
    assert [one.snapshot_id for one in month.snapshots] == [archive.catalog.sent("disk")[archive.batch][2]]


def test_batch_is_written_anew_once(archive: Archive) -> None:
    """While another place is out of reach the same is due each week; what is done is not done again."""
    gone = {archive.batch: [GONE]}
    retention._apply(archive.site, archive.place, archive.catalog, gone)
    done = archive.catalog.sent("disk")
    retention._apply(archive.site, archive.place, archive.catalog, gone)
    assert archive.catalog.sent("disk") == done
    assert archive.names() == {KEPT}


def test_escrows_of_long_ago_are_let_go(archive: Archive, tmp_path: Path) -> None:
    """Each is sealed in a folder of its own; of many in one month the last ten stay, and the first of all."""
    for number in range(13):
        folder = tmp_path / f"escrow-{number}"
        folder.mkdir()
        (folder / "escrow.cms").write_text(str(number))
        archive.place.repository(ESCROW).save(folder, {"sealed": "today"}, compressed=True)
    retention._apply(archive.site, archive.place, archive.catalog, {})
    assert len(archive.place.repository(ESCROW).snapshots()) == 11


def test_place_that_has_a_part_of_a_batch_gets_the_rest(archive: Archive) -> None:
    """A batch whose packs were let go here is packed anew, whole, and waits on the disk no longer than it must."""
    shutil.rmtree(archive.place.settings.url)
    archive.place.prepare()
    archive.catalog.note_sent("disk", archive.batch, 30, closed=False, snapshot="")
    archive.spool.send(archive.place)
    assert archive.names() == {KEPT, GONE}
    assert list(archive.spool.folder.iterdir()) == []


def test_batch_whose_packing_was_cut_gets_to_the_place_whole(archive: Archive, monkeypatch: pytest.MonkeyPatch) -> None:
    """Half a batch is never taken for a whole one."""
    shutil.rmtree(archive.place.settings.url)
    archive.place.prepare()
    archive.catalog.forget_sent("disk")
    cut(monkeypatch, packs, "write")
    with pytest.raises(Cut):
        archive.spool.send(archive.place)
    archive.spool.send(archive.place)
    assert archive.names() == {KEPT, GONE}


def test_disk_that_was_replaced_gets_everything(archive: Archive) -> None:
    """A new disk under the name of the old one is sent all there is; one that has its backups is sent nothing anew."""
    former = archive.catalog.sent("disk")
    saving.begin_anew_where_empty(archive.site, archive.place)
    assert archive.catalog.sent("disk") == former
    shutil.rmtree(archive.place.settings.url)
    archive.place.prepare()
    saving.begin_anew_where_empty(archive.site, archive.place)
    archive.spool.send(archive.place)
    assert archive.names() == {KEPT, GONE}


def test_log_goes_to_a_disk_that_was_replaced(archive: Archive, tmp_path: Path) -> None:
    """What was sent last is no longer there to go on from: all is sent, on the same day."""
    folder = tmp_path / "log"
    folder.mkdir()
    (folder / "piece").write_bytes(os.urandom(10))
    saved = archive.place.repository("log-2026-11-22").save(folder, {}, compressed=True)
    shutil.rmtree(archive.place.settings.url)
    archive.place.prepare()
    again = archive.place.repository("log-2026-11-22").save(folder, {}, parent=saved.snapshot_id, compressed=True)
    assert again.files == 1


def test_nothing_is_written_anew_where_the_disk_is_short(archive: Archive) -> None:
    """The archive's images need the room: what was deleted stays at the place until there is some."""
    short = archive.site.settings.model_copy(update={"reserve_bytes": 10**18})
    site = Site.of(short, archive.site.credentials.folder)
    with pytest.raises(BackupError, match="needed to let go"):
        retention._apply(site, archive.place, archive.catalog, {archive.batch: [GONE]})
    assert archive.names() == {KEPT, GONE}
