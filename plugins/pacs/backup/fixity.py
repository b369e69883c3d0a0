"""Fixity: the live archive's files against the hashes of the index, every file once in so many days, at low priority.

Goes through the index in the order of resource and kind, with a durable cursor; each run reads as much as the days that
have passed ask for, so a night that was missed is made up for. Disks that forget bits are told before backups do.
"""

from __future__ import annotations

from dataclasses import asdict, dataclass
from datetime import UTC, datetime, timedelta

from pacs.backup.catalog import Catalog
from pacs.backup.errors import Damage
from pacs.backup.orthanc_index import Attachment, OrthancIndex
from pacs.backup.runs import Run
from pacs.backup.site import Site
from pacs.backup.storage import Storage

_NOTE = "fixity"
_AT_ONCE = 500


@dataclass(frozen=True)
class _Pass:
    """How far a pass has come: it ends with the last row, those that came meanwhile included."""

    began: str
    done: int = 0
    resource: int = -1
    kind: int = -1

    def due(self, total: int, days: int) -> int:
        """Return how many files should have been read by now."""
        share = (datetime.now(UTC) - datetime.fromisoformat(self.began)) / timedelta(days=days)
        return int(total * share) + 1 if share < 1 else max(total, self.done) + _AT_ONCE


def run(site: Site, *, everything: bool = False) -> str:
    """Read the files that are due; `everything` reads all. Raise Damage when files are broken, known ones included."""
    with site.runs.lock("fixity"), site.catalog() as catalog, site.index() as index, site.runs.run("fixity") as told:
        noted = catalog.noted(_NOTE)
        found = _Pass(**noted) if isinstance(noted, dict) and not everything else _Pass(datetime.now(UTC).isoformat())
        with index.reading() as reading:
            total = reading.count()
        target = total + _AT_ONCE if everything else found.due(total, site.settings.fixity_days)
        read_bytes = 0
        while found.done < target:
            some, found = _next(index, found, min(_AT_ONCE, target - found.done))
            read_bytes += sum(one.size_bytes for one in some)
            _examine(site, catalog, index, some)
            if not some:
                told.facts["whole_at"] = datetime.now(UTC).isoformat(timespec="seconds")
                catalog.note(_NOTE, asdict(_Pass(datetime.now(UTC).isoformat())))
                break
            catalog.note(_NOTE, asdict(found))
        _tell(told, catalog, found, (total, read_bytes))
        return told.sentence


def examine(storage: Storage, one: Attachment) -> str | None:
    """Return what is wrong with a file: "missing", "size", "hash", "unreadable"; None: nothing."""
    try:
        measured = storage.measure(one.uuid)
    except OSError:
        return "unreadable"
    if measured is None:
        return "missing"
    if measured.size_bytes != one.size_bytes:
        return "size"
    return "hash" if one.md5 and measured.md5 != one.md5 else None


def _next(index: OrthancIndex, found: _Pass, number: int) -> tuple[list[Attachment], _Pass]:
    with index.reading() as reading:
        some = list(reading.attachments(after=(found.resource, found.kind), limit=number))
    if not some:
        return [], found
    return some, _Pass(found.began, found.done + len(some), some[-1].resource, some[-1].kind)


def _examine(site: Site, catalog: Catalog, index: OrthancIndex, some: list[Attachment]) -> None:
    faults = {one: fault for one in some if (fault := examine(site.storage, one)) is not None}
    if not faults:
        return
    with index.reading() as reading:
        # What was deleted between the list and the look is not broken.
        named = {
            one.uuid
            for broken in faults
            for one in reading.attachments(after=(broken.resource, broken.kind - 1), limit=1)
        }
        studies = reading.studies_of(one.resource for one in faults)
    for one, fault in faults.items():
        study = studies.get(one.resource)
        uid = study.study_instance_uid if study else ""
        if one.uuid in named and catalog.note_broken(one.uuid, fault, uid):
            site.runs.audit("broken file found", uuid=one.uuid, fault=fault, study=uid)


def _tell(told: Run, catalog: Catalog, found: _Pass, read: tuple[int, int]) -> None:
    total, read_bytes = read
    broken = catalog.broken()
    told.facts |= {
        "read_bytes": read_bytes,
        "checked": found.done,
        "total": max(total, found.done),
        "pass_began": found.began,
        "broken": len(broken),
        "repaired": len(catalog.broken(repaired=True)),
        "broken_files": [{"uuid": one.uuid, "fault": one.fault, "study": one.study} for one in broken[:200]],
    }
    if broken:
        words = ", ".join(f"{one.uuid} ({one.fault}, study {one.study or 'none'})" for one in broken[:20])
        raise Damage(f"Broken files of the archive: {len(broken)}: {words}.", remedy="Put them back: `repair UUID`.")
    told.sentence = (
        f"{found.done} of {max(total, found.done)} files of this pass were read and are as they were stored."
    )
