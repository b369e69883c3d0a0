"""Repair: a broken file of the live archive put back from a backup whose hash is right; the broken one is kept."""

from __future__ import annotations

import os
import shutil
from collections.abc import Iterator
from pathlib import Path

from pacs.backup import packs
from pacs.backup.catalog import Catalog
from pacs.backup.errors import BackupError
from pacs.backup.fixity import examine
from pacs.backup.orthanc_index import Attachment, OrthancIndex
from pacs.backup.places import Place
from pacs.backup.site import Site
from pacs.backup.storage import Storage, is_uuid, measure

BROKEN = "broken"


def repair(site: Site, uuid: str, place_name: str = "") -> str:
    """Put a file back. Raise BackupError: it is whole, is not in the index, or no right copy of it is at the place."""
    if not is_uuid(uuid):
        raise BackupError(f"Expected the name of a file (UUID), found {uuid[:80]!r}.")
    with site.catalog() as catalog, site.index() as index, site.place(place_name) as place:
        one = _find(index, uuid)
        fault = examine(site.storage, one)
        if fault is None:
            catalog.note_repaired(uuid)
            return f"{uuid} is as it was stored; nothing to do."
        fresh = site.settings.work / f"{uuid}.repair"
        fresh.unlink(missing_ok=True)  # of one that was cut
        try:
            _fetch(place, catalog, one, fresh)
            kept = _swap(site.storage, uuid, fresh)
        finally:
            fresh.unlink(missing_ok=True)
        catalog.note_repaired(uuid)
        site.runs.audit("repaired", uuid=uuid, fault=fault, place=place.name, kept=str(kept or ""))
        return f"{uuid} ({fault}) is whole again, from {place.name}." + (f" The broken one: {kept}" if kept else "")


def _find(index: OrthancIndex, uuid: str) -> Attachment:
    with index.reading() as reading:
        for one in reading.attachments():
            if one.uuid == uuid:
                return one
    raise BackupError(f"The index names no file {uuid}: it was deleted, or never stored.")


def _fetch(place: Place, catalog: Catalog, one: Attachment, target: Path) -> None:
    """Write a file as a place has it; only if it is what the index says it should be."""
    place.require_reachable()
    for member in _copies(place, catalog, one.uuid):
        with target.open("wb") as file:
            shutil.copyfileobj(member.content, file)
            file.flush()
            os.fsync(file.fileno())
    if not target.exists():
        raise BackupError(f"{place.name} has no copy of {one.uuid}.", remedy="Try another place: --place.")
    with target.open("rb") as file:
        measured = measure(file)
    if (measured.size_bytes, measured.md5) != (one.size_bytes, one.md5):
        raise BackupError(
            f"The copy of {one.uuid} at {place.name} is not what the index says either.",
            remedy="Try another place: --place.",
        )


def _copies(place: Place, catalog: Catalog, uuid: str) -> Iterator[packs.Member]:
    """Yield the file out of the pack that has it."""
    found = catalog.pack_of(uuid)
    sent = catalog.sent(place.name).get(found[0]) if found else None
    if found is None or sent is None:
        return
    repository = place.repository(f"files-{found[0][:7]}")
    for name, text in packs.texts(repository, sent[2], packs.LISTS):
        if f"{uuid} " in text:
            yield from packs.single(repository, sent[2], name, frozenset({uuid}))
            return


def _swap(storage: Storage, uuid: str, fresh: Path) -> Path | None:
    """Put the right file in the place of the broken one, which is kept beside; owner and rights stay."""
    path = storage.path(uuid)
    for folder in (path.parent.parent, path.parent):
        if not folder.exists():
            folder.mkdir()
            _give(folder, storage.folder)
    staged = path.with_name(f"{uuid}.part")
    shutil.copyfile(fresh, staged)
    _give(staged, path if path.exists() else storage.folder)
    with staged.open("rb+") as file:
        os.fsync(file.fileno())
    kept = storage.link_aside(uuid, BROKEN) if path.exists() else None
    staged.replace(path)
    return kept


def _give(path: Path, to_owner_of: Path) -> None:
    """Have Orthanc go on with what root made: in a folder of root's it could store no image any more."""
    if os.geteuid() == 0:
        facts = to_owner_of.stat()
        os.chown(path, facts.st_uid, facts.st_gid)
